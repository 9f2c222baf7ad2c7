"""The two building blocks: what they compute, and that a skip connection passes its gradient on undiminished."""

import numpy as np
import pytest

from minidl import Tensor, nn
from minidl.gradcheck import gradcheck
from yolov3.blocks import ConvBlock, DarknetNetwork, ResidualBlock


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def residual_block(channels=4):
    return ResidualBlock(channels, np.random.default_rng(1)).astype(np.float64)


def test_conv_block_by_hand():
    # 1x1 with weight 2 on (1, 3, -5, 9): (2, 6, -10, 18), mean 4, variance (4 + 4 + 196 + 196) / 4 = 100.
    block = ConvBlock(1, 1, 1).astype(np.float64)
    block.conv.weight.data[:] = 2
    block.norm.gamma.data[:], block.norm.beta.data[:] = 10, 1
    x = Tensor(np.array([1.0, 3.0, -5.0, 9.0]).reshape(1, 2, 2, 1))
    wanted = [-0.1, 3, -1.3, 15]  # 1 + (-2, 2, -14, 14), then a tenth of what is negative
    np.testing.assert_allclose(block(x).data.reshape(-1), wanted, rtol=1e-6)


@pytest.mark.parametrize(("size", "stride", "shape"), [(1, 1, (5, 7)), (3, 1, (5, 7)), (3, 2, (3, 4))])
def test_conv_block_shapes(size, stride, shape):
    block = ConvBlock(3, 6, size, stride)
    assert block.conv.bias is None  # the batch norm would take it out again
    assert block(Tensor(numbers(2, 5, 7, 3))).shape == (2, *shape, 6)


def test_residual_block_without_a_branch_is_the_identity():
    block = residual_block()
    block.expand.norm.gamma.data[:] = 0
    x = numbers(2, 3, 5, 4)
    np.testing.assert_array_equal(block(Tensor(x)).data, x)


def test_residual_block_adds_its_branch_to_its_input():
    block, x = residual_block(), Tensor(numbers(2, 3, 5, 4))
    assert block.reduce.conv.weight.shape == (1, 1, 4, 2)
    assert block.expand.conv.weight.shape == (3, 3, 2, 4)
    np.testing.assert_array_equal(block(x).data, x.data + block.expand(block.reduce(x)).data)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_a_residual_block(training):
    # The original's 1x1 convolution overwrites the gradient that came through the skip connection (spec 3.1).
    block = residual_block()
    block.train() if training else block.eval()
    gradcheck(lambda x, *_: block(x), numbers(2, 3, 5, 4, seed=3), *block.parameters())


def test_the_skip_gradient_is_added_to_that_of_the_branch():
    block, values, cotangent = residual_block(), numbers(2, 3, 5, 4), numbers(2, 3, 5, 4, seed=2)
    x, branch_x = Tensor(values, requires_grad=True), Tensor(values, requires_grad=True)
    block(x).backward(cotangent)
    block.expand(block.reduce(branch_x)).backward(cotangent)
    np.testing.assert_allclose(x.grad, cotangent + branch_x.grad, rtol=1e-12)


def test_the_skip_gradient_crosses_many_blocks_undiminished():
    blocks = nn.Sequential(*(residual_block() for _ in range(30)))
    for block in blocks.layers:
        block.expand.norm.gamma.data[:] = 0
    x, cotangent = Tensor(numbers(2, 3, 5, 4), requires_grad=True), numbers(2, 3, 5, 4, seed=2)
    blocks(x).backward(cotangent)
    np.testing.assert_array_equal(x.grad, cotangent)


def test_batch_norm_settings_reach_every_layer():
    class Network(DarknetNetwork):
        def __init__(self):
            self.blocks = [ConvBlock(3, 4, 1), ResidualBlock(4)]

    network = Network().configure_batchnorm(momentum=0.01, rule=nn.DARKNET_CPU)
    norms = [module for _, module in network.named_modules() if isinstance(module, nn.BatchNorm)]
    assert [(norm.momentum, norm.rule) for norm in norms] == [(0.01, nn.DARKNET_CPU)] * 3
