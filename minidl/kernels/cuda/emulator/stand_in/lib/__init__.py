"""The part of ``cupy.lib`` that this project uses."""

from minidl.kernels.cuda.emulator.stand_in.lib import stride_tricks

__all__ = ["stride_tricks"]
