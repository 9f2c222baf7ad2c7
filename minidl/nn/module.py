"""Modules: trees of layers that know their parameters, their buffers and whether they are being trained."""

import threading

import numpy as np

from minidl.device import device_of, to_cpu, to_device
from minidl.tensor import HALF, Tensor


class Parameter(Tensor):
    """A tensor that training changes; requires a gradient from birth."""

    __slots__ = ()

    def __init__(self, data):
        super().__init__(data, requires_grad=True)


class Buffer:
    """An array that belongs to a module's state but is not trained, such as running statistics."""

    def __init__(self, data):
        self.data = data


class Module:
    """A layer, or a network of layers.

    Subclasses set parameters, buffers and other modules as attributes (lists of modules too) and define
    ``forward``.  Everything else follows from the attributes, in the order in which they were set.
    """

    training = True  # normalise by the batch's statistics (True) or by the running ones (False)

    def forward(self, *inputs):
        """Compute the output; defined by each subclass."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *inputs):
        output = self.forward(*inputs)
        for observer in _observers.functions:
            observer(self, inputs, output)
        return output

    def children(self):
        """``(name, module)`` for the modules directly below; those in a list are named ``list.0``, ``list.1``, ..."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple):
                yield from ((f"{name}.{i}", each) for i, each in enumerate(value) if isinstance(each, Module))

    def named_modules(self, prefix=""):
        """``(path, module)`` for this module (path "") and all below, parents first."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_values(self, kind):
        """``(path, value)`` for every attribute of a class or of one of several classes, in a fixed order."""
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kind):
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self):
        """``(path, Parameter)`` for every parameter, such as ``("backbone.stem.conv.weight", ...)``."""
        return self.named_values(Parameter)

    def parameters(self):
        """Every parameter, in a fixed order."""
        return [parameter for _, parameter in self.named_parameters()]

    def parameter_count(self):
        """Number of trainable numbers."""
        return sum(parameter.size for parameter in self.parameters())

    def train(self):
        """Switch to training: batch norm uses and records the batch's statistics.  Returns the module."""
        for _, module in self.named_modules():
            module.training = True
        return self

    def eval(self):
        """Switch to evaluation: batch norm uses the running statistics.  Returns the module."""
        for _, module in self.named_modules():
            module.training = False
        return self

    @property
    def device(self):
        """Where the parameters and buffers lie: ``cpu``, ``cuda`` or ``emulated``; ``cpu`` where there are none."""
        _, first = next(self.named_values((Parameter, Buffer)), (None, None))
        return "cpu" if first is None else device_of(first.data)

    def to(self, device):
        """Move every parameter with its gradient, and every buffer, to a device.  Returns the module.

        ``device``: ``cpu``, ``cuda`` or ``emulated``, as :func:`minidl.device.resolve_device` returns it.
        """
        for _, value in self.named_values((Parameter, Buffer)):
            value.data = to_device(value.data, device)
            if getattr(value, "grad", None) is not None:
                value.grad = to_device(value.grad, device)
        return self

    def astype(self, dtype):
        """Turn every parameter and buffer into ``dtype`` (float64 for gradient checks).  Returns the module.

        Raises TypeError for float16: parameters stay float32, beside which small updates are not lost; it is the images
        given to a network that make its maps float16.
        """
        if np.dtype(dtype) == HALF:
            raise TypeError("parameters stay float32; give the network float16 images instead")
        for _, value in self.named_values((Parameter, Buffer)):
            value.data = value.data.astype(dtype)
        return self

    def zero_grad(self):
        """Forget the gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def state_dict(self):
        """``{path: array}`` of all parameters and buffers, NumPy arrays from every device.

        On the CPU they are the module's own arrays, from elsewhere copies.
        """
        return {path: to_cpu(value.data) for path, value in self.named_values((Parameter, Buffer))}

    def load_state_dict(self, arrays):
        """Take over arrays as made by :meth:`state_dict`, copied to the device on which the module is.

        Raises ValueError that names the first layer whose array is missing, left over, or of another shape;
        the module is then unchanged.
        """
        own = dict(self.named_values((Parameter, Buffer)))
        for path, value in own.items():
            if path not in arrays:
                raise ValueError(f"no array for {path} {value.data.shape}")
            if arrays[path].shape != value.data.shape:
                raise ValueError(f"{path} has the shape {value.data.shape}, the array given {arrays[path].shape}")
        left_over = next((path for path in arrays if path not in own), None)
        if left_over is not None:
            raise ValueError(f"there is no layer for the array {left_over} {arrays[left_over].shape}")
        for path, value in own.items():
            value.data = to_device(np.array(arrays[path], dtype=value.data.dtype), device_of(value.data))


class Sequential(Module):
    """Layers one after the other."""

    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class _Observers(threading.local):
    """``functions`` are called with (module, inputs, output) after every module's forward in this thread."""

    def __init__(self):
        self.functions = []


_observers = _Observers()


class observe:
    """Inside ``with observe(function):`` every module that runs is reported as ``function(module, inputs, output)``.

    Other threads are not watched.
    """

    def __init__(self, function):
        self._function = function

    def __enter__(self):
        _observers.functions.append(self._function)

    def __exit__(self, *exc_info):
        _observers.functions.remove(self._function)
