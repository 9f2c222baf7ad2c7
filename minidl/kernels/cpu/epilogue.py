"""What follows a convolution, done to its values while they are still in the cache.

    y = leaky(leaky(values + bias) + residual)

Each operation by itself would read and write the whole map in main memory; on a block that has just been computed they
cost little.  The last operation writes to where the map shall be, so no copy is needed for that.
"""

from dataclasses import dataclass

import numpy as np

from minidl.kernels.cpu.parallel import scratch
from minidl.kernels.cpu.rows import wide_rows


@dataclass(frozen=True)
class Epilogue:
    """bias (channels,); slope of the leaky ReLU before the residual is added, and of the one after it; 1 for none."""

    bias: np.ndarray
    slope: float = 1.0
    final_slope: float = 1.0


def add_bias(values, bias):
    """``values += bias`` for contiguous (pixels, channels), fast also where the channels are few."""
    together = wide_rows(*values.shape)
    values = values.reshape(-1, together * values.shape[1])
    values += np.tile(bias, together) if together > 1 else bias


def activate(values, slope):
    """Leaky ReLU in place: ``max(values, slope * values)``; a slope of 1 changes nothing."""
    if slope != 1:
        _leaky(values, slope, values)


def store(values, target, epilogue, residual=None):
    """Write ``leaky(leaky(values) + residual)`` to ``target``: all of one shape, with any strides.

    The bias is in ``values`` already, which is spoilt.
    """
    if epilogue.slope != 1 and residual is None and epilogue.final_slope == 1:
        _leaky(values, epilogue.slope, target)
        return
    activate(values, epilogue.slope)
    add_and_store(values, target, epilogue, residual)


def add_and_store(values, target, epilogue, residual=None):
    """Write ``leaky(values + residual)`` to ``target``, the last two steps of :func:`store`."""
    if residual is None and epilogue.final_slope == 1:
        np.copyto(target, values)
        return
    if residual is not None:
        values = np.add(values, residual, out=target if epilogue.final_slope == 1 else values)
    if epilogue.final_slope != 1:
        _leaky(values, epilogue.final_slope, target)


def _leaky(values, slope, out):
    scaled = scratch("leaky", values.size, values.dtype).reshape(values.shape)
    np.multiply(values, values.dtype.type(slope), out=scaled)
    np.maximum(values, scaled, out=out)
