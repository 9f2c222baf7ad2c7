"""Which layers become one operation, and which must not."""

import numpy as np
import pytest

from minidl import nn
from minidl.inference.groups import Convolution, group
from minidl.kernels.batchnorm_rules import DARKNET_CPU, STANDARD
from minidl.nn import trace
from minidl.nn.graph import IMAGES
from tests.minidl import naive
from tests.minidl.harness import assert_close, numbers
from tests.minidl.small_networks import Graph, randomised


def grouped(outputs, **layers):
    """The operations of a :class:`Graph`, each as a dictionary with names of maps in place of numbers."""
    names = {IMAGES: "images", None: None} | dict(enumerate(layers))
    found = []
    for each in group(trace(Graph(outputs, **layers), (8, 8, 3))):
        if isinstance(each, Convolution):
            taken = {"slope": each.slope, "final": each.final_slope, "norm": each.norm is not None}
            found.append({"to": names[each.output], "from": names[each.source], "add": names[each.residual], **taken})
        else:
            found.append({"to": names[each.output], "from": tuple(names[source] for source in each.sources)})
    return found


def conv(to, source="images", add=None, slope=1.0, final=1.0, norm=False):
    return {"to": to, "from": source, "add": add, "slope": slope, "final": final, "norm": norm}


def other(to, *sources):
    return {"to": to, "from": sources}


C = (nn.Conv2d(3, 3, 3), "images")  # a first convolution, which most of these networks begin with


def test_batch_norm_and_its_slope():
    assert grouped("n", c=C, n=(nn.BatchNorm(3), "c")) == [conv("n", norm=True)]
    assert grouped("n", c=C, n=(nn.BatchNorm(3, slope=0.1), "c")) == [conv("n", slope=0.1, norm=True)]


def test_activation():
    assert grouped("a", c=C, a=(nn.LeakyReLU(0.2), "c")) == [conv("a", slope=0.2)]
    found = grouped("a", c=C, n=(nn.BatchNorm(3), "c"), a=(nn.LeakyReLU(0.2), "n"))
    assert found == [conv("a", slope=0.2, norm=True)]


def test_a_second_activation_stays_by_itself():
    found = grouped("b", c=C, n=(nn.BatchNorm(3, slope=0.1), "c"), b=(nn.LeakyReLU(0.2), "n"))
    assert found == [conv("n", slope=0.1, norm=True), other("b", "n")]
    found = grouped("n", c=C, a=(nn.LeakyReLU(0.2), "c"), n=(nn.BatchNorm(3), "a"))
    assert found == [conv("a", slope=0.2), other("n", "a")]


@pytest.mark.parametrize("order", [("d", "c"), ("c", "d")])
def test_shortcut(order):
    found = grouped("s", c=C, d=(nn.Conv2d(3, 3, 1), "c"), a=(nn.LeakyReLU(), "c"), s=(nn.Shortcut(0.3), "d", "a"))
    assert found == [conv("c"), conv("d", "c"), other("a", "c"), other("s", "d", "a")]  # a comes too late
    found = grouped("s", c=C, d=(nn.Conv2d(3, 3, 1), "c"), s=(nn.Shortcut(0.3), *order))
    assert found == [conv("c"), conv("s", "c", add="c", final=0.3)]


def test_shortcut_behind_an_activation():
    found = grouped(
        "s", c=C, d=(nn.Conv2d(3, 3, 1), "c"), n=(nn.BatchNorm(3, slope=0.1), "d"), s=(nn.Shortcut(), "n", "c")
    )
    assert found == [conv("c"), conv("s", "c", add="c", slope=0.1, norm=True)]


def test_of_two_convolutions_the_later_takes_the_sum():
    found = grouped("s", c=C, d=(nn.Conv2d(3, 3, 1), "images"), s=(nn.Shortcut(), "c", "d"))
    assert found == [conv("c"), conv("s", "images", add="c")]


def test_a_sum_with_the_images_stays_by_itself():
    assert grouped("s", c=C, s=(nn.Shortcut(), "c", "images")) == [conv("c"), other("s", "c", "images")]


def test_a_sum_of_a_map_with_itself_stays_by_itself():
    assert grouped("s", c=C, s=(nn.Shortcut(), "c", "c")) == [conv("c"), other("s", "c", "c")]


@pytest.mark.parametrize("later", [nn.BatchNorm(3), nn.LeakyReLU()])
def test_a_map_that_is_read_twice_stays(later):
    found = grouped("p", c=C, a=(later, "c"), p=(nn.Concat(), "a", "c"))
    assert found == [conv("c"), other("a", "c"), other("p", "a", "c")]
    found = grouped("p", c=C, p=(nn.Upsample(), "c"), a=(later, "c"))
    assert found == [conv("c"), other("p", "c"), other("a", "c")]


@pytest.mark.parametrize("later", [nn.BatchNorm(3), nn.LeakyReLU()])
def test_a_map_that_is_returned_stays(later):
    assert grouped(("c", "a"), c=C, a=(later, "c")) == [conv("c"), other("a", "c")]
    found = grouped(("n", "a"), c=C, n=(nn.BatchNorm(3), "c"), a=(nn.LeakyReLU(), "n"))
    assert found == [conv("n", norm=True), other("a", "n")]


def test_a_shortcut_from_another_shape_stays():
    found = grouped("s", c=C, d=(nn.Conv2d(3, 3, 3, stride=2), "c"), s=(nn.Shortcut(), "d", "c"))
    assert found == [conv("c"), conv("d", "c"), other("s", "d", "c")]
    found = grouped("s", c=C, d=(nn.Conv2d(3, 5, 3), "c"), s=(nn.Shortcut(), "d", "c"))
    assert found == [conv("c"), conv("d", "c"), other("s", "d", "c")]


def test_another_stride_down_than_across_stays_as_it_is():
    found = grouped("a", c=(nn.Conv2d(3, 3, 3, stride=(2, 1)), "images"), a=(nn.LeakyReLU(), "c"))
    assert found == [other("c", "images"), other("a", "c")]


@pytest.mark.parametrize("rule", [STANDARD, DARKNET_CPU])
@pytest.mark.parametrize("bias", [False, True])
def test_folded_weights(rule, bias):
    layer, norm = nn.Conv2d(2, 3, 3, bias=bias), nn.BatchNorm(3, rule=rule)
    network = randomised(Graph("n", c=(layer, "images"), n=(norm, "c")))
    (only,) = group(trace(network, (5, 4, 2)))
    weight, shift = only.folded()
    assert weight.dtype == shift.dtype == np.float32
    x = numbers(1, 5, 4, 2)
    before = naive.conv2d(x, layer.weight.data, layer.bias.data if bias else None, (1, 1), (1, 1))
    statistics = norm.gamma.data, norm.beta.data, norm.running_mean.data, norm.running_variance.data
    normalise = naive.batchnorm_standard if rule is STANDARD else naive.batchnorm_darknet
    assert_close(naive.conv2d(x, weight, shift, (1, 1), (1, 1)), normalise(before, *statistics), 1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_folded_weights_without_batch_norm(bias):
    layer = nn.Conv2d(2, 3, 3, bias=bias)
    (only,) = group(trace(randomised(Graph("c", c=(layer, "images"))), (5, 4, 2)))
    weight, shift = only.folded()
    np.testing.assert_array_equal(weight, layer.weight.data)
    np.testing.assert_array_equal(shift, layer.bias.data if bias else np.zeros(3))
