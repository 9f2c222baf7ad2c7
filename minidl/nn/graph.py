"""A network as a graph, found by watching it run: which layer ran on whose output."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from minidl.device import array_library
from minidl.nn.module import Module, observe
from minidl.tensor import Tensor, no_grad

IMAGES = -1  # number of the network's input among the nodes


@dataclass(frozen=True)
class Node:
    """One layer that ran.

    module; path: its name in the network; inputs: per input the number of the node that made it, IMAGES for the
    network's own input, None for what no layer made (such as a sum written as ``a + b``); input_shapes,
    output_shape: without the batch.
    """

    module: Module
    path: str
    inputs: tuple
    input_shapes: tuple
    output_shape: tuple


@dataclass(frozen=True)
class Graph:
    """nodes in the order in which they ran; outputs: the numbers of the nodes that made what the network returned (None
    where no layer did); returns_tuple: whether it returned several maps, or one that is no tuple."""

    nodes: list
    outputs: tuple
    returns_tuple: bool


def trace(model, input_shape):
    """The :class:`Graph` of a network.

    ``input_shape`` is (height, width, channels).  The model runs once on zeros, in evaluation mode.  A node is a
    layer without layers of its own; one that only passes its input on leaves no trace.
    """
    nodes, made_by = [], WeakKeyDictionary()  # {tensor: number of its node}; no array lives longer for it
    paths = {id(module): path for path, module in model.named_modules()}

    def record(module, inputs, output):
        if any(True for _ in module.children()) or any(output is each for each in inputs):
            return
        if id(module) not in paths:
            kind = type(module).__name__
            raise ValueError(f"a layer {kind} runs that is no attribute of the network, nor in a list of one")
        node = Node(
            module,
            paths[id(module)],
            tuple(made_by.get(each) for each in inputs),
            tuple(each.shape[1:] for each in inputs),
            output.shape[1:],
        )
        made_by[output] = len(nodes)
        nodes.append(node)

    images = Tensor(array_library(model.device).zeros((1, *input_shape), "float32"))
    made_by[images] = IMAGES
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        with observe(record), no_grad():
            result = model(images)
    finally:
        for module, training in modes:
            module.training = training
    returns_tuple = isinstance(result, tuple | list)
    outputs = tuple(made_by.get(each) for each in (result if returns_tuple else (result,)))
    return Graph(nodes, outputs, returns_tuple)
