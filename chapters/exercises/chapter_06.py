"""Exercises of chapter 6: the feature pyramid.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_06``, or call a
check by itself: ``check_cells_wide()`` checks the function in this file, ``check_cells_wide(my_function)`` any other.
"""

import numpy as np

from minidl import Tensor, nn, ops
from yolov3.fpn import FeaturePyramid

# 1. Read --------------------------------------------------------------------------------------------------------------


def cells_wide(side, strides=(8, 16, 32)):
    """How many cells wide is an object of ``side`` pixels at each of the strides, and which maps still show it?

    Return ``(widths, coarsest)``: a list with side / stride for each stride, and the largest stride at which the object
    is at least one cell wide, None if there is none.
    """
    raise NotImplementedError


def check_cells_wide(function=cells_wide):
    for side in (6, 8, 15, 16, 40, 300):
        widths, coarsest = function(side)
        assert len(widths) == 3, f"{side} px: three strides need three widths, you returned {len(widths)}"
        for stride, width in zip((8, 16, 32), widths, strict=True):
            assert not np.isclose(width, stride / side) or side == stride, f"{side} px: you divided the wrong way round"
            assert np.isclose(width, side / stride), f"{side} px at stride {stride}: {side / stride} cells, not {width}"
        shown = [stride for stride in (8, 16, 32) if side >= stride]
        right = max(shown) if shown else None
        assert coarsest == right, f"{side} px: the coarsest map that shows a whole cell is {right}, not {coarsest}"
    print("cells_wide: right")


# 2. Nearest neighbour -------------------------------------------------------------------------------------------------


def upsample_nearest(x, factor):
    """Enlarge an array (batch, height, width, channels): every pixel becomes a block of factor x factor.

    Return an array (batch, height * factor, width * factor, channels).  NumPy only, no loop over pixels.
    """
    raise NotImplementedError


def check_upsample_nearest(function=upsample_nearest):
    rng = np.random.default_rng(0)
    for shape, factor in (((1, 3, 3, 1), 2), ((2, 2, 3, 4), 2), ((1, 4, 2, 3), 3), ((2, 3, 3, 2), 1)):
        x = rng.standard_normal(shape)
        right = ops.upsample(Tensor(x), factor).data
        y = np.asarray(function(x.copy(), factor))
        case = f"{shape}, factor {factor}"
        assert y.shape == right.shape, f"{case}: the result has the shape {y.shape}, it should be {right.shape}"
        tiled = np.allclose(y, np.tile(x, (1, factor, factor, 1))) and factor > 1
        assert not tiled, f"{case}: you laid whole pictures side by side; each pixel shall become a block"
        wrong = np.argwhere(~np.isclose(y, right))
        assert not len(wrong), f"{case}: wrong at (picture, row, column, channel) = {tuple(wrong[0].tolist())}"
    print("upsample_nearest: right")


# 3. And its gradient --------------------------------------------------------------------------------------------------


def upsample_nearest_grad(grad, factor):
    """The gradient of nearest-neighbour upsampling.

    ``grad``: the gradient of the enlarged map, (batch, height * factor, width * factor, channels).  Return the gradient
    of the small map: each pixel collects from all the pixels that it fed.
    """
    raise NotImplementedError


def check_upsample_nearest_grad(function=upsample_nearest_grad):
    rng = np.random.default_rng(0)
    for shape, factor in (((1, 2, 2, 1), 2), ((2, 3, 2, 4), 2), ((1, 2, 3, 2), 3)):
        x = Tensor(rng.standard_normal(shape), requires_grad=True)
        y = ops.upsample(x, factor)
        grad = rng.standard_normal(y.shape)
        y.backward(grad)
        mine = np.asarray(function(grad.copy(), factor))
        case = f"small map {shape}, factor {factor}"
        assert mine.shape == shape, f"{case}: your gradient has the shape {mine.shape}"
        assert not np.allclose(mine * factor**2, x.grad), f"{case}: you took the mean of each block; gradients add up"
        first = np.allclose(mine, grad[:, ::factor, ::factor])
        assert not first, f"{case}: you took only one pixel of each block; all of them were fed"
        assert np.allclose(mine, x.grad), f"{case}: these are not the sums over the blocks; check the order of axes"
    print("upsample_nearest_grad: right")


# 4. Linear ------------------------------------------------------------------------------------------------------------


def linear_row(row):
    """Enlarge a row of n numbers to 2n by linear interpolation, as ``ops.upsample(..., mode="bilinear")`` does.

    Old pixel i becomes the new pixels 2i and 2i + 1.  Each is 3/4 of old pixel i and 1/4 of the neighbour on its side:
    the left one for 2i, the right one for 2i + 1.  At the ends, where there is no neighbour, pixel i itself takes its
    place.
    """
    raise NotImplementedError


def check_linear_row(function=linear_row):
    rng = np.random.default_rng(0)
    for row in (np.array([0.0, 4.0]), np.array([1.0, 5.0, 2.0]), rng.standard_normal(7), np.array([3.0])):
        right = ops.upsample(Tensor(row[None, None, :, None]), 2, mode="bilinear").data[0, 0, :, 0]
        mine = np.asarray(function(row.copy()))
        assert mine.shape == right.shape, f"{len(row)} numbers become {len(right)}; yours has the shape {mine.shape}"
        assert not np.allclose(mine, row.repeat(2)) or len(row) == 1, "that is nearest neighbour: nothing is blended"
        wrong = np.flatnonzero(~np.isclose(mine, right))
        if len(wrong):
            at = wrong[0]
            where = "an end: the pixel itself is its neighbour there" if at in (0, len(right) - 1) else "inside"
            raise AssertionError(
                f"{row.round(2)}: number {at} is {mine[at]:.3f}, it should be {right[at]:.3f} ({where})"
            )
    print("linear_row: right")


# 5. Two ways to join, one result --------------------------------------------------------------------------------------


def concat_as_addition(a, b, weight):
    """``ops.conv2d(ops.concat(a, b), weight)`` without concatenating.

    ``a`` and ``b``: Tensors (batch, height, width, channels) whose channels may differ; ``weight``: an array
    (1, 1, channels of a + channels of b, outputs).  Use two 1x1 convolutions and an addition.  Return a Tensor.
    """
    raise NotImplementedError


def check_concat_as_addition(function=concat_as_addition):
    rng = np.random.default_rng(0)
    for first, second, outputs in ((2, 2, 3), (4, 10, 6), (5, 1, 1)):
        a, b = (Tensor(rng.standard_normal((2, 3, 4, channels))) for channels in (first, second))
        weight = rng.standard_normal((1, 1, first + second, outputs))
        right = ops.conv2d(ops.concat(a, b), Tensor(weight)).data
        y = function(a, b, weight.copy())
        case = f"{first} and {second} channels to {outputs}"
        assert isinstance(y, Tensor), f"{case}: return a Tensor, not a {type(y).__name__}"
        assert y.shape == right.shape, f"{case}: the result has the shape {y.shape}, it should be {right.shape}"
        if first == second:
            swapped = ops.conv2d(ops.concat(b, a), Tensor(weight)).data
            assert not np.allclose(y.data, swapped), f"{case}: the first rows of the weight belong to a, not to b"
        assert np.allclose(y.data, right), f"{case}: other numbers; where does the weight have to be cut?"
    print("concat_as_addition: right")


# 6. Every shape on the way down ---------------------------------------------------------------------------------------


def pyramid_shapes(side, channels, lateral):
    """Shapes of YOLOv3's pyramid where the two paths have met, at stride 16 and at stride 8.

    ``side``: of the square picture, a multiple of 32; ``channels``: of the backbone's maps with stride 8, 16, 32, such
    as (256, 512, 1024); ``lateral``: "concat" or "add".  Return two tuples (height, width, channels), stride 16 first.

    The way down: the coarse map's branch halves its channels (1024 -> 512), a 1x1 halves them again (256), upsample,
    join with x_61.  The branch at stride 16 gives half the channels of x_61, a 1x1 halves them again, upsample, join
    with x_36.  With "add" the lateral map is first brought to the channels of the upsampled one.
    """
    raise NotImplementedError


def check_pyramid_shapes(function=pyramid_shapes):
    for side, channels in ((64, (8, 16, 32)), (96, (16, 24, 40)), (64, (16, 16, 16))):
        for lateral in ("concat", "add"):
            pyramid = FeaturePyramid(channels, (6, 6, 6), lateral, pairs=1, rng=np.random.default_rng(0)).eval()
            seen = []
            with nn.module.observe(
                lambda m, _, y, p=pyramid, s=seen: m in (p.top_down_16, p.top_down_8) and s.append(y)
            ):
                maps = zip((8, 16, 32), channels, strict=True)
                pyramid(*(Tensor(np.zeros((1, side // s, side // s, c), np.float32)) for s, c in maps))
            answer = function(side, channels, lateral)
            for stride, right, mine in zip((16, 8), seen, answer, strict=True):
                case = f"side {side}, channels {channels}, {lateral}, stride {stride}"
                assert tuple(mine[:2]) == right.shape[1:3], f"{case}: the map is {right.shape[1:3]}, not {mine[:2]}"
                assert mine[2] == right.shape[3], f"{case}: {right.shape[3]} channels, not {mine[2]}"
    print("pyramid_shapes: right")
