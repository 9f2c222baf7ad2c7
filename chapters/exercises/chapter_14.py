"""Exercises of chapter 14: kernels on a GPU.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_14``, or call a
check by itself: ``check_scale_and_add()`` checks the function in this file, ``check_scale_and_add(mine)`` any other.
A kernel is the text of a CUDA function in a Python string; checks run it in the emulator, in three orders of threads.
"""

import numpy as np

from minidl.kernels.cuda import emulator

ORDERS = 0, 1, 7  # forward, backward, random
ALONE = "; no barrier is needed if each number has one thread: which number is that of thread 0 of block 1?"


def _run(text, name, grid, block, arguments, told):
    """What the arguments are after a run, in each order of threads; with all checks of the emulator."""
    assert isinstance(text, str), f"{name}: return the kernel's text, a string, not {type(text).__name__}"
    try:
        kernel = emulator.Module(text).get_function(name)
        return [_launch(kernel, grid, block, arguments, order) for order in ORDERS]
    except emulator.EmulatorError as error:
        hint = ALONE if "__shared__" not in text and "with no barrier" in str(error) else ""
        raise AssertionError(f"{told}: {error}{hint}") from None


def _launch(kernel, grid, block, arguments, order):
    own = [each.copy() if isinstance(each, np.ndarray) else each for each in arguments]
    with emulator.thread_order(order), emulator.checking():
        kernel((grid,), (block,), tuple(own))
    return own


def _numbers(count, seed=0):
    return np.random.default_rng(seed).integers(-9, 10, count).astype(np.float32)


def _same(mine, right, told):
    """A sentence about the first number that is wrong."""
    wrong = np.flatnonzero(~np.isclose(mine, right))
    assert not len(wrong), f"{told}: number {wrong[0]} is {mine[wrong[0]]:g}, it should be {right[wrong[0]]:g}"


# 1. Read --------------------------------------------------------------------------------------------------------------


def threads_to_spare(count, block):
    """An array has ``count`` numbers, a block ``block`` threads, and each thread works on one number.

    Return ``(blocks, spare)``: how many blocks the grid needs at least, and how many of all threads have nothing to do.
    """
    raise NotImplementedError


def check_threads_to_spare(function=threads_to_spare):
    for count, block in ((10, 4), (1000, 256), (1024, 256), (1, 128), (257, 256)):
        blocks, spare = function(count, block)
        case, right = f"{count} numbers, {block} threads in a block", -(-count // block)
        assert blocks * block >= count, f"{case}: {blocks} blocks have {blocks * block} threads, too few"
        assert blocks == right, f"{case}: {blocks} blocks are more than needed, {right} are enough"
        assert isinstance(blocks, int), f"{case}: give a whole number of blocks, not {blocks!r}"
        assert spare == right * block - count, f"{case}: {spare} to spare? {right} blocks have {right * block} threads"
    print("threads_to_spare: right")


# 2. Predict -----------------------------------------------------------------------------------------------------------

COUNTING = """extern "C" __global__ void product(const float* a, const float* b, float* c, int* loads, int size) {
    __shared__ float left[TILE][TILE], right[TILE][TILE];
    int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    float sum = 0;
    for (int first = 0; first < size; first += TILE) {
        left[y][x] = a[row * size + first + x];
        right[y][x] = b[(first + y) * size + column];
        loads[row * size + column] += 2;
        __syncthreads();
        for (int k = 0; k < TILE; ++k) sum += left[y][k] * right[k][x];
        __syncthreads();
    }
    c[row * size + column] = sum;
}"""


def loads_of_product(size, tile):
    """The tiled product of the chapter, of two matrices ``size x size``, in blocks of ``tile x tile`` threads.

    Return how many numbers all threads of all blocks together fetch from global memory; ``tile`` divides ``size``.
    """
    raise NotImplementedError


def check_loads_of_product(function=loads_of_product):
    for size, tile in ((8, 4), (8, 2), (8, 8), (12, 4), (6, 1)):
        a, b = _numbers(size * size), _numbers(size * size, 1)
        c, loads = np.zeros_like(a), np.zeros(size * size, np.int32)
        kernel = emulator.Module(COUNTING, (f"-DTILE={tile}",)).get_function("product")
        kernel((size // tile,) * 2, (tile,) * 2, (a, b, c, loads, np.int32(size)))
        mine, right = function(size, tile), int(loads.sum())
        case = f"{size}x{size} in tiles of {tile}x{tile}: {mine}"
        assert mine * size**2 != right, f"{case} is what one thread fetches; there are {size * size} threads"
        assert mine * 2 != right, f"{case} is what is fetched of one matrix, and there are two"
        assert mine == right, f"{case}, but the emulator counts {right}: threads x steps x loads in a step"
    print("loads_of_product: right")


# 3. A first kernel ----------------------------------------------------------------------------------------------------


def scale_and_add():
    """Return the text of a kernel that computes ``y[i] = factor * x[i] + y[i]``, one thread for each number:

    ``extern "C" __global__ void scale_and_add(const float* x, float* y, float factor, int count)``

    The grid and the block have one direction, and there may be more threads than numbers.
    """
    raise NotImplementedError


def check_scale_and_add(function=scale_and_add):
    text = function()
    for count, grid, block in ((8, 1, 8), (10, 3, 4), (1, 1, 32), (100, 2, 64)):
        told, x, y = f"{count} numbers, {grid} blocks of {block} threads", _numbers(count), _numbers(count, 1)
        arguments = x, y, np.float32(3), np.int32(count)
        for _, mine, *_ in _run(text, "scale_and_add", grid, block, arguments, told):
            assert not np.array_equal(mine, 3 * x), f"{told}: you forgot to add the old y"
            rest = count > block and np.array_equal(mine[block:], y[block:])
            assert not rest, f"{told}: only the first {block} are changed; which number is that of thread 0 of block 1?"
            _same(mine, 3 * x + y, told)
    print("scale_and_add: right")


# 4. A backward pass ---------------------------------------------------------------------------------------------------


def leaky_backward():
    """Return the text of the backward pass of leaky ReLU.  Its *output* y tells on which side the input was:

    ``dx[i] = grad[i]`` where ``y[i] > 0``, else ``dx[i] = slope * grad[i]``

    ``extern "C" __global__ void leaky_backward(const float* grad, const float* y, float* dx, float slope, int count)``
    """
    raise NotImplementedError


def check_leaky_backward(function=leaky_backward):
    text = function()
    for count, grid, block in ((8, 1, 8), (10, 3, 4), (100, 4, 32)):
        told, slope = f"{count} numbers, {grid} blocks of {block} threads", np.float32(0.25)
        grad, y = _numbers(count), _numbers(count, 1)
        arguments = grad, y, np.zeros_like(y), slope, np.int32(count)
        right = np.where(y > 0, grad, slope * grad)
        for _, _, mine, *_ in _run(text, "leaky_backward", grid, block, arguments, told):
            by_grad = np.where(grad > 0, grad, slope * grad)
            assert not np.array_equal(mine, by_grad), f"{told}: the sign of y decides, not that of the gradient"
            assert not np.array_equal(mine, np.where(y > 0, y, slope * y)), f"{told}: y only decides; scale grad"
            at_zero = np.where(y >= 0, grad, slope * grad)
            hint = "; where y is 0 the slope counts" if np.array_equal(mine, at_zero) else ""
            _same(mine, right, told + hint)
    print("leaky_backward: right")


# 5. Two bugs ----------------------------------------------------------------------------------------------------------

BROKEN_REVERSE = """extern "C" __global__ void reverse(const float* x, float* y, int count) {
    __shared__ float tile[8];
    int i = blockIdx.x * blockDim.x + threadIdx.x, mirror = blockDim.x - 1 - threadIdx.x;
    tile[threadIdx.x] = x[i];
    y[i] = tile[mirror];
}"""


def mended_reverse():
    """``BROKEN_REVERSE`` turns every piece of 8 numbers round: 0 1 ... 7 | 8 9 ... becomes 7 6 ... 0 | 15 14 ...

    Each block of 8 threads has a piece.  Where the last piece is not whole, 0 stands for the numbers that are missing,
    and what would come to lie behind the end is left out: of 10 numbers, the last two results are 0.

    The kernel has two bugs of the chapter.  Return the mended text.
    """
    raise NotImplementedError


def check_mended_reverse(function=mended_reverse):
    text = function()
    for count in (8, 24, 10, 21, 3):
        blocks, x = -(-count // 8), _numbers(count) + 20
        right = np.pad(x, (0, blocks * 8 - count)).reshape(blocks, 8)[:, ::-1].reshape(-1)[:count]
        arguments, told = (x, np.zeros_like(x), np.int32(count)), f"{count} numbers, {blocks} blocks of 8 threads"
        for _, mine, _ in _run(text, "reverse", blocks, 8, arguments, told):
            _same(mine, right, told)
    print("mended_reverse: right")


# 6. A sum -------------------------------------------------------------------------------------------------------------


def block_sum():
    """Return the text of a kernel that writes the sum of every block's numbers: ``parts[block]``.

    ``extern "C" __global__ void block_sum(const float* x, float* parts, int count)``

    Blocks have 64 threads, a number for each (threads behind the end of x bring 0).  No atomics: use shared memory, and
    add halves.  First 32 threads add what the other 32 have brought, then 16, 8, 4, 2, 1.  The result must be the same
    in every order of threads, bit for bit.
    """
    raise NotImplementedError


def check_block_sum(function=block_sum):
    text = function()
    assert not isinstance(text, str) or "atomic" not in text, "no atomics, please: their sums depend on the order"
    for count in (64, 192, 100, 1, 65):
        blocks, x = -(-count // 64), np.random.default_rng(count).standard_normal(count).astype(np.float32)
        right = np.pad(x, (0, blocks * 64 - count)).reshape(blocks, 64).sum(axis=1)
        arguments, told = (x, np.zeros(blocks, np.float32), np.int32(count)), f"{count} numbers, {blocks} blocks of 64"
        results = [parts for _, parts, _ in _run(text, "block_sum", blocks, 64, arguments, told)]
        for parts in results:
            wrong = np.flatnonzero(~np.isclose(parts, right, atol=1e-4))
            assert not len(wrong), f"{told}: part {wrong[0]} is {parts[wrong[0]]:g}, it should be {right[wrong[0]]:g}"
        assert len({parts.tobytes() for parts in results}) == 1, f"{told}: the last digits depend on the order"
    print("block_sum: right")
