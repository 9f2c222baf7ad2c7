"""The stand-in GPU as CuPy's ``Device``."""

from minidl.kernels.cuda.emulator.stand_in.cuda import runtime
from minidl.kernels.cuda.emulator.stand_in.cuda.memory import CAPACITY, pool


class Device:
    """The one GPU there is, number 0.

    compute_capability: "90", so that the kernels for tensor cores are chosen; attributes: limits by CuPy's names.
    """

    compute_capability = "90"

    def __init__(self, device=0):
        self._properties = runtime.getDeviceProperties(device)
        self.id = device

    @property
    def attributes(self):
        """``{name: value}``, the part of CuPy's that programs plan with."""
        return {
            "MultiProcessorCount": self._properties["multiProcessorCount"],
            "MaxSharedMemoryPerBlockOptin": self._properties["sharedMemPerBlockOptin"],
            "MaxThreadsPerBlock": self._properties["maxThreadsPerBlock"],
            "WarpSize": self._properties["warpSize"],
        }

    @property
    def mem_info(self):
        """(free, total) bytes."""
        total = pool.get_limit() or CAPACITY
        return total - pool.used_bytes(), total

    def synchronize(self):
        """Wait for all kernels."""
        runtime.deviceSynchronize()

    def use(self):
        """Make this GPU the current one, which it is."""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass
