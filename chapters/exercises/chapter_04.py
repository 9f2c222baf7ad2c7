"""Exercises of chapter 4: residual blocks.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_04``, or call a
check by itself: ``check_residual()`` checks the function in this file, ``check_residual(my_function)`` any other.
"""

import numpy as np

from minidl import Tensor, ops
from yolov3.blocks import ConvBlock, ResidualBlock

# 1. Read --------------------------------------------------------------------------------------------------------------


def layers_with_weights(blocks_per_stage):
    """The networks of section 4.1: a convolution, 3 stages of blocks with 2 convolutions each, a linear layer.

    Return how many layers with weights they have, all together.
    """
    raise NotImplementedError


def check_layers_with_weights(function=layers_with_weights):
    for blocks, right in ((1, 8), (3, 20), (9, 56)):
        answer = function(blocks)
        assert answer != 6 * blocks, f"{blocks} blocks a stage: you left out the first convolution and the linear layer"
        assert answer != 3 * blocks + 2, f"{blocks} blocks a stage: a block has two convolutions"
        assert answer != 2 * blocks + 2, f"{blocks} blocks a stage: there are three stages"
        assert answer == right, f"{blocks} blocks a stage: {right} layers, you say {answer}"
    print("layers_with_weights: right")


# 2. Tell apart --------------------------------------------------------------------------------------------------------


def diagnosis(small, deep):
    """Why is the deep network's test error what it is?  Each argument: (training error, test error), a tuple.

    Return "better" if the deep network's test error is at most that of the small one; otherwise "degradation" if its
    training error is higher too, or "overfitting" if it is not.
    """
    raise NotImplementedError


def check_diagnosis(function=diagnosis):
    cases = (
        ((0.10, 0.20), (0.15, 0.25), "degradation", "both errors rose"),
        ((0.10, 0.20), (0.01, 0.30), "overfitting", "the training error fell, the test error rose"),
        ((0.10, 0.20), (0.05, 0.15), "better", "the test error fell"),
        ((0.10, 0.20), (0.12, 0.18), "better", "the test error fell, whatever the training error did"),
        ((0.10, 0.20), (0.10, 0.25), "overfitting", "the training error is no higher, the test error is"),
    )
    for small, deep, right, why in cases:
        answer = function(small, deep)
        assert answer == right, f"small {small}, deep {deep}: {why}, so {right!r}, not {answer!r}"
    print("diagnosis: right")


# 3. The chain rule ----------------------------------------------------------------------------------------------------


def residual_gradient(slopes):
    """The derivative of a chain of residual blocks ``x + g(x)``, where the derivative of each g is a number.

    slopes: those numbers, a list that may be empty.  Return one number.
    """
    raise NotImplementedError


def check_residual_gradient(function=residual_gradient):
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 20, 0):
        slopes = rng.uniform(-0.5, 0.5, count).tolist()
        start = y = Tensor(np.float64(1.0), requires_grad=True)
        for slope in slopes:
            y = y + y * slope
        y.backward()
        right, answer = float(start.grad), function(slopes)
        if count:
            assert not np.isclose(answer, np.prod(slopes)), "this is the plain chain: where is the skip connection?"
        if count > 1:
            assert not np.isclose(answer, 1 + np.prod(slopes)), "each block has its own skip, not the chain as a whole"
            assert not np.isclose(answer, 1 + np.sum(slopes)), "paths through several blocks are missing: multiply"
        assert np.isclose(answer, right), f"{count} blocks: {answer:g}, it should be {right:g}"
    print("residual_gradient: right")


# 4. Do nothing --------------------------------------------------------------------------------------------------------


def identity_kernel(size, channels):
    """The weight (size, size, channels, channels) of a convolution that returns its input; size is odd.

    The convolution has stride 1 and ``size // 2`` zeros around.
    """
    raise NotImplementedError


def check_identity_kernel(function=identity_kernel):
    rng = np.random.default_rng(0)
    for size, channels in ((3, 4), (1, 2), (5, 3)):
        weight = np.asarray(function(size, channels), float)
        shape = (size, size, channels, channels)
        assert weight.shape == shape, f"the weight has the shape {weight.shape}, not {shape}"
        x = rng.standard_normal((1, 7, 7, channels))
        y = ops.conv2d(Tensor(x), Tensor(weight), padding=size // 2).data
        summed = np.allclose(y, x.sum(axis=-1, keepdims=True))
        assert not summed, "every output sums all channels: output c should take channel c alone"
        shifted = any(
            np.allclose(y[:, 2:5, 2:5], x[:, 2 + down : 5 + down, 2 + right : 5 + right])
            for down in (-2, -1, 0, 1, 2)
            for right in (-2, -1, 0, 1, 2)
            if down or right
        )
        assert not shifted, f"size {size}: the map is shifted: the 1 belongs into the middle of the window"
        assert np.allclose(y, x), f"size {size}, {channels} channels: the output is not the input"
    print("identity_kernel: right")


# 5. Build -------------------------------------------------------------------------------------------------------------


def residual(layers, x):
    """A residual block around any layers: ``layers`` is a list of functions from Tensor to Tensor; x is a Tensor.

    Run x through the layers, one after the other, and add the skip connection.  Where the result of the layers has
    another shape than x, raise a ValueError.
    """
    raise NotImplementedError


def check_residual(function=residual):
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((2, 6, 6, 8)).astype(np.float32), requires_grad=True)
    toy = function([lambda x: 2 * x, lambda x: x + 1], Tensor([10.0])).data.tolist()
    assert toy == [31.0], f"the layers 2 x and x + 1 turn 10 into 20, then 21; plus 10 is 31, you have {toy[0]:g}"
    block = ResidualBlock(8, rng=rng)
    y, before = function([block.reduce, block.expand], x), x.data.copy()
    assert isinstance(y, Tensor), f"return a Tensor, not a {type(y).__name__}"
    without = block.expand(block.reduce(x)).data
    assert not np.allclose(y.data, without), "the output of the layers alone: x is not added"
    assert np.allclose(y.data, block(x).data), "not x + g(x): does each layer get what the one before it returned?"
    y.backward(np.ones(y.shape, np.float32))
    assert x.grad is not None, "no gradient reaches x: use tensors, not their .data"
    assert np.array_equal(x.data, before), "x itself has changed: add into a new tensor"
    assert np.array_equal(function([], x).data, 2 * x.data), "with no layers g(x) is x, so the result is x + x"
    for layer in (ConvBlock(8, 8, 3, stride=2, rng=rng), lambda x: x.sum(axis=3, keepdims=True)):
        try:
            function([layer], x)
        except ValueError:
            continue
        raise AssertionError("the layers change the shape: raise a ValueError (broadcasting would add silently)")
    print("residual: right")


# 6. Step aside --------------------------------------------------------------------------------------------------------


def make_identity(block):
    """Make a trained ``yolov3.blocks.ResidualBlock`` the identity, in training and in evaluation mode.

    Change no more than 2 numbers for each output channel, and nothing inside ``block.reduce``.
    """
    raise NotImplementedError


def check_make_identity(function=make_identity):
    rng = np.random.default_rng(0)
    block = ResidualBlock(8, rng=rng)
    for _, parameter in block.named_parameters():
        parameter.data = parameter.data + 0.3 * rng.standard_normal(parameter.shape).astype(np.float32)
    x = Tensor(rng.standard_normal((2, 5, 5, 8)).astype(np.float32))
    before = {name: parameter.data.copy() for name, parameter in block.named_parameters()}
    function(block)
    changed = {name: int((parameter.data != before[name]).sum()) for name, parameter in block.named_parameters()}
    inside = [name for name, count in changed.items() if count and name.startswith("reduce")]
    assert not inside, f"you changed {inside[0]}, which lies inside block.reduce"
    total = sum(changed.values())
    assert total <= 16, f"you changed {total} numbers; 16 suffice: which layer has the last word?"
    for mode in (block.train, block.eval):
        difference = mode()(x).data - x.data
        constant = np.allclose(difference, difference[0, 0, 0]) and not np.allclose(difference, 0)
        assert not constant, "each channel is still shifted by a constant (slightly): what about beta?"
        name = mode.__name__
        assert np.array_equal(difference, np.zeros_like(difference)), (
            f"after block.{name}() the output is not the input"
        )
    print("make_identity: right")
