"""Training on a GPU: the same numbers as on the CPU, no copies back but the loss, float16, moving between devices."""

import copy

import numpy as np
import pytest

from minidl import Tensor, nn, ops
from minidl.device import array_library, device_of, to_cpu, to_device
from minidl.loss_scale import LossScale
from minidl.optim import SGD, Adam, decay_groups
from tests.minidl.harness import numbers

OPTIMIZERS = {
    "sgd": lambda network: SGD(decay_groups(network, 1e-2), 1e-3),
    "adam": lambda network: Adam(decay_groups(network, 1e-2), 1e-2),
}


class Network(nn.Module):
    """Every kind of layer: a stem, a stride, a residual block, pooling, upsampling and a side way, two heads."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.stem = nn.Conv2d(3, 8, 3, bias=False, rng=rng)
        self.stem_norm = nn.BatchNorm(8, slope=0.1)
        self.down = nn.Conv2d(8, 12, 3, stride=2, rng=rng)
        self.leaky = nn.LeakyReLU()
        self.narrow = nn.Conv2d(12, 12, 1, bias=False, rng=rng)
        self.narrow_norm = nn.BatchNorm(12, slope=0.1)
        self.shortcut = nn.Shortcut(slope=0.1)
        self.pool = nn.MaxPool2d(3, 1)
        self.upsample = nn.Upsample(2)
        self.concat = nn.Concat()
        self.map_head = nn.Conv2d(20, 6, 1, rng=rng)
        self.average = nn.GlobalAveragePool()
        self.dropout = nn.Dropout(0.3, np.random.default_rng(1))
        self.class_head = nn.Linear(20, 4, rng=rng)

    def forward(self, x):
        side = self.stem_norm(self.stem(x))  # (batch, 10, 14, 8)
        deep = self.leaky(self.down(side))  # (batch, 5, 7, 12)
        deep = self.pool(self.shortcut(self.narrow_norm(self.narrow(deep)), deep))
        joined = self.concat(self.upsample(deep), side)  # (batch, 10, 14, 20)
        return self.map_head(joined), self.class_head(self.dropout(self.average(joined)))


IMAGES = numbers(2, 10, 14, 3).astype(np.float32)
TARGETS = np.random.default_rng(2).uniform(size=(2, 10, 14, 4)).astype(np.float32)
WEIGHTS = np.random.default_rng(3).uniform(size=(2, 10, 14, 1)).astype(np.float32)
LABELS = np.array([3, 1])


def batch_on(device):
    return [to_device(each, device) for each in (IMAGES, TARGETS, WEIGHTS, LABELS)]


def loss_of(network, images, targets, weights, labels):
    """A loss with parts of a map, weights that broadcast, a number as target, and arithmetic, as in detection."""
    maps, classes = (ops.cast(head, np.float32) for head in network(Tensor(images)))
    boxes = ops.squared_error(ops.sigmoid(maps[..., :2]), targets[..., :2], weights)
    boxes = boxes + ops.bce_with_logits(maps[..., 2:4], targets[..., 2:], weights)
    rest = ops.bce_with_logits(maps[..., 4], 1, weights[..., 0]) + maps[..., 5].mean() ** 2
    return (sum([boxes, rest]) + ops.cross_entropy(classes, labels)) / len(images)


def step(network, optimizer, batch):
    optimizer.zero_grad()
    loss = loss_of(network, *batch)
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps_are_those_of_the_cpu(name, gpu_device):
    states, losses = [], []
    for device in ("cpu", gpu_device):
        network = Network().to(device)
        optimizer = OPTIMIZERS[name](network)
        losses.append([step(network, optimizer, batch_on(device)).item() for _ in range(3)])
        states.append(network.state_dict() | optimizer.state_dict())
        assert all(device_of(each.grad) == device_of(each.data) == device for each in network.parameters())
    assert losses[0][2] < losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    for path, array in states[0].items():
        np.testing.assert_allclose(
            states[1][path], array, rtol=0, atol=1e-5 * max(1, np.abs(array).max()), err_msg=path
        )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_copies_nothing_to_the_cpu_but_the_loss(name):
    library = array_library("emulated")
    network = Network().to("emulated")
    optimizer, batch = OPTIMIZERS[name](network), batch_on("emulated")
    with library.count() as counts:
        loss = step(network, optimizer, batch)
        assert counts.to_host == []
        loss.item()
    assert len(counts.to_host) == 1
    assert counts.to_host_bytes == 4
    assert len(counts.to_device) == 1  # which numbers dropout keeps


def test_a_scaled_step_copies_the_loss_and_the_flag_together():
    library = array_library("emulated")
    network = Network().to("emulated")
    optimizer, batch, scale = OPTIMIZERS["sgd"](network), batch_on("emulated"), LossScale()
    with library.count() as counts:
        loss = loss_of(network, *batch)
        scale.scale(loss).backward()
        finite, (value,) = scale.unscale_and_check(optimizer, loss)
    assert len(counts.to_host) == 1
    assert finite
    assert value == loss.item()


def test_float16_training_follows_float32(gpu_device):
    losses = {}
    for dtype in (np.float32, np.float16):
        network = Network().to(gpu_device)
        optimizer, scale = OPTIMIZERS["sgd"](network), LossScale(1024)
        images, *truth = batch_on(gpu_device)
        losses[dtype] = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = loss_of(network, images.astype(dtype), *truth)
            scale.scale(loss).backward()
            finite, (value,) = scale.unscale_and_check(optimizer, loss)
            assert finite
            optimizer.step()
            losses[dtype].append(value)
        assert {each.dtype for each in network.parameters()} == {np.dtype(np.float32)}
        assert {each.grad.dtype for each in network.parameters()} == {np.dtype(np.float32)}
    assert network(Tensor(images.astype(np.float16)))[0].dtype == np.float16
    np.testing.assert_allclose(losses[np.float16], losses[np.float32], rtol=5e-3)


def test_a_run_moves_from_device_to_device(gpu_device):
    """Two steps here and two there, by way of to() and of a checkpoint, end as four steps in one place."""
    straight = Network()
    optimizer = OPTIMIZERS["adam"](straight)
    for _ in range(4):
        step(straight, optimizer, batch_on("cpu"))

    network = Network()
    optimizer = OPTIMIZERS["adam"](network)
    step(network, optimizer, batch_on("cpu"))
    assert network.to(gpu_device) is network
    assert network.device == gpu_device
    step(network, optimizer, batch_on(gpu_device))
    checkpoint = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    assert all(isinstance(array, np.ndarray) for state in checkpoint for array in state.values())

    resumed = Network().to(gpu_device)
    resumed.dropout._rng = network.dropout._rng
    optimizer = OPTIMIZERS["adam"](resumed)
    resumed.load_state_dict(checkpoint[0])
    optimizer.load_state_dict(checkpoint[1])
    assert resumed.device == gpu_device
    step(resumed, optimizer, batch_on(gpu_device))
    step(resumed.to("cpu"), optimizer, batch_on("cpu"))
    for path, array in straight.state_dict().items():
        np.testing.assert_allclose(resumed.state_dict()[path], array, rtol=0, atol=1e-4, err_msg=path)


def test_evaluation_is_that_of_the_cpu(gpu_device):
    heads = [Network().eval().to(device)(Tensor(batch_on(device)[0])) for device in ("cpu", gpu_device)]
    for own, wanted in zip(heads[1], heads[0], strict=True):
        np.testing.assert_allclose(to_cpu(own.data), wanted.data, rtol=0, atol=1e-5)
