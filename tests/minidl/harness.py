"""One harness for all operations: values, gradients, number types and memory layouts from a few lines per test."""

import numpy as np

from minidl import Tensor
from minidl.device import array_library, to_cpu
from minidl.gradcheck import gradcheck

TOLERANCES = {np.float16: 3e-3, np.float32: 2e-5, np.float64: 1e-12}  # relative to the largest number expected


def numbers(*shape, seed=0):
    """Normal random numbers, float64."""
    return np.random.default_rng(seed).standard_normal(shape)


def distinct(*shape, seed=0):
    """Numbers that differ by at least 0.1 and stay 0.05 away from 0, in random order: for operations with kinks."""
    size = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(size).reshape(shape) - size // 3) * 0.1 + 0.05


LAYOUTS = ("contiguous", "strided", "transposed", "backwards")


def lay_out(array, layout, device="cpu"):
    """The same numbers on a device, in memory as they are, with gaps of NaN, transposed, or backwards."""
    xp = array_library(device)
    if layout == "transposed":
        return xp.asarray(np.array(array.T, order="C")).T
    if layout == "backwards":
        backwards = (..., *(slice(None, None, -1) for _ in array.shape))
        return xp.asarray(np.array(array[backwards], order="C"))[backwards]
    if layout == "strided":
        gaps = xp.full(tuple(2 * size + 1 for size in array.shape), np.nan, array.dtype)
        strided = gaps[(..., *(slice(1, None, 2) for _ in array.shape))]
        strided[...] = xp.asarray(array)
        return strided
    return xp.asarray(np.array(array, order="C"))


def layouts(array):
    """``(name, array)`` in each layout, on the CPU."""
    return ((layout, lay_out(array, layout)) for layout in LAYOUTS)


def check_operation(function, inputs, expected=None, device="cpu", dtypes=(np.float32, np.float64), gradients=True):
    """Check everything that every operation must satisfy.

    Parameters
    ----------
    function: takes as many Tensors as there are inputs, returns a Tensor
    inputs: float64 arrays, away from kinks of the function
    expected: the result by other means: an array, or a function of the float64 inputs; None where only gradients
        and layouts are checked
    device: where to compute
    dtypes: number types to compute in; the result and the gradients must be of the same type
    gradients: whether the operation has any (False for parts that are constant)

    The result must be as expected in each number type and memory layout; gradients must agree with finite
    differences in float64, for a random gradient of the output, and be the same in each type and layout.
    """
    inputs = [np.asarray(each, np.float64) for each in inputs]
    exact = None
    if gradients:
        # Float64 gradients that finite differences confirm, from inputs that lie in memory with gaps.
        gradcheck(function, *(lay_out(each, "strided", device) for each in inputs))
        exact = _gradients(function, inputs, np.float64, "contiguous", device)[1]
    for dtype in dtypes:
        rounded = [each.astype(dtype).astype(np.float64) for each in inputs]
        wanted = expected(*rounded) if callable(expected) else expected
        for layout in LAYOUTS:
            output, found = _gradients(function, inputs, dtype, layout, device, gradients)
            where = f"{np.dtype(dtype)}, {layout} inputs"
            assert output.dtype == dtype, where
            if wanted is not None:
                assert_close(output.data, wanted, TOLERANCES[dtype], f"result, {where}")
            for index in range(len(inputs) if gradients else 0):
                assert isinstance(found[index], array_library(device).ndarray), f"gradient {index}, {where}"
                assert found[index].dtype == dtype, f"gradient {index}, {where}"
                # A float32 gradient contains the rounding of the inputs and of the values between.
                assert_close(found[index], exact[index], 10 * TOLERANCES[dtype], f"gradient {index}, {where}")


def _gradients(function, inputs, dtype, layout, device, gradients=True):
    """The output, and the gradient of each input for a random gradient of the output, in a type and a layout."""
    arrays = [lay_out(each.astype(dtype), layout, device) for each in inputs]
    kept = [to_cpu(array).copy() for array in arrays]
    tensors = [Tensor(array, requires_grad=gradients) for array in arrays]
    output = function(*tensors)
    if gradients:
        cotangent = numbers(*output.shape, seed=1234).astype(dtype)
        output.backward(lay_out(cotangent, layout, device))
    for array, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(to_cpu(array), before, err_msg="the operation changed its input")
    return output, [tensor.grad for tensor in tensors]


def assert_close(found, wanted, tolerance, what=""):
    """Equal shapes, and no difference above ``tolerance`` times the largest number wanted."""
    found, wanted = np.asarray(to_cpu(found)), np.asarray(to_cpu(wanted))
    assert found.shape == wanted.shape, f"{what}: shape {found.shape}, wanted {wanted.shape}"
    limit = tolerance * max(np.abs(wanted).max(initial=0), 1e-3)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=limit, err_msg=what)
