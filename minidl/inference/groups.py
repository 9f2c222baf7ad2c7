"""Which layers become one: a convolution takes in the batch norm, the activation and the sum that follow it.

    y = leaky(leaky(batch norm(conv(x))) + residual)

In evaluation batch norm is a factor and a summand per channel, and both can be given to the convolution:

    gamma (conv(x) - mean) / divisor + beta  =  conv(x; w gamma / divisor) + (beta - mean gamma / divisor)
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from minidl import nn
from minidl.nn.graph import IMAGES


@dataclass(frozen=True)
class Convolution:
    """A convolution and what it takes in.  ``source``, ``residual``, ``output``: numbers of nodes; shapes of maps."""

    layer: nn.Conv2d
    norm: nn.BatchNorm | None
    slope: float
    residual: int | None
    final_slope: float
    source: int
    output: int
    input_shape: tuple
    output_shape: tuple

    @property
    def sources(self):
        """Every map that it reads."""
        return (self.source,) if self.residual is None else (self.source, self.residual)

    def folded(self):
        """(weight, bias) with the batch norm in them."""
        weight, bias = self.layer.weight.data, self.layer.bias
        if self.norm is None:
            return weight, np.zeros(weight.shape[3], weight.dtype) if bias is None else bias.data
        factor = self.norm.gamma.data / self.norm.rule.divisor(self.norm.running_variance.data)
        mean = self.norm.running_mean.data - (0 if bias is None else bias.data)
        shift = self.norm.beta.data - mean * factor
        return weight * factor, shift


@dataclass(frozen=True)
class Other:
    """Any other layer, which runs as it is."""

    module: nn.Module
    sources: tuple
    output: int
    input_shapes: tuple
    output_shape: tuple


def group(graph):
    """The nodes of a :class:`minidl.nn.graph.Graph` as :class:`Convolution` and :class:`Other`, in order."""
    for node in graph.nodes:
        if None in node.inputs:
            raise ValueError(f"{node.path} reads what no layer made, such as a sum written as a + b: use nn.Shortcut")
    if None in graph.outputs:
        raise ValueError("the network returns what no layer made: let a layer be the last")
    return _Grouping(graph).operations


class _Grouping:
    def __init__(self, graph):
        self.nodes, self.operations = graph.nodes, []
        # An output of the network counts as read: it must come out as it is.
        self.uses = Counter([source for node in graph.nodes for source in node.inputs] + list(graph.outputs))
        self.reader = {source: number for number, node in enumerate(graph.nodes) for source in node.inputs}
        taken = set()
        for number, node in enumerate(graph.nodes):
            if number in taken:
                continue
            if isinstance(node.module, nn.Conv2d) and _is_even(node.module):
                self.operations.append(self._convolution(number, node, taken))
            else:
                shapes = node.input_shapes
                self.operations.append(Other(node.module, node.inputs, number, shapes, node.output_shape))

    def _convolution(self, number, node, taken):
        norm, slope, residual, final_slope, last = None, 1.0, None, 1.0, number
        if (following := self._only_reader(last, nn.BatchNorm)) is not None:
            norm, last = self.nodes[following].module, following
            slope = norm.slope
            taken.add(following)
        if slope == 1 and (following := self._only_reader(last, nn.LeakyReLU)) is not None:
            slope, last = self.nodes[following].module.slope, following
            taken.add(following)
        following = self._only_reader(last, nn.Shortcut)
        if following is not None and len(set(self.nodes[following].input_shapes)) == 1:
            first, second = self.nodes[following].inputs
            residual = second if first == last else first
            if IMAGES < residual < number:  # it exists already when the convolution runs
                final_slope, last = self.nodes[following].module.slope, following
                taken.add(following)
            else:
                residual = None
        shapes = node.input_shapes[0], node.output_shape
        return Convolution(node.module, norm, slope, residual, final_slope, node.inputs[0], last, *shapes)

    def _only_reader(self, number, kind):
        """The node of this kind that reads a map, if nothing else does; else None."""
        reader = self.reader.get(number)
        alone = self.uses[number] == 1 and reader is not None and isinstance(self.nodes[reader].module, kind)
        return reader if alone else None


def _is_even(layer):
    """Whether stride and padding are numbers, the same down and across, and not pairs."""
    return np.ndim(layer.stride) == np.ndim(layer.padding) == 0
