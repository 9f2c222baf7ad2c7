"""Exercises of chapter 3: batch norm, leaky ReLU and vanishing gradients.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_03``, or call a
check by itself: ``check_fold()`` checks the function in this file, ``check_fold(my_function)`` any other.
"""

import numpy as np

from minidl import Tensor, nn, ops

# 1. Read --------------------------------------------------------------------------------------------------------------


def factor_per_layer(norm_at_first, norm_at_last, layers):
    """The gradient's norm is known at the output of the first and of the last of ``layers`` layers.

    Return the factor by which each layer between them multiplies it on its way back, if all factors are equal.
    """
    raise NotImplementedError


def check_factor_per_layer(function=factor_per_layer):
    for factor, layers in ((0.5, 2), (0.5, 11), (0.9, 40), (1.3, 20)):
        norms = 3.0 * factor ** (layers - 1), 3.0
        answer = function(*norms, layers)
        assert not np.isclose(answer, 1 / factor), (
            f"{answer:g}: upside down; the gradient runs from the last to the first"
        )
        too_many = np.isclose(answer, (norms[0] / norms[1]) ** (1 / layers))
        assert not too_many, f"{layers} outputs have only {layers - 1} step(s) between them"
        assert np.isclose(answer, factor), f"{layers} layers, norms {norms}: {answer:g}, it should be {factor}"
    print("factor_per_layer: right")


# 2. Leaky ReLU backwards ----------------------------------------------------------------------------------------------


def leaky_relu_grad(grad, x, slope):
    """The gradient of leaky ReLU with respect to its input x, where ``grad`` arrives at its output (arrays).

    At exactly 0 the derivative is ``slope``.
    """
    raise NotImplementedError


def check_leaky_relu_grad(function=leaky_relu_grad):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4))
    x[0, 0], x[1, 1] = 0, -2
    grad = rng.standard_normal(x.shape)
    for slope in (0.1, 0.0, 0.3):
        tensor = Tensor(x, requires_grad=True)
        ops.leaky_relu(tensor, slope).backward(grad)
        mine = np.asarray(function(grad.copy(), x.copy(), slope))
        assert mine.shape == x.shape, f"your result has the shape {mine.shape}, x has {x.shape}"
        assert not np.allclose(mine, np.where(x > 0, 1, slope)), "this is the derivative; multiply it by grad"
        by_sign_of_grad = np.where(grad > 0, grad, slope * grad)
        assert not np.allclose(mine, by_sign_of_grad), "the sign of x decides, not that of grad"
        assert np.isclose(mine[1, 1], slope * grad[1, 1]), f"at x = -2 the derivative is the slope, {slope}"
        assert np.isclose(mine[0, 0], slope * grad[0, 0]), f"at x = 0 the derivative is the slope, {slope}"
        wrong = np.argwhere(~np.isclose(mine, tensor.grad))
        assert not len(wrong), (
            f"slope {slope}: wrong where x is {x[tuple(wrong[0])]:.3g}, at {tuple(wrong[0].tolist())}"
        )
    print("leaky_relu_grad: right")


# 3. Batch norm forwards -----------------------------------------------------------------------------------------------


def batchnorm_forward(x, gamma, beta, epsilon=1e-5):
    """Batch norm of maps x (batch, height, width, channels) by their own statistics; gamma, beta: (channels,)."""
    raise NotImplementedError


def check_batchnorm_forward(function=batchnorm_forward):
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (2, 3, 4, 5))
    gamma, beta = rng.uniform(0.5, 2, 5), rng.standard_normal(5)
    mine = np.asarray(function(x.copy(), gamma, beta))
    assert mine.shape == x.shape, f"your result has the shape {mine.shape}, x has {x.shape}"
    right = ops.batchnorm(Tensor(x), Tensor(gamma), Tensor(beta))[0].data
    plain = (right - beta) / gamma
    assert not np.allclose(mine, plain), "normalised, but gamma and beta are missing"
    unbiased = gamma * plain * np.sqrt(23 / 24) + beta
    assert not np.allclose(mine, unbiased, rtol=1e-4), "the variance is divided by N - 1; divide by N here"
    per_picture = x - x.mean(axis=(1, 2), keepdims=True)
    per_picture = gamma * per_picture / np.sqrt(x.var(axis=(1, 2), keepdims=True) + 1e-5) + beta
    assert not np.allclose(mine, per_picture), "every picture is normalised by itself: include the batch axis"
    assert not np.allclose(mine, gamma * (x - x.mean((0, 1, 2))) / (x.var((0, 1, 2)) + 1e-5) + beta), (
        "divided by the variance: take its root"
    )
    assert np.allclose(mine, right, rtol=1e-4, atol=1e-4), (
        "the shape is right, the values are not: statistics over axes 0, 1, 2?"
    )
    flat = np.asarray(function(np.full((1, 2, 2, 1), 7.0), np.ones(1), np.zeros(1)))
    assert np.isfinite(flat).all(), "a channel of equal numbers gives nan or inf: you forgot epsilon"
    small = rng.normal(0, 3e-3, (2, 2, 2, 5))
    right = ops.batchnorm(Tensor(small), Tensor(gamma), Tensor(beta))[0].data
    mine = function(small.copy(), gamma, beta)
    assert np.allclose(mine, right), "off where the variance is tiny: epsilon belongs inside the root, sqrt(var + eps)"
    print("batchnorm_forward: right")


# 4. Batch norm backwards ----------------------------------------------------------------------------------------------


def batchnorm_grad(grad, x, gamma, epsilon=1e-5):
    """The gradient of batch norm with respect to x (N, channels), in training; ``grad`` (N, channels) arrives."""
    raise NotImplementedError


def check_batchnorm_grad(function=batchnorm_grad):
    rng = np.random.default_rng(0)
    for shape in ((4, 2), (7, 3)):
        x, grad, gamma = rng.normal(2, 3, shape), rng.standard_normal(shape), rng.uniform(0.5, 2, shape[1])
        tensor = Tensor(x, requires_grad=True)
        ops.batchnorm(tensor, Tensor(gamma), Tensor(np.zeros(shape[1])))[0].backward(grad)
        mine = np.asarray(function(grad.copy(), x.copy(), gamma))
        assert mine.shape == shape, f"your result has the shape {mine.shape}, x has {shape}"
        scale = gamma / np.sqrt(x.var(0) + 1e-5)
        assert not np.allclose(mine, scale * grad), "this is only the direct way: mean and variance depend on x too"
        half = scale * (grad - grad.mean(0))
        assert not np.allclose(mine, half), "the way through the variance is missing"
        assert not np.allclose(mine * gamma, tensor.grad), "gamma is missing"
        assert np.allclose(mine.sum(0), 0, atol=1e-9), "each column must sum to 0: is the way through the mean right?"
        assert np.allclose(mine, tensor.grad), (
            "columns sum to 0, so the mean is right; look at the way through the variance"
        )
    print("batchnorm_grad: right")


# 5. Running statistics ------------------------------------------------------------------------------------------------


def steps_to_forget(momentum, share):
    """After how many training steps is at most ``share`` of the running statistics' start left?  A whole number."""
    raise NotImplementedError


def check_steps_to_forget(function=steps_to_forget):
    for momentum, share in ((0.1, 0.5), (0.1, 0.01), (0.01, 0.01), (0.5, 0.25)):
        answer = function(momentum, share)
        assert answer == int(answer), f"{answer}: a whole number of steps, please"
        layer, steps = nn.BatchNorm(1, momentum), 0
        layer.running_mean.data = np.ones(1)
        zeros = Tensor(np.zeros((2, 1)))
        while layer.running_mean.data[0] > share * (1 + 1e-9):
            layer(zeros)
            steps += 1
        assert answer >= steps, f"momentum {momentum}: after {answer} steps more than {share} is left"
        assert answer == steps, f"momentum {momentum}, share {share}: {steps} steps suffice, you say {answer}"
    print("steps_to_forget: right")


# 6. Build -------------------------------------------------------------------------------------------------------------


def fold(weight, bias, norm):
    """Fold a batch norm, in evaluation mode, into the convolution in front of it, which has a bias here.

    weight (size, size, inputs, outputs) and bias (outputs,) are arrays; norm is a ``nn.BatchNorm`` with ``gamma.data``,
    ``beta.data``, ``running_mean.data`` and ``running_variance.data``.  Epsilon is 1e-5.  Return the new
    ``(weight, bias)``.
    """
    raise NotImplementedError


def check_fold(function=fold):
    rng = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal((2, 5, 5, 3)), rng.standard_normal((3, 3, 3, 4)), rng.standard_normal(4)
    norm = nn.BatchNorm(4).eval()
    norm.gamma.data, norm.beta.data = rng.uniform(0.5, 2, 4), rng.standard_normal(4)
    norm.running_mean.data, norm.running_variance.data = rng.standard_normal(4), rng.uniform(0.5, 3, 4)
    given = weight.copy(), bias.copy()
    new_weight, new_bias = function(*given, norm)
    assert np.shape(new_weight) == weight.shape, f"the weight has the shape {np.shape(new_weight)}, not {weight.shape}"
    assert np.shape(new_bias) == (4,), f"the bias has the shape {np.shape(new_bias)}, not (4,)"
    unchanged = np.array_equal(given[0], weight) and np.array_equal(given[1], bias)
    assert unchanged, "the arrays that you were given have changed: make new ones"
    wanted = norm(ops.conv2d(Tensor(x), Tensor(weight), Tensor(bias), padding=1)).data
    got = ops.conv2d(Tensor(x), Tensor(np.asarray(new_weight)), Tensor(np.asarray(new_bias)), padding=1).data
    difference = got - wanted
    constant = np.allclose(difference, difference.mean(axis=(0, 1, 2)))
    if constant and not np.allclose(difference, 0):
        factor = norm.gamma.data / np.sqrt(norm.running_variance.data + 1e-5)
        forgot = np.allclose(difference, -bias * factor)
        assert not forgot, "the convolution's own bias got lost: it is normalised, too"
        unscaled = np.allclose(difference, bias * (1 - factor))
        assert not unscaled, "the convolution's own bias passes through the norm: multiply it by the factor as well"
        raise AssertionError("the weight is right, the bias is not: subtract the running mean, times the factor")
    assert np.allclose(got, wanted), "the weight is not right: multiply by gamma / sqrt(variance + 1e-5), per output"
    print("fold: right")
