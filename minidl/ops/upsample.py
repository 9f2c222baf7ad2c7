"""Upsampling.  Kernels: ``upsample_nearest``, ``upsample_bilinear`` and their gradients."""

from minidl.device import kernels_for
from minidl.kernels.shapes import whole_number
from minidl.tensor import Tensor

MODES = ("nearest", "bilinear")


def upsample(x, factor=2, mode="nearest"):
    """Enlarge height and width by a whole ``factor``: (batch, h, w, channels) -> (batch, h factor, w factor, channels).

    ``nearest`` repeats pixels, as YOLOv3 does; ``bilinear`` blends the four around each position, centres kept in
    place.  Backward: each input pixel collects from the outputs it fed, by the same weights.  Notes E4; spec 3.5.
    """
    if mode not in MODES:
        raise ValueError(f"upsample: unknown mode {mode!r}, choose one of {', '.join(MODES)}")
    whole_number(factor, "upsample: the factor", least=1)
    kernels = kernels_for(x.data)
    forward = kernels.upsample_nearest if mode == "nearest" else kernels.upsample_bilinear
    gradient = kernels.upsample_nearest_grad if mode == "nearest" else kernels.upsample_bilinear_grad

    def backward(grad):
        return (gradient(grad, factor),)

    return Tensor.from_operation(forward(x.data, factor), (x,), backward, f"upsample_{mode}")
