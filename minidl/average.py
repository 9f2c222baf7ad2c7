"""The running average of a network's weights: calmer than the weights themselves, which still jump with every batch."""

from contextlib import contextmanager

from minidl.device import kernels_for, to_cpu
from minidl.nn.module import Buffer, Parameter


class WeightAverage:
    """An exponential moving average of every parameter and buffer of a module.

    ``average <- average + (1 - d) (weight - average)`` with ``d = min(decay, step / (step + 9))``, so that the first
    steps, whose weights are nearly random, are soon forgotten: with decay 0.998 about the last 500 steps count.

    Parameters
    ----------
    model: the module; the average begins as a copy of its weights, where they lie
    decay: in [0, 1)

    Source: Polyak and Juditsky 1992; the form with a decay, Tarvainen and Valpola 2017, section 2.
    """

    def __init__(self, model, decay):
        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay}: it must be at least 0 and below 1")
        self.decay = decay
        self._values = dict(model.named_values((Parameter, Buffer)))
        self._average = {path: value.data.copy() for path, value in self._values.items()}

    def update(self, step):
        """Take in the weights as they are after step number ``step``, which counts from 1."""
        share = 1 - min(self.decay, step / (step + 9))
        for path, value in self._values.items():
            kernels_for(value.data).move_towards(self._average[path], value.data, share)

    @contextmanager
    def swapped_in(self):
        """Inside ``with average.swapped_in():`` module and average have each other's numbers."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self):
        for path, value in self._values.items():
            value.data, self._average[path] = self._average[path], value.data

    def state_dict(self):
        """``{path: array}``, NumPy arrays from every device, as :meth:`minidl.nn.Module.state_dict` gives them."""
        return {path: to_cpu(array) for path, array in self._average.items()}
