"""Is a gradient right?  Compare it with finite differences.

For a function with output y and a random *cotangent* c, the gradient of ``sum(c * y)`` with respect to an input
entry is compared with ``sum(c * (y(entry + step) - y(entry - step))) / (2 step)``.  The cotangent must be random:
with ones, a batch norm whose backward returns zeros passes, because the sum of its outputs is constant.
"""

from dataclasses import dataclass

import numpy as np

from minidl.device import to_cpu, to_device
from minidl.tensor import Tensor


class GradientError(AssertionError):
    """A gradient does not agree with finite differences."""


@dataclass(frozen=True)
class GradientReport:
    """The worst entry found: which operation, which input and where, both gradients, and their relative difference."""

    operation: str
    input_index: int
    position: tuple
    gradient: float
    difference_quotient: float
    error: float

    def __str__(self):
        return (
            f"{self.operation}: input {self.input_index} at {self.position}: gradient {self.gradient:.10g}, "
            f"finite difference {self.difference_quotient:.10g}, relative error {self.error:.2g}"
        )


def gradcheck(function, *inputs, tolerance=1e-6, step=1e-5, seed=0):
    """Check the gradients of ``function`` with respect to all ``inputs``.

    Parameters
    ----------
    function: takes as many Tensors as there are inputs and returns a Tensor
    inputs: float64 arrays on any device, or Parameters (whose data is then varied in place), away from kinks such as
        0 of a ReLU; the function runs twice for every number of them
    tolerance: largest relative error allowed; differences are relative to the larger of the two gradients, or to
        a hundredth of the input's largest gradient where both are smaller than that, and what rounding alone
        does to a finite difference never counts as an error
    step: half the distance of the central difference
    seed: of the cotangent

    Returns the GradientReport of the worst entry.  Raises GradientError where it exceeds the tolerance, TypeError
    for inputs that are not float64, in which differences would drown in rounding.
    """
    tensors = [each if isinstance(each, Tensor) else Tensor(each, requires_grad=True) for each in inputs]
    for index, tensor in enumerate(tensors):
        if tensor.dtype != np.float64:
            raise TypeError(f"gradcheck needs float64, input {index} is {tensor.dtype}")
        tensor.grad = None
    output = function(*tensors)
    operation = output.operation
    # A stream of its own: inputs drawn from default_rng(seed) must not be the cotangent's numbers too.
    cotangent = np.random.default_rng((seed, 2718281828)).standard_normal(output.shape)
    output.backward(to_device(cotangent, output.device))
    rounding = 10 * np.finfo(np.float64).eps * np.linalg.norm(cotangent * to_cpu(output.data)) / step
    worst = GradientReport(operation, 0, (), 0.0, 0.0, 0.0)
    for index, tensor in enumerate(tensors):
        gradient = np.zeros(tensor.shape) if tensor.grad is None else to_cpu(tensor.grad)
        numeric = _difference_quotients(function, tensors, tensor, cotangent, step)
        floor = max(np.abs(numeric).max(initial=0) / 100, rounding / tolerance)
        error = np.abs(gradient - numeric) / np.maximum(np.maximum(np.abs(gradient), np.abs(numeric)), floor)
        error = np.where(np.isnan(error), np.inf, error)
        if error.size and error.max() >= worst.error:
            at = tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape))
            worst = GradientReport(operation, index, at, float(gradient[at]), float(numeric[at]), float(error[at]))
    if not worst.error <= tolerance:
        raise GradientError(str(worst))
    return worst


def _difference_quotients(function, tensors, tensor, cotangent, step):
    """Central differences of ``sum(cotangent * function)`` for every entry of ``tensor``, which is varied in place."""
    numeric, entries = np.empty(tensor.shape), to_cpu(tensor.data).copy()
    for position in np.ndindex(tensor.shape):
        values = []
        for moved in (entries[position] + step, entries[position] - step):
            tensor.data[position] = moved
            values.append(to_cpu(function(*tensors).data).copy())  # the output may be a view of the input
        tensor.data[position] = entries[position]
        numeric[position] = (cotangent * (values[0] - values[1])).sum() / (2 * step)
    return numeric
