"""Exercises of chapter 1: tensors and autograd.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_01``, or call a
check by itself: ``check_tanh()`` checks the function in this file, ``check_tanh(my_function)`` any other.
"""

import numpy as np

from minidl import Tensor, optim
from minidl import ops as library
from minidl.gradcheck import GradientError, gradcheck
from minidl.ops.arithmetic import unbroadcast as library_unbroadcast

# 1. Read --------------------------------------------------------------------------------------------------------------


def picture_batch_shape():
    """Eight colour photographs, 640 pixels wide and 480 high, in one array, laid out as everywhere in this project.

    Return its shape, a tuple of four numbers.
    """
    raise NotImplementedError


def check_picture_batch_shape(function=picture_batch_shape):
    answer = tuple(function())
    assert len(answer) == 4, f"a batch of pictures has 4 axes, your shape {answer} has {len(answer)}"
    assert sorted(answer) == [3, 8, 480, 640], f"{answer}: the numbers should be 8, 480, 640 and 3, in some order"
    assert answer[0] == 8, f"{answer}: the first axis counts the pictures"
    assert answer[3] == 3, f"{answer}: channels last, please: the last axis counts the 3 colours"
    assert answer[1] == 480, f"{answer}: the height, the number of rows, comes before the width"
    print("picture_batch_shape: right")


# 2. The chain rule on paper -------------------------------------------------------------------------------------------


def three_gradients(a, b, c):
    """The gradients of ``y = a * b + a * c ** 2`` for plain numbers a, b, c.

    Return ``(dy/da, dy/db, dy/dc)``, from formulas that you worked out on paper: no tensors, no nudging.
    """
    raise NotImplementedError


def check_three_gradients(function=three_gradients):
    rng = np.random.default_rng(0)
    for values in ((2.0, -3.0, 10.0), *rng.uniform(-2, 2, (5, 3)).tolist()):
        a, b, c = (Tensor(np.float64(value), requires_grad=True) for value in values)
        (a * b + a * c**2).backward()
        answer = function(*values)
        assert isinstance(answer, tuple | list), f"return a tuple (dy/da, dy/db, dy/dc), not {answer!r}"
        assert len(answer) == 3, f"return three gradients, for a, b and c; you returned {len(answer)}"
        for name, mine, tensor in zip("abc", answer, (a, b, c), strict=True):
            right = float(tensor.grad)
            assert not np.isclose(mine, -right) or np.isclose(mine, right), f"dy/d{name} has the wrong sign"
            if name == "a" and not np.isclose(mine, right):
                only = np.isclose(mine, values[1]) or np.isclose(mine, values[2] ** 2)
                assert not only, "dy/da: a is used twice, so two terms must be added"
            assert np.isclose(mine, right), f"dy/d{name} at (a, b, c) = {values}: {mine:g}, it should be {right:g}"
    print("three_gradients: right")


# 3. A new operation ---------------------------------------------------------------------------------------------------


def tanh(x):
    """The hyperbolic tangent as a differentiable operation: x is a Tensor of any shape, and so is the result.

    ``np.tanh`` computes the values.  If ``y = tanh(x)``, its derivative is ``1 - y ** 2``.  End with
    ``return Tensor.from_operation(values, (x,), backward, "tanh")``, where ``backward(grad)`` takes the gradient of y
    and returns a tuple with one array: the gradient of x.
    """
    raise NotImplementedError


def check_tanh(function=tanh):
    x = np.array([[-1.5, -0.2, 0.0], [0.3, 0.9, 2.0]])
    y = function(Tensor(x, requires_grad=True))
    assert isinstance(y, Tensor), f"return a Tensor, not a {type(y).__name__}"
    assert y.shape == x.shape, f"the result has the shape {y.shape}, the input {x.shape}"
    assert np.allclose(y.data, np.tanh(x)), "the forward values are not np.tanh(x.data)"
    assert y._backward is not None, "the result has no history: make it with Tensor.from_operation"
    arriving = np.full(x.shape, 3.0)
    given = y._backward(arriving)
    assert isinstance(given, tuple | list), "backward must return a tuple with one array, (gradient,)"
    assert len(given) == 1, f"backward must return one gradient, for the one parent, not {len(given)}"
    slope = 1 - np.tanh(x) ** 2
    assert not np.allclose(given[0], slope), "backward forgot to multiply the derivative by grad (chain rule)"
    assert not np.allclose(given[0], 3 * (1 - x**2)), "the derivative is 1 - y ** 2 with the output y, not the input"
    assert np.allclose(given[0], 3 * slope), "backward(grad) is not grad * (1 - y ** 2)"
    assert np.array_equal(arriving, np.full(x.shape, 3.0)), "backward changed the array that it was given"
    try:
        gradcheck(function, x)
    except GradientError as error:
        raise AssertionError(f"finite differences disagree: {error}") from error
    assert y.operation == "tanh", f"the operation is called {y.operation!r}, not 'tanh'"
    print("tanh: right")


# 4. Broadcasting undone -----------------------------------------------------------------------------------------------


def unbroadcast(grad, shape):
    """Sum the array ``grad`` back to ``shape``, from which it was stretched by broadcasting.

    Axes are compared from the last one.  Sum over the axes that ``shape`` lacks, and over those where it has a 1; the
    result has exactly the shape ``shape``.
    """
    raise NotImplementedError


def check_unbroadcast(function=unbroadcast):
    grad = np.random.default_rng(0).standard_normal((2, 3, 4))
    cases = ((2, 3, 4), (4,), (3, 4), (1, 4), (3, 1), (2, 1, 4), (1, 1, 1), (1,), ())
    for shape in cases:
        right, mine = library_unbroadcast(grad, shape), np.asarray(function(grad.copy(), shape))
        assert mine.shape == shape, f"from (2, 3, 4) to {shape}: your result has the shape {mine.shape}"
        count = grad.size // max(1, right.size)
        averaged = count > 1 and np.allclose(mine * count, right)
        assert not averaged, f"from (2, 3, 4) to {shape}: you took the mean; every use counts, so sum"
        assert np.allclose(mine, right), f"from (2, 3, 4) to {shape}: the shape is right, the values are not"
    print("unbroadcast: right")


# 5. Topological order -------------------------------------------------------------------------------------------------


def parents_first(result):
    """Every tensor behind ``result`` and ``result`` itself, as a list, each once, and behind all of its parents.

    ``tensor._parents`` are a tensor's parents.  You may call a function from within itself: the graphs here are small.
    """
    raise NotImplementedError


def check_parents_first(function=parents_first):
    a, b = Tensor(1.0, requires_grad=True), Tensor(2.0, requires_grad=True)
    twice = a + a
    early = a * b
    late = library.exp(early)
    graphs = {"a leaf": a, "b = a + a; c = b + b": twice + twice, "a diamond": late * early + b}
    for name, result in graphs.items():
        order = list(function(result))
        everything = _history(result)
        assert len({id(each) for each in order}) == len(order), f"{name}: a tensor stands in the list more than once"
        missing = [each for each in everything if each not in order]
        assert not missing, f"{name}: {len(missing)} tensor(s) missing, such as one made by {missing[0].operation!r}"
        assert len(order) == len(everything), f"{name}: the list holds tensors that are not behind the result"
        for place, tensor in enumerate(order):
            for parent in tensor._parents:
                assert parent in order[:place], (
                    f"{name}: place {place} holds a tensor made by {tensor.operation!r}, but its parent made by "
                    f"{parent.operation!r} comes only later"
                )
    print("parents_first: right")


def _history(result):
    found, waiting = [], [result]
    while waiting:
        tensor = waiting.pop()
        if tensor not in found:
            found.append(tensor)
            waiting.extend(tensor._parents)
    return found


# 6. Momentum ----------------------------------------------------------------------------------------------------------


def momentum_step(weight, grad, velocity, rate, momentum):
    """One step of gradient descent with momentum, for arrays of one shape.

    ``v <- momentum * v + grad``, then ``w <- w - rate * v``.  Return the new ``(weight, velocity)``; leave the arrays
    that you were given as they are.
    """
    raise NotImplementedError


def check_momentum_step(function=momentum_step):
    rng = np.random.default_rng(0)
    parameter = Tensor(rng.standard_normal(4), requires_grad=True)
    optimizer = optim.SGD([parameter], learning_rate=0.1, momentum=0.9)
    weight, velocity = parameter.data.copy(), np.zeros(4)
    for step in range(1, 6):
        parameter.grad = rng.standard_normal(4)
        given, old = (weight.copy(), parameter.grad.copy(), velocity.copy()), weight
        optimizer.step()
        answer = function(*given, 0.1, 0.9)
        assert isinstance(answer, tuple | list), "return two arrays, the new weight and the new velocity"
        assert len(answer) == 2, f"return two arrays, the new weight and the new velocity, not {len(answer)}"
        weight, velocity = answer
        assert np.shape(weight) == (4,), f"the new weight has the shape {np.shape(weight)}, not (4,)"
        assert np.array_equal(given[0], old), "the weight array that you were given has changed: make a new one"
        uphill = np.allclose(weight - old, old - parameter.data)
        assert not uphill, f"step {step} goes uphill: subtract rate * velocity"
        hint = "; the steps before agreed: is the second result the new velocity?" if step > 1 else ""
        assert np.allclose(weight, parameter.data), f"the weight is off after step {step}{hint}"
        assert np.shape(velocity) == (4,), "return the new velocity as the second result"
    print("momentum_step: right")
