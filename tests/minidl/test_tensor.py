"""Tensors and the backward pass: order, sums, memory, threads, and clear errors."""

import gc
import threading
import weakref

import numpy as np
import pytest

from minidl import Tensor, no_grad, ops
from minidl.device import array_library
from minidl.tensor import grad_enabled


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


@pytest.mark.parametrize("data", [1.5, 3, [1.0, 2.0], [[1, 2]], np.arange(3), np.array([True])])
def test_what_has_no_float_type_of_its_own_becomes_float32(data):
    tensor = Tensor(data)
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor.data, np.asarray(data))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_arrays_are_kept_as_they_are(dtype):
    array = np.ones((2, 3), dtype)
    assert Tensor(array).data is array
    assert Tensor(dtype(2)).dtype == dtype


def test_float16_is_for_gpus(device):
    array = array_library(device).ones(2, np.float16)
    if device == "cpu":
        with pytest.raises(TypeError, match=r"float16 is for GPUs; on the CPU use float32"):
            Tensor(array)
    else:
        assert Tensor(array).data is array


def test_a_tensor_of_a_tensor_is_refused():
    with pytest.raises(TypeError, match=r"use tensor\.detach"):
        Tensor(Tensor([1.0]))


def test_attributes_and_repr():
    tensor = Tensor(np.array([[1.0, 2.5, -3.0]]))
    assert (tensor.shape, tensor.ndim, tensor.size, len(tensor)) == ((1, 3), 2, 3, 1)
    assert repr(tensor) == "Tensor([[ 1.   2.5 -3. ]])"
    assert repr((tensor * 2).sum()) == "Tensor(1., from sum)"
    assert Tensor([7.0]).item() == 7.0


def test_a_tensor_used_twice_receives_the_sum():
    a = leaf(3.0)
    b = a + a
    c = b * a  # 2 a^2
    c.backward()
    assert a.grad == [12.0]


def test_a_tensor_used_five_times_receives_the_sum():
    a = leaf(3.0)
    (a * a + a * a + a).backward()
    assert a.grad == [13.0]


def test_diamonds_wait_until_all_gradients_have_arrived():
    a, b = leaf(2.0), leaf(5.0)
    for _ in range(30):  # walked path by path, these diamonds would take 2^30 steps
        a, b = a + 0 * b, b
    x = leaf(1.0)
    y = x
    for _ in range(30):
        y = y * 0.5 + y * 0.5
    y.backward()
    assert x.grad == [1.0]


def test_a_long_and_a_short_way_to_the_same_tensor():
    a = leaf(2.0)
    short = a * 3
    long = ((a * 2) ** 2).exp().log()  # 4 a^2
    (short * long).backward()  # 12 a^3, derivative 36 a^2
    np.testing.assert_allclose(a.grad, [144.0])


def test_a_chain_of_ten_thousand_operations():
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.backward()
    assert y.data == [10_001.0]
    assert x.grad == [1.0]


def test_a_long_chain_that_nobody_differentiates_is_forgotten_without_a_crash():
    y = leaf(1.0)
    for _ in range(30_000):
        y = y + 1
    del y
    gc.collect()


def test_gradients_add_up_over_several_backward_passes():
    w = leaf(1.0, 2.0)
    (w * 3).sum().backward()
    (w * 4).sum().backward()
    np.testing.assert_array_equal(w.grad, [7, 7])
    w.grad = None
    (w * 5).sum().backward()
    np.testing.assert_array_equal(w.grad, [5, 5])


def test_only_leaves_that_ask_for_it_get_a_gradient():
    w, x = leaf(1.0, 2.0), Tensor(np.array([3.0, 4.0]))
    middle = w * x
    middle.sum().backward()
    np.testing.assert_array_equal(w.grad, [3, 4])
    assert x.grad is None
    assert middle.grad is None
    assert middle.operation == "multiply"


def test_leaves_never_share_a_gradient_array():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    given = np.array([1.0, 1.0])
    (a + b).backward(given)
    a.grad[0] = 99
    np.testing.assert_array_equal(b.grad, [1, 1])
    np.testing.assert_array_equal(given, [1, 1])
    lone = leaf(1.0, 2.0)
    lone.backward(given)
    lone.grad[0] = 99
    np.testing.assert_array_equal(given, [1, 1])


def test_the_gradient_given_is_not_changed_by_sums_along_the_way():
    a = leaf(1.0, 2.0)
    given = np.array([1.0, 1.0])
    b = a + 0
    (b + b + b).backward(given)
    np.testing.assert_array_equal(a.grad, [3, 3])
    np.testing.assert_array_equal(given, [1, 1])


def test_the_gradient_of_a_number_is_an_array_too():
    a = Tensor(np.array(2.0), requires_grad=True)
    (a * a).backward()
    assert isinstance(a.grad, np.ndarray)
    assert a.grad.shape == ()
    assert a.grad == 4


def test_a_float32_leaf_has_a_float32_gradient_next_to_a_float64_tensor():
    a = Tensor(np.ones(2, np.float32), requires_grad=True)
    (a * Tensor(np.ones(2))).sum().backward()
    assert a.grad.dtype == np.float32


def test_a_second_backward_is_a_clear_error():
    a = leaf(2.0)
    result = a * a
    result.backward()
    with pytest.raises(RuntimeError, match="its history is gone; compute it again"):
        result.backward()


def test_a_second_result_of_a_shared_history_is_a_clear_error():
    a = leaf(2.0)
    shared = a * a
    first, second = shared + 1, shared + 2
    first.backward()
    with pytest.raises(RuntimeError, match="its history is gone; compute it again"):
        second.backward()


def test_backward_without_history_is_a_clear_error():
    with pytest.raises(RuntimeError, match="no input of its computation requires a gradient"):
        (Tensor([1.0]) + 1).backward()


def test_backward_from_many_numbers_needs_a_gradient_of_their_shape():
    a = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"needs a single number, not the shape \(2,\)"):
        (a * 2).backward()
    with pytest.raises(ValueError, match=r"the gradient has the shape \(3,\), the tensor \(2,\)"):
        (a * 2).backward(np.ones(3))


def test_an_operation_with_a_gradient_of_the_wrong_shape_is_named():
    a = leaf(1.0, 2.0)
    wrong = Tensor.from_operation(a.data * 2, (a,), lambda grad: (grad.sum(),), "doubling")
    with pytest.raises(ValueError, match=r"doubling: .* shape \(\) for an input of shape \(2,\)"):
        wrong.backward(np.ones(2))


def test_no_grad_remembers_nothing_and_ends_with_its_block():
    a = leaf(1.0)
    with no_grad():
        assert not grad_enabled()
        assert not (a * 2).requires_grad
        with no_grad():
            pass
        assert not (a * 2).requires_grad
    assert (a * 2).requires_grad
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert grad_enabled()


def test_one_no_grad_may_be_entered_inside_itself():
    quiet = no_grad()
    with quiet, quiet:
        pass
    assert grad_enabled()


def test_no_grad_holds_for_its_own_thread_only():
    inside, go_on = threading.Event(), threading.Event()
    seen = {}

    def other():
        with no_grad():
            inside.set()
            go_on.wait(10)
            seen["other"] = (leaf(1.0) * 2).requires_grad

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    seen["here"] = (leaf(1.0) * 2).requires_grad
    go_on.set()
    thread.join(10)
    assert seen == {"here": True, "other": False}


def test_detach_cuts_the_history():
    a = leaf(3.0)
    (a * (a * 1).detach()).backward()
    assert a.grad == [3.0]


def test_backward_frees_what_lies_between():
    x = Tensor(np.ones(1000), requires_grad=True)
    middle = (x * 2).exp()
    result = middle.sum()
    array, tensor = weakref.ref(middle.data), weakref.ref(middle)
    del middle
    gc.disable()  # the memory must go at once, not when the collector passes by
    try:
        assert array() is not None
        result.backward()
        assert tensor() is None
        assert array() is None
    finally:
        gc.enable()


def test_memory_is_freed_while_backward_is_under_way():
    alive = []
    x = Tensor(np.ones(10), requires_grad=True)
    early = Tensor.from_operation(x.data + 0, (x,), lambda grad: alive.append(late_array()) or (grad,), "early")
    late = early.exp().exp()
    late_array = weakref.ref(late.data)
    result = late.sum()
    del late
    result.backward()
    assert alive == [None]


def test_threads_may_differentiate_side_by_side():
    results = {}

    def work(number):
        x = Tensor(np.full((2, 9, 9, 8), number, np.float32), requires_grad=True)
        weight = Tensor(np.ones((3, 3, 8, 4), np.float32), requires_grad=True)
        ops.conv2d(x, weight, padding=1).sum().backward()
        results[number] = weight.grad

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for number in range(2, 7):
        np.testing.assert_allclose(results[number], number * results[1], rtol=1e-5)
