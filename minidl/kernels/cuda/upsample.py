"""Upsampling on a GPU: nearest neighbour, as YOLOv3 does, and bilinear (notes E4).  Kernels: ``upsample.cu``."""

from minidl.device import array_module
from minidl.kernels.cuda.conv_shape import memory_of, pixel_distance
from minidl.kernels.cuda.launch import Source
from minidl.kernels.cuda.packs import launch_packs, pack_width

SOURCE = Source("upsample.cu")


def upsample_nearest(x, factor):
    """``y[i, j] = x[i // factor, j // factor]`` (spec 3.5).

    (batch, height, width, channels) -> (batch, height * factor, width * factor, channels).
    """
    xp = array_module(x)
    y = xp.empty(_enlarged(x, factor), x.dtype)
    upsample_nearest_into(xp.ascontiguousarray(x), factor, y)
    return y


def upsample_nearest_into(x, factor, y):
    """:func:`upsample_nearest`, written to ``y``; both may be slices of the channels of larger maps."""
    channels = x.shape[-1]
    distances = pixel_distance(x), pixel_distance(y)
    width = pack_width([channels, *distances], x, y)
    sizes = *x.shape[1:], factor, *distances
    launch_packs(SOURCE, "upsample_nearest", y.size, memory_of(x), memory_of(y), *sizes, width=width)


def upsample_nearest_grad(grad, factor):
    """Each input pixel fed a square of ``factor x factor`` outputs: the sum of their gradients."""
    return _gradient("upsample_nearest_grad", grad, factor)


def upsample_bilinear(x, factor):
    """Bilinear interpolation with pixel centres kept in place (``align_corners=False``).

    Output row i lies at input position ``(i + 0.5) / factor - 0.5``, moved inside the image; it is the mean of the
    two rows around it, weighted by nearness.  Columns likewise.
    """
    xp = array_module(x)
    x = xp.ascontiguousarray(x)
    y = xp.empty(_enlarged(x, factor), x.dtype)
    width = pack_width(x.shape[-1:], x)
    launch_packs(SOURCE, "upsample_bilinear", y.size, x, y, *x.shape[1:], factor, width=width)
    return y


def upsample_bilinear_grad(grad, factor):
    """The interpolation is linear: each input pixel collects from the outputs it fed, by the same weights."""
    return _gradient("upsample_bilinear_grad", grad, factor)


def _enlarged(x, factor):
    batch, height, width, channels = x.shape
    return batch, height * factor, width * factor, channels


def _gradient(kernel, grad, factor):
    """Launch a kernel that collects the gradient of the smaller map."""
    xp = array_module(grad)
    grad = xp.ascontiguousarray(grad)
    batch, height, width, channels = grad.shape
    dx = xp.empty((batch, height // factor, width // factor, channels), grad.dtype)
    launch_packs(SOURCE, kernel, dx.size, grad, dx, *dx.shape[1:], factor, width=pack_width([channels], grad))
    return dx
