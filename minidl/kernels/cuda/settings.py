"""How the kernels on a GPU compute: which precision, and which way of convolution."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace

PRECISIONS = ("fp32", "tf32")
CONVOLUTIONS = ("auto", "plain", "blocked", "tensor")


@dataclass(frozen=True)
class CudaSettings:
    """precision: of products of float32 numbers: ``fp32``, or ``tf32``, where tensor cores round both factors to 10
    bits after the binary point (sums stay float32), which is faster on compute capability 8.0 and later.
    convolution: ``auto`` chooses a way by shape; ``plain``, ``blocked`` and ``tensor`` ask for one.

    float16 and float64 arrays take no notice of the precision.  Raises ValueError for other values.
    """

    precision: str = "fp32"
    convolution: str = "auto"

    def __post_init__(self):
        for name, allowed in (("precision", PRECISIONS), ("convolution", CONVOLUTIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")


class _OfThread(threading.local):
    settings = CudaSettings()  # each thread starts with the defaults


_of_thread = _OfThread()


def current():
    """The :class:`CudaSettings` of this thread."""
    return _of_thread.settings


@contextmanager
def cuda_settings(**changes):
    """Within ``with cuda_settings(precision="tf32"):`` the kernels that this thread calls compute so.

    changes: fields of :class:`CudaSettings`; the others stay as they are.  Afterwards the earlier settings return.
    """
    before = _of_thread.settings
    _of_thread.settings = replace(before, **changes)
    try:
        yield _of_thread.settings
    finally:
        _of_thread.settings = before
