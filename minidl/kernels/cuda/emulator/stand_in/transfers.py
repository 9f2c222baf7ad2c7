"""Copies between the computer's memory and the stand-in GPU's: counted, and refused while a stream captures."""

from minidl.kernels.cuda.emulator.stand_in.counts import Copy, active
from minidl.kernels.cuda.emulator.stand_in.cuda.stream import get_current_stream


def copy_to_host(reason, size):
    """Note a copy of ``size`` bytes from the GPU, for which the program waits."""
    get_current_stream().refuse_while_capturing(reason)
    for counts in active():
        counts.to_host.append(Copy(reason, size))


def copy_to_device(reason, size):
    """Note a copy of ``size`` bytes to the GPU."""
    get_current_stream().refuse_while_capturing(reason)
    for counts in active():
        counts.to_device.append(Copy(reason, size))
