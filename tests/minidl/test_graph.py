"""The graph of a network: which layer read whose output."""

import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from minidl import nn, ops
from minidl.nn import trace
from minidl.nn.graph import IMAGES


class Add(nn.Module):
    def forward(self, a, b):
        return ops.add(a, b)


class Network(nn.Module):
    """A skip over two layers, the same layer run twice, and two outputs."""

    def __init__(self):
        self.first = nn.Conv2d(3, 4, 3, stride=2)
        self.twice = nn.Conv2d(4, 4, 1)
        self.join = Add()
        self.last = nn.GlobalAveragePool()

    def forward(self, images):
        x = self.first(images)
        y = self.join(self.twice(self.twice(x)), x)
        return self.last(y), x


def test_nodes_by_hand():
    graph = trace(Network(), (5, 7, 3))
    nodes, outputs = graph.nodes, graph.outputs
    assert [(node.path, node.inputs) for node in nodes] == [
        ("first", (IMAGES,)),
        ("twice", (0,)),
        ("twice", (1,)),
        ("join", (2, 0)),
        ("last", (3,)),
    ]
    assert outputs == (4, 0)
    assert nodes[0].input_shapes == ((5, 7, 3),)
    assert nodes[3].input_shapes == ((3, 4, 4), (3, 4, 4))
    assert [node.output_shape for node in nodes] == [(3, 4, 4)] * 4 + [(4,)]


def test_what_no_layer_made_has_no_number():
    class Plain(nn.Module):
        def __init__(self):
            self.layer = nn.Upsample()

        def forward(self, x):
            return self.layer(x + 1) * 2

    graph = trace(Plain(), (2, 2, 1))
    nodes, outputs = graph.nodes, graph.outputs
    assert nodes[0].inputs == (None,)
    assert outputs == (None,)


def test_a_network_is_traced_where_it_lies(gpu_device):
    wanted = [(node.path, node.inputs, node.output_shape) for node in trace(Network(), (5, 7, 3)).nodes]
    found = trace(Network().to(gpu_device), (5, 7, 3)).nodes
    assert [(node.path, node.inputs, node.output_shape) for node in found] == wanted


def test_a_layer_that_passes_its_input_on_leaves_no_trace():
    graph = trace(nn.Sequential(nn.Upsample(), nn.Dropout(0.5), nn.LeakyReLU()), (2, 2, 1))
    nodes, outputs = graph.nodes, graph.outputs
    assert [node.path for node in nodes] == ["layers.0", "layers.2"]
    assert nodes[1].inputs == (0,)
    assert outputs == (1,)


def test_maps_are_freed_while_the_network_runs():
    alive = []

    class Watch(nn.Module):
        def forward(self, x):
            y = ops.add(x, 1.0)
            alive.append(weakref.ref(y))
            self.most = sum(each() is not None for each in alive)
            return y

    layers = [Watch() for _ in range(6)]
    trace(nn.Sequential(*layers), (2, 2, 1))
    assert max(layer.most for layer in layers) <= 2


@pytest.mark.parametrize("training", [True, False])
def test_modes_stay_as_they_were(training):
    model = Network()
    model.first.training = training
    trace(model, (4, 4, 3))
    assert (model.training, model.first.training) == (True, training)


def test_a_layer_outside_the_attributes_is_named():
    class Hidden(nn.Module):
        def __init__(self):
            self.layers = {"a": nn.Upsample()}

        def forward(self, x):
            return self.layers["a"](x)

    with pytest.raises(ValueError, match="a layer Upsample runs that is no attribute"):
        trace(Hidden(), (2, 2, 1))


def test_other_threads_may_run_networks_meanwhile():
    class Slow(nn.Module):
        def forward(self, x):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(nn.Upsample(), x).result()
            return ops.add(x, 1.0)

    graph = trace(nn.Sequential(Slow()), (2, 2, 1))
    nodes, _ = graph.nodes, graph.outputs
    assert [type(node.module) for node in nodes] == [Slow]
