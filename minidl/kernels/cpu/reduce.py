"""Sums of NumPy arrays."""


def sum_all(x):
    """The sum of all numbers, as an array without axes."""
    return x.sum(keepdims=True).reshape(())
