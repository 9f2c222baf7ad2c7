"""Several neighbouring pixels of a convolution's output at once, for layers with few channels.

With few channels on both sides, such as 3 -> 8 in a first layer, the matrix product is too narrow to be fast, and a
window is too short to be copied fast.  Neighbouring windows overlap, so a window of ``kernel_width + 3 * stride``
columns serves four pixels; the weight becomes a wider one with four times the outputs, each a copy of the weight moved
by ``stride`` columns, with zeros around it.  The product does up to twice the arithmetic, at more than twice the speed,
on a smaller matrix.
"""

import numpy as np

# Layers with at most so many weights per kernel position compute several neighbouring pixels at once.
FEW_WEIGHTS = 48
PIXELS_AT_ONCE = 4


def pixels_at_once(weight_shape, out_width):
    """How many neighbouring output pixels one row of the window matrix shall serve; 1 for most layers."""
    _, kernel_width, channels, filters = weight_shape
    worthwhile = kernel_width > 1 and channels * filters <= FEW_WEIGHTS and out_width % PIXELS_AT_ONCE == 0
    return PIXELS_AT_ONCE if worthwhile else 1


def join_pixels(y, together):
    """Neighbouring pixels as one with more channels: (n, h, w, o) -> (n, h, w / together, together * o), a view."""
    batch, height, width, filters = y.shape
    return y.reshape(batch, height, width // together, together * filters)


def widen_weight(weight, together, stride):
    """-> (kernel_height, kernel_width + (together - 1) * stride, channels, together * filters)."""
    kernel_height, kernel_width, channels, filters = weight.shape
    width = kernel_width + (together - 1) * stride
    wide = np.zeros((kernel_height, width, channels, together, filters), weight.dtype)
    for pixel in range(together):
        wide[:, pixel * stride : pixel * stride + kernel_width, :, pixel] = weight
    return wide.reshape(kernel_height, width, channels, together * filters)


def narrow_weight(wide, shape, together, stride):
    """The gradient of the weight from that of the wide one: each weight collects from its copies."""
    _, kernel_width, _, filters = shape
    copies = wide.reshape(*wide.shape[:3], together, filters)
    return sum(copies[:, pixel * stride : pixel * stride + kernel_width, :, pixel] for pixel in range(together))
