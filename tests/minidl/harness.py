"""One harness for all operations: values, gradients, number types and memory layouts from a few lines per test."""

import numpy as np

from minidl import Tensor
from minidl.gradcheck import gradcheck

ARRAY_LIBRARIES = {"cpu": np}  # a device is tested where its arrays come from
TOLERANCES = {np.float32: 2e-5, np.float64: 1e-12}  # relative to the largest number expected


def numbers(*shape, seed=0):
    """Normal random numbers, float64."""
    return np.random.default_rng(seed).standard_normal(shape)


def distinct(*shape, seed=0):
    """Numbers that differ by at least 0.1 and stay 0.05 away from 0, in random order: for operations with kinks."""
    size = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(size).reshape(shape) - size // 3) * 0.1 + 0.05


def layouts(array):
    """``(name, array)``: the same numbers in memory as they are, with gaps of NaN, transposed, and backwards."""
    yield "contiguous", np.array(array, order="C")
    gaps = np.full([2 * size + 1 for size in array.shape], np.nan, array.dtype)
    strided = gaps[(..., *(slice(1, None, 2) for _ in array.shape))]
    strided[...] = array
    yield "strided", strided
    yield "transposed", np.array(array.T, order="C").T
    backwards = (..., *(slice(None, None, -1) for _ in array.shape))
    yield "backwards", np.array(array[backwards], order="C")[backwards]


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
        gradcheck(function, *(dict(layouts(each))["strided"] for each in inputs))
        exact = _gradients(function, inputs, np.float64, "contiguous", device)[1]
    for dtype in dtypes:
        rounded = [each.astype(dtype).astype(np.float64) for each in inputs]
        wanted = expected(*rounded) if callable(expected) else expected
        for layout, _ in layouts(np.zeros(1)):
            output, found = _gradients(function, inputs, dtype, layout, device, gradients)
            where = f"{np.dtype(dtype)}, {layout} inputs"
            assert output.dtype == dtype, where
            if wanted is not None:
                assert_close(output.data, wanted, TOLERANCES[dtype], f"result, {where}")
            for index in range(len(inputs) if gradients else 0):
                assert isinstance(found[index], ARRAY_LIBRARIES[device].ndarray), f"gradient {index}, {where}"
                assert found[index].dtype == dtype, f"gradient {index}, {where}"
                # A float32 gradient contains the rounding of the inputs and of the values between.
                assert_close(found[index], exact[index], 10 * TOLERANCES[dtype], f"gradient {index}, {where}")


def _gradients(function, inputs, dtype, layout, device, gradients=True):
    """The output, and the gradient of each input for a random gradient of the output, in a type and a layout."""
    xp = ARRAY_LIBRARIES[device]
    arrays = [dict(layouts(each.astype(dtype)))[layout] for each in inputs]
    kept = [array.copy() for array in arrays]
    tensors = [Tensor(xp.asarray(array), requires_grad=gradients) for array in arrays]
    output = function(*tensors)
    if gradients:
        cotangent = numbers(*output.shape, seed=1234).astype(dtype)
        output.backward(xp.asarray(dict(layouts(cotangent))[layout]))
    for array, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before, err_msg="the operation changed its input")
    return output, [tensor.grad for tensor in tensors]


def assert_close(found, wanted, tolerance, what=""):
    """Equal shapes, and no difference above ``tolerance`` times the largest number wanted."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, f"{what}: shape {found.shape}, wanted {wanted.shape}"
    limit = tolerance * max(np.abs(wanted).max(initial=0), 1e-3)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=limit, err_msg=what)
