"""Where a computation went wrong: the first operation whose result, or whose gradient, is infinite or NaN.

A single such number spreads: one layer further most numbers are NaN, and in the end the loss is.  What helps is to know
where it *began*.  A graph of tensors can tell: it holds every intermediate result, in an order in which each stands
behind all it was made from.  Going through it costs as much as another training step or two, so it is done once, when
something is wrong already, on a step that is computed again.
"""

from dataclasses import dataclass

from minidl.collective import current_group
from minidl.device import array_module
from minidl.nn.module import observe
from minidl.tensor import Tensor


@dataclass(frozen=True)
class Anomaly:
    """The first number that is not finite.

    direction: ``forward``, or ``backward`` where the results are finite and a gradient is not; operation: its name,
    ``leaf`` for a number that was given and not computed; path: of the layer or the parameter in the network, "" for
    what lies outside of it, such as the loss and the images.
    """

    direction: str
    operation: str
    path: str


def first_anomaly(network, compute):
    """The first :class:`Anomaly` of a computation, or None if all its numbers are finite.

    ``compute()`` computes it again, with gradients on, and returns its result: a Tensor, or several.  Where that is one
    number whose results are finite, the gradients are followed too, from it backwards; those of the parameters are
    added to what is there.

    Where several processes share a batch (:func:`minidl.collective.together`) all must call it, and all get the first
    that any of them has: what is not finite in one spreads to the others by the next batch norm.
    """
    made = _Made(network)
    with observe(made.in_layer):
        result = compute()
    results = result if isinstance(result, list | tuple) else [result]
    made.add(results, "")
    forward = (
        (place, Anomaly("forward", tensor.operation, path))
        for place, (tensor, path) in enumerate(made.tensors)
        if not _is_finite(tensor.data)
    )
    first = _first_of_all_ranks(next(forward, None))
    if first or len(results) != 1 or results[0].size != 1 or not results[0].requires_grad:
        return first
    found = []
    for place, (tensor, path) in enumerate(made.tensors):
        if tensor._backward is not None:
            tensor._backward = _watched(tensor, path, -place, found)  # gradients are made in the opposite order
    results[0].backward()
    return _first_of_all_ranks(found[0] if found else None)


def _first_of_all_ranks(found):
    """The Anomaly that came first in any rank; ``found``: (about its place in the computation, Anomaly), or None."""
    everywhere = [each for each in current_group().gather(found) if each is not None]
    return min(everywhere, key=lambda each: each[0])[1] if everywhere else None


def _watched(tensor, path, place, found):
    """The tensor's backward function, which notes in ``found`` what it makes of its gradient if that is not finite."""
    backward, operation = tensor._backward, tensor.operation  # not the tensor: its memory shall be freed on the way

    def check(grad):
        grads = backward(grad)
        if not found and not all(each is None or _is_finite(each) for each in grads):
            found.append((place, Anomaly("backward", operation, path)))
        return grads

    return check


class _Made:
    """``tensors``: every ``(tensor, path)``, noted while a network runs, each behind those that it was made from."""

    def __init__(self, network):
        self.tensors = []
        self._seen = set()  # ids of the tensors above, which keep them alive
        self._layers = {id(module): path for path, module in network.named_modules()}
        self._parameters = {id(parameter): path for path, parameter in network.named_parameters()}

    def in_layer(self, module, inputs, output):
        """What stands between a layer's inputs and its output was made in it, or in one that reported before it."""
        outputs = output if isinstance(output, list | tuple) else [output]
        self.add(inputs, "")  # such as images
        self.add(outputs, self._layers.get(id(module), type(module).__name__))

    def add(self, results, path):
        """Note all new tensors that ``results`` were made from.  A stack of our own: see Tensor.backward."""
        stack = [(tensor, False) for tensor in reversed(results)]
        while stack:
            tensor, parents_done = stack.pop()
            if parents_done:
                self.tensors.append((tensor, self._parameters.get(id(tensor), path)))
            elif id(tensor) not in self._seen:
                self._seen.add(id(tensor))
                stack.append((tensor, True))
                stack += [(parent, False) for parent in reversed(tensor._parents) if isinstance(parent, Tensor)]


def _is_finite(array):
    return bool(array_module(array).isfinite(array).all())
