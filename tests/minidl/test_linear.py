"""Matrix products and the fully connected layer."""

import numpy as np
import pytest

from minidl import Tensor, nn, ops
from tests.minidl import naive
from tests.minidl.harness import check_operation, numbers


@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [((2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 1)), ((4, 1, 2, 3), (2, 3, 2))],
)
def test_matmul(shape_a, shape_b, device):
    def products(a, b):
        leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = np.broadcast_to(a, (*leading, *a.shape[-2:])), np.broadcast_to(b, (*leading, *b.shape[-2:]))
        return np.einsum("...ij,...jk->...ik", a, b)

    check_operation(ops.matmul, [numbers(*shape_a), numbers(*shape_b, seed=2)], products, device)


def test_linear(device):
    inputs = [numbers(5, 3), numbers(3, 4, seed=1), numbers(4, seed=2)]
    check_operation(ops.linear, inputs, naive.linear, device)
    check_operation(lambda x, w: ops.linear(x, w), inputs[:2], lambda x, w: naive.linear(x, w, np.zeros(4)), device)


def test_layer_uses_its_weight_and_bias():
    layer = nn.Linear(3, 2, rng=np.random.default_rng(0))
    layer.bias.data[...] = [1, -1]
    x = numbers(4, 3).astype(np.float32)
    np.testing.assert_allclose(layer(Tensor(x)).data, naive.linear(x, layer.weight.data, layer.bias.data), rtol=1e-5)


@pytest.mark.parametrize(("shape_a", "shape_b"), [((3,), (3, 4)), ((2, 3), (3,))])
def test_vectors_are_refused(shape_a, shape_b):
    with pytest.raises(ValueError, match="matmul needs matrices"):
        Tensor(np.ones(shape_a)) @ Tensor(np.ones(shape_b))


def test_wrong_number_of_features_is_refused():
    with pytest.raises(ValueError, match=r"linear: .* \(5, 1\) needs an input \(batch, 5 features\), not \(2, 3\)"):
        ops.linear(Tensor(np.ones((2, 3))), Tensor(np.ones((5, 1))))
