"""Views whose shape and strides are given outright."""

import numpy as np

from minidl.kernels.cuda.emulator.stand_in.operands import view_of


def as_strided(x, shape, strides):
    """A view that begins where ``x`` does, with this shape and these strides (in bytes).

    Raises ValueError where it would reach beyond the memory of ``x``, which CuPy lets pass.
    """
    view = np.lib.stride_tricks.as_strided(x._numbers, shape, strides)
    reach = [(size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)]
    before, behind = sum(min(each, 0) for each in reach), sum(max(each, 0) for each in reach) + view.itemsize
    start = x.data.ptr - x._memory.address
    if view.size and not 0 <= start + before <= start + behind <= x._memory.size:
        raise ValueError(f"a view {shape} with strides {strides} reaches beyond the memory of an array {x.shape}")
    return view_of(x, view)
