"""Exercises of chapter 10: classes.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_10``, or call a
check by itself: ``check_bce()`` checks the function in this file, ``check_bce(my_function)`` any other.
"""

import warnings

import numpy as np

from minidl import Tensor, ops

# 1. Predict -----------------------------------------------------------------------------------------------------------


def most_labels_above(threshold):
    """How many of 80 softmax probabilities can exceed ``threshold`` (a number from 0.1 to 1) at the same time?"""
    raise NotImplementedError


def check_most_labels_above(function=most_labels_above):
    for threshold, right in ((0.5, 1), (0.4, 2), (0.3, 3), (0.9, 1), (0.26, 3), (0.25, 3), (0.2, 4), (1.0, 0)):
        mine = function(threshold)
        too_many = mine * threshold >= 1 and mine > 0
        assert not too_many, f"threshold {threshold}: {mine} probabilities above it would add up to more than 1"
        assert mine == right, f"threshold {threshold}: {mine}, but {right} of them fit under a sum of 1"
    print("most_labels_above: right")


# 2. Softmax -----------------------------------------------------------------------------------------------------------


def softmax(z):
    """Shares of 1 from the logits ``z`` (count, classes), along the last axis; finite for logits of +-1000."""
    raise NotImplementedError


def check_softmax(function=softmax):
    rng = np.random.default_rng(0)
    for name, z in (("small logits", rng.normal(0, 2, (4, 3))), ("logits of 1000", rng.normal(0, 1, (2, 5)) + 1000.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mine = np.asarray(function(z.copy()))
        right = ops.softmax(Tensor(z)).data
        assert mine.shape == z.shape, f"{name}: the result has the shape {mine.shape}, the logits {z.shape}"
        assert np.isfinite(mine).all(), f"{name}: NaN or infinite: subtract each row's largest logit first"
        whole = np.isclose(mine.sum(), 1)
        assert not whole, f"{name}: all rows together have the sum 1; each row should: sum along the last axis"
        assert np.allclose(mine.sum(axis=-1), 1), f"{name}: the rows' sums are {mine.sum(axis=-1)}, not 1"
        assert np.allclose(mine, right), f"{name}: sums are right, the shares are not"
    print("softmax: right")


# 3. Binary cross-entropy ----------------------------------------------------------------------------------------------


def bce(z, y):
    """Binary cross-entropy of each logit ``z`` with its target ``y`` (arrays of one shape): an array, no sum.

    Finite for logits of +-1000.
    """
    raise NotImplementedError


def check_bce(function=bce):
    z = np.array([0.0, 2.0, -3.0, 0.7, 1000.0, -1000.0, 1000.0])
    y = np.array([1.0, 0.0, 0.0, 0.25, 1.0, 1.0, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = np.asarray(function(z.copy(), y.copy()))
    right = np.array([ops.bce_with_logits(Tensor(a[None]), b[None]).item() for a, b in zip(z, y, strict=True)])
    assert mine.shape == z.shape, f"one loss for each logit, shape {z.shape}; yours is {mine.shape}"
    assert not np.allclose(mine[:4], -right[:4]), "the minus sign is missing: your losses are negative"
    for i in range(len(z)):
        case = f"z = {z[i]:g}, y = {y[i]:g}"
        assert np.isfinite(mine[i]), f"{case}: {mine[i]}; use max(z, 0) - z y + log(1 + e^-|z|)"
        assert np.isclose(mine[i], right[i]), f"{case}: {mine[i]:g}, it should be {right[i]:g}"
    print("bce: right")


# 4. Its gradient ------------------------------------------------------------------------------------------------------


def bce_gradient(z, y, weights):
    """The gradient of ``sum(weights * bce(z, y))`` with respect to the logits ``z``; arrays of one shape."""
    raise NotImplementedError


def check_bce_gradient(function=bce_gradient):
    rng = np.random.default_rng(1)
    z, y, weights = rng.normal(0, 2, (3, 4)), rng.integers(0, 2, (3, 4)).astype(float), rng.uniform(0.5, 2, (3, 4))
    logits = Tensor(z, requires_grad=True)
    ops.bce_with_logits(logits, y, weights).backward()
    mine, right = np.asarray(function(z.copy(), y.copy(), weights.copy())), logits.grad
    assert mine.shape == z.shape, f"one gradient for each logit, shape {z.shape}; yours is {mine.shape}"
    assert not np.allclose(mine, -right), "the sign is wrong: p - y, not y - p"
    assert not np.allclose(mine, right / weights), "the weights are missing"
    p = 1 / (1 + np.exp(-z))
    assert not np.allclose(mine, right * p * (1 - p)), (
        "no factor p (1 - p): it cancels against the logarithm's derivative"
    )
    assert not np.allclose(mine, weights * (z - y)), "p is the sigmoid of z, not z itself"
    mean = np.allclose(mine * z.size, right)
    assert not mean, "the loss is a sum, not a mean: do not divide by the number of logits"
    if not np.allclose(mine, right):
        row, column = np.argwhere(~np.isclose(mine, right))[0]
        wanted = f"{mine[row, column]:g}, it should be {right[row, column]:g}"
        raise AssertionError(f"off at row {row}, column {column}: {wanted}, the weight times (sigmoid(z) - y)")
    print("bce_gradient: right")


# 5. Targets -----------------------------------------------------------------------------------------------------------


def binary_targets(rows, objects, classes):
    """Targets (objects, classes) of 0 and 1 from ``rows``, pairs (object, label); an object may have several labels."""
    raise NotImplementedError


def check_binary_targets(function=binary_targets):
    rows = [(0, 2), (1, 0), (0, 4), (2, 1), (1, 0)]  # object 0 has two labels; a row stands twice; object 3 has none
    mine = np.asarray(function(list(rows), 4, 5), float)
    assert mine.shape == (4, 5), f"the shape should be (objects, classes) = (4, 5), not {mine.shape}"
    assert mine[0, 2] == 1, "object 0 lost its label 2: a later label must not erase an earlier one"
    assert mine.max() == 1, "a row that stands twice makes a target of 1 still, not 2"
    assert not mine[3].any(), "object 3 has no label: all zeros"
    right = np.zeros((4, 5))
    for each in rows:
        right[each] = 1
    assert np.array_equal(mine, right), f"wrong at (object, label) {np.argwhere(mine != right)[0]}"
    print("binary_targets: right")
