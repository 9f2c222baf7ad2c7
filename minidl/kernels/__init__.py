"""Kernels: the number crunching under the differentiable operations, one package per device.

Kernels are pure functions of arrays.  They know nothing of autograd, and autograd knows nothing of
them: the operations in :mod:`minidl.ops` are the one place where the two meet.
"""
