"""Shortcuts between maps of equal and of different sizes."""

import json

import numpy as np
import pytest

from minidl import Tensor, ops
from minidl.device import to_cpu, to_device
from tests.minidl import naive
from tests.minidl.harness import check_operation, numbers

PAIRS = [  # shape of x, shape of the source
    ((2, 5, 7, 3), (2, 5, 7, 3)),
    ((2, 3, 4, 6), (2, 6, 8, 3)),  # a residual network's stride: half the pixels, twice the channels
    ((1, 2, 2, 3), (1, 5, 5, 5)),  # whole ratio 2, the last row and column left over
    ((2, 6, 9, 2), (2, 2, 3, 4)),  # the source is smaller
    ((1, 4, 4, 3), (1, 5, 5, 2)),  # ratio 1, though sizes differ
    ((1, 5, 7, 1), (1, 4, 5, 1)),
]


@pytest.mark.parametrize(("shape", "source_shape"), PAIRS, ids=str)
def test_shortcut(shape, source_shape, device):
    check_operation(ops.shortcut, [numbers(*shape), numbers(*source_shape, seed=1)], naive.shortcut, device)


def iota(*shape, first=0):
    """Numbers in a row in the original's order, channels first; given channels last."""
    channels_first = first + np.arange(np.prod(shape), dtype=float).reshape(shape)
    return channels_first.transpose(1, 2, 0)[None]


@pytest.mark.parametrize(
    ("key", "x", "source"),
    [
        ("shortcut_add_iota_2x4x4_to_100plus_3x2x2", iota(3, 2, 2, first=100), iota(2, 4, 4)),
        ("shortcut_reverse_3x2x2_into_2x4x4", np.zeros((1, 4, 4, 2)), iota(3, 2, 2, first=1)),
    ],
)
def test_golden_numbers_of_the_original(golden, key, x, source):
    wanted = json.loads((golden / "functions.json").read_text())[key]
    y = ops.shortcut(Tensor(x), Tensor(source))
    np.testing.assert_array_equal(y.data[0].transpose(2, 0, 1).ravel(), wanted)


def test_the_same_tensor_twice(device):
    x = Tensor(to_device(np.ones((1, 2, 2, 1)), device), requires_grad=True)
    ops.shortcut(x, x).backward(to_device(np.arange(4.0).reshape(1, 2, 2, 1), device))
    np.testing.assert_array_equal(to_cpu(x.grad).ravel(), [0, 2, 4, 6])


@pytest.mark.parametrize("source_shape", [(1, 4, 8, 2), (2, 4, 4, 2)])
def test_other_proportions_and_batches_are_refused(source_shape):
    with pytest.raises(ValueError, match="batch or proportions differ"):
        ops.shortcut(Tensor(np.ones((1, 4, 4, 2))), Tensor(np.ones(source_shape)))
