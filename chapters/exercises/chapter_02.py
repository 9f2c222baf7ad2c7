"""Exercises of chapter 2: convolution by hand.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_02``, or call a
check by itself: ``check_window_matrix()`` checks the function in this file, ``check_window_matrix(mine)`` any other.
"""

import numpy as np

from minidl import Tensor, nn, ops
from minidl.kernels.shapes import window_count

# 1. Read and predict --------------------------------------------------------------------------------------------------


def darknet_sides():
    """A picture of 608x608 pixels goes through five 3x3 convolutions of stride 2 and padding 1.

    Return the list of six sides: 608 and the side of the map behind each convolution.  Work them out by the formula.
    """
    raise NotImplementedError


def check_darknet_sides(function=darknet_sides):
    answer, right = list(function()), [608]
    while len(right) < 6:
        right.append(window_count(right[-1], 3, 2, 2))
    assert len(answer) == 6, f"six sides are asked for, 608 among them; you gave {len(answer)}"
    for place, (mine, side) in enumerate(zip(answer, right, strict=True)):
        before = answer[place - 1] if place else 608
        assert mine == side, f"side {place} is not {mine}: (n + 2p - k) // s + 1 with n = {before}, p = 1, k = 3, s = 2"
    print("darknet_sides: right")


# 2. Count -------------------------------------------------------------------------------------------------------------


def operations(height, width, kernel, inputs, outputs, stride, padding):
    """Multiplications and additions, counted apart, of a convolution for one image of ``height x width`` pixels.

    ``inputs`` and ``outputs`` are channels, ``kernel`` is the kernel's side.  The formula of the chapter takes
    the height and width of the *output*.
    """
    raise NotImplementedError


def check_operations(function=operations):
    cases = ((26, 26, 1, 8, 4, 1, 0), (416, 416, 3, 3, 32, 1, 1), (416, 416, 3, 32, 64, 2, 1), (19, 26, 5, 4, 6, 3, 2))
    for case in cases:
        height, width, kernel, inputs, outputs, stride, padding = case
        size = [window_count(side, kernel, stride, 2 * padding) for side in (height, width)]
        layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        right, mine = layer.operations((1, *size, outputs)), function(*case)
        told = f"operations{case}: {mine:,} is not right"
        assert mine != right // 2, f"{told}: additions count as well as multiplications"
        from_input = right // (size[0] * size[1]) * height * width
        assert mine == right or mine != from_input, f"{told}: take the output's height and width, not the input's"
        assert mine == right or mine * kernel != right, f"{told}: a kernel has kernel * kernel places"
        assert mine == right, f"{told}, it should be {right:,}"
    print("operations: right")


# 3. The window matrix -------------------------------------------------------------------------------------------------


def window_matrix(x, kernel, stride, padding):
    """All windows of one image as rows of a matrix, with NumPy and as many loops as you like.

    x: (height, width, channels); ``kernel`` is the side of the window; ``padding`` zeros are put on each side of the
    image.  Returns (out_height * out_width, kernel * kernel * channels): windows row by row, in each window the places
    row by row, at each place its channels.
    """
    raise NotImplementedError


def check_window_matrix(function=window_matrix):
    cases = (
        ((4, 4, 1), 3, 1, 0),
        ((3, 5, 2), 2, 1, 0),
        ((4, 4, 1), 3, 1, 1),
        ((6, 5, 3), 3, 2, 1),
        ((7, 7, 2), 3, 3, 0),
    )
    for shape, kernel, stride, padding in cases:
        x = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
        given = x.copy()
        mine = np.asarray(function(given, kernel, stride, padding))
        told = f"image {shape}, kernel {kernel}, stride {stride}, padding {padding}"
        right = _windows_by_filters(x, kernel, stride, padding)
        assert np.array_equal(given, x), f"{told}: the image that you were given has changed"
        assert mine.shape == right.shape, f"{told}: your matrix has the shape {mine.shape}, not {right.shape}"
        channels_first = mine.reshape(len(mine), shape[2], -1).transpose(0, 2, 1).reshape(mine.shape)
        mixed = shape[2] > 1 and np.array_equal(channels_first, right)
        assert not mixed, f"{told}: at each place its channels come together, not one channel after the other"
        wrong = np.argwhere(mine != right)
        assert not len(wrong), f"{told}: row {wrong[0][0]}, column {wrong[0][1]} is {mine[tuple(wrong[0])]:g}, not " + (
            f"{right[tuple(wrong[0])]:g} (the pixels are numbered 1, 2, 3, ...)"
        )
    print("window_matrix: right")


def _windows_by_filters(x, kernel, stride, padding):
    """The same from the library: one filter for each place of the window, which takes what lies there."""
    count = kernel * kernel * x.shape[2]
    filters = np.eye(count).reshape(kernel, kernel, x.shape[2], count)
    return ops.conv2d(Tensor(x[None]), Tensor(filters), stride=stride, padding=padding).data.reshape(-1, count)


# 4. The gradient of the image -----------------------------------------------------------------------------------------


def grad_input(grad, weight, image_size, stride, padding):
    """What arrives at the image of a convolution, in plain loops.

    grad: (out_height, out_width, out_channels), the gradient of the output; weight: (kernel_height, kernel_width,
    in_channels, out_channels); image_size: (height, width).  Every pixel collects from all the windows that it was in.
    Output pixel (i, j) met image pixel (i * stride + u - padding, j * stride + v - padding) with ``weight[u, v]``;
    where that lies outside the image there was only a zero of the padding.  Returns (height, width, in_channels).
    """
    raise NotImplementedError


def check_grad_input(function=grad_input):
    rng = np.random.default_rng(0)
    for size, kernel, stride, padding in (((4, 4), 3, 1, 0), ((5, 4), 3, 1, 1), ((6, 5), 3, 2, 1), ((5, 5), 1, 2, 0)):
        x = Tensor(rng.standard_normal((1, *size, 2)), requires_grad=True)
        weight = rng.standard_normal((kernel, kernel, 2, 3))
        y = ops.conv2d(x, Tensor(weight), stride=stride, padding=padding)
        grad = rng.standard_normal(y.shape)
        y.backward(grad)
        right, told = x.grad[0], f"image {size}, kernel {kernel}, stride {stride}, padding {padding}"
        try:
            mine = np.asarray(function(grad[0], weight, size, stride, padding))
        except IndexError as error:
            raise AssertionError(
                f"{told}: a window sticks out of the image, leave those places out ({error})"
            ) from None
        assert mine.shape == right.shape, f"{told}: your gradient has the shape {mine.shape}, not {right.shape}"
        at = tuple(int(i) for i in np.unravel_index(np.abs(mine - right).argmax(), right.shape))
        hint = "; is padding subtracted, and are places below 0 left out? (They count from the end in Python)"
        hint = hint if padding else ""
        assert np.allclose(mine, right), f"{told}: at {at} {mine[at]:.4f}, it should be {right[at]:.4f}{hint}"
    print("grad_input: right")


# 5. Where was the bright pixel? ---------------------------------------------------------------------------------------


def two_filters():
    """The weight (2, 2, 1, 2) of a 2x2 convolution with stride 2 and *two* filters that keep a bright pixel's place.

    The pictures are 2x2 pixels, one of which is bright and the others 0.  The pair of outputs must tell which one, also
    if nobody says how bright it is: so the four pairs, as points in the plane, must lie in four different directions
    from (0, 0), and none at (0, 0).
    """
    raise NotImplementedError


def check_two_filters(function=two_filters):
    weight = np.asarray(function(), float)
    assert weight.shape == (2, 2, 1, 2), f"the weight has the shape {weight.shape}, not (2, 2, 1, 2)"
    pairs = ops.conv2d(Tensor(np.eye(4).reshape(4, 2, 2, 1)), Tensor(weight), stride=2).data.reshape(4, 2)
    lengths = np.linalg.norm(pairs, axis=1)
    assert lengths.min() > 1e-6, f"the bright pixel {int(lengths.argmin())} gives (0, 0): it cannot be seen at all"
    directions = pairs / lengths[:, None]
    for one in range(4):
        for other in range(one):
            same = np.allclose(directions[one], directions[other], atol=1e-6)
            assert not same, (
                f"a bright pixel at place {other} gives {pairs[other]}, at place {one} {pairs[one]}: the same "
                "direction, so a brighter one here looks like a darker one there"
            )
    print("two_filters: right")


# 6. Winograd in one dimension -----------------------------------------------------------------------------------------


def winograd_1d(d, g):
    """Two outputs of a filter with three weights, with four multiplications.

    d: four numbers of the signal, g: three weights.  Return ``[d0 g0 + d1 g1 + d2 g2, d1 g0 + d2 g1 + d3 g2]`` from the
    four products m1 ... m4 of the chapter.  The check counts your multiplications ``*``; additions, subtractions and
    divisions by 2 are free.  Use the numbers as they come, one by one: no NumPy.
    """
    raise NotImplementedError


class _Counted:
    """A number that counts how often such numbers are multiplied."""

    count = 0

    def __init__(self, value):
        self.value = value

    def __mul__(self, other):
        _Counted.count += 1
        return _Counted(self.value * getattr(other, "value", other))

    __rmul__ = __mul__

    def __add__(self, other):
        return _Counted(self.value + getattr(other, "value", other))

    __radd__ = __add__

    def __neg__(self):
        return _Counted(-self.value)

    def __sub__(self, other):
        return _Counted(self.value - getattr(other, "value", other))

    def __rsub__(self, other):
        return _Counted(other - self.value)

    def __truediv__(self, other):
        assert other == 2, "divide by 2 only"
        return _Counted(self.value / other)


def check_winograd_1d(function=winograd_1d):
    rng = np.random.default_rng(0)
    for _ in range(5):
        d, g = rng.integers(-9, 10, 4).tolist(), rng.integers(-9, 10, 3).tolist()
        _Counted.count = 0
        outputs = list(function([_Counted(value) for value in d], [_Counted(value) for value in g]))
        assert len(outputs) == 2, f"return two outputs, not {len(outputs)}"
        for place in range(2):
            right = float(np.dot(d[place : place + 3], g))
            mine = float(getattr(outputs[place], "value", outputs[place]))
            assert np.isclose(mine, right), f"d = {d}, g = {g}: output {place} is {mine:g}, it should be {right:g}"
        assert _Counted.count == 4, f"the outputs are right, but took {_Counted.count} multiplications; 4 are enough"
    print("winograd_1d: right")
