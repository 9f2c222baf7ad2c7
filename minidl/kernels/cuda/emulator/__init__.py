"""Runs CUDA kernels on the CPU, so that they can be read, tried and tested without a GPU.

It needs Linux (or WSL) and g++, 9 or newer.  ``emulated_cuda.h`` gives g++ what CUDA C++ has beyond C++;
``scheduler.cpp`` runs every thread of a block in a fiber of its own, one at a time, from barrier to barrier; this
package compiles, checks arguments, and launches::

    from minidl.kernels.cuda import emulator

    code = r'''
    extern "C" __global__ void double_it(float* x, int count) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < count) x[i] *= 2;
        if (i == 0) printf("%d threads in a block\\n", blockDim.x);
    }
    '''
    x = np.arange(100, dtype=np.float32)
    kernel = emulator.Module(code).get_function("double_it")
    kernel((4,), (32,), (x, np.int32(100)))           # 4 blocks of 32 threads

    with emulator.only(block=3, thread=1):            # this thread alone
        kernel((4,), (32,), (x, np.int32(100)))
    with emulator.watch() as turns:                   # who ran when, and which barrier stopped it
        kernel((4,), (32,), (x, np.int32(100)))
    with emulator.checking():                         # EmulatorError: kernel.cu:4: reads x[100], but x has 100 elements
        kernel((4,), (32,), (x, np.int32(128)))
    with emulator.thread_order(7):                    # threads in a random order; a right kernel does not mind
        kernel((4,), (32,), (x, np.int32(100)))

Always reported, with file and line: a barrier that some threads of the block never reach or reach elsewhere (newer
GPUs let threads that have ended pass, older ones hang), warp operations whose lanes are missing or elsewhere, memory
that is nobody's.  Shared memory starts as NaN; background copies arrive no earlier than their wait.  One core runs some
300 million multiply-adds of a tiled matrix product in a second, 30 million with checks.  What is not emulated,
``emulated_cuda.h`` says.
"""

from minidl.kernels.cuda.emulator.compiler import SANITIZER, EmulatorError
from minidl.kernels.cuda.emulator.launching import Turn
from minidl.kernels.cuda.emulator.module import Kernel, Module
from minidl.kernels.cuda.emulator.settings import checking, only, thread_order, watch

__all__ = [
    "SANITIZER",
    "EmulatorError",
    "Kernel",
    "Module",
    "Turn",
    "checking",
    "only",
    "thread_order",
    "watch",
]
