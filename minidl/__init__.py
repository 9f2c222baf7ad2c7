"""minidl: a tiny deep-learning library, with autograd and kernels written by hand, to learn from."""

from minidl import nn, ops
from minidl.kernels.cpu.parallel import get_num_threads, one_blas_thread, set_num_threads
from minidl.kernels.cuda.settings import cuda_settings
from minidl.tensor import Tensor, no_grad

__all__ = ["Tensor", "cuda_settings", "get_num_threads", "nn", "no_grad", "one_blas_thread", "ops", "set_num_threads"]
