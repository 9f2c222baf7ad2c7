"""Loss scaling, for training in float16.

float16 reaches down to 6e-8 alone, and many gradients of a network are smaller: they would become 0.  The gradient of
``scale * loss`` is ``scale`` times as large everywhere, so that they survive; before the optimiser steps, the gradients
of the parameters, which are float32, are divided by it.  Where a number has become infinite on the way (float16 ends at
65504), the step is left out and the scale is halved; after many good steps it is doubled, to stay as large as it can.

Source: Micikevicius et al. 2018, Mixed Precision Training, sections 3.2 and 4.
"""

from minidl.device import array_module, kernels_for, to_cpu
from minidl.ops import multiply
from minidl.tensor import Tensor


class LossScale:
    """A factor for the loss that follows what the gradients can bear.

    Parameters
    ----------
    scale: the first factor; best a power of two, by which multiplying rounds nothing.  Default 65536
    double_after: so many good steps in a row double it; None keeps it.  Default 2000

    One training step::

        optimizer.zero_grad()
        loss_scale.scale(loss).backward()
        is_finite, (value,) = loss_scale.unscale_and_check(optimizer, loss)
        if is_finite:
            optimizer.step()

    For float32 and float64, on any device, ``LossScale(1, double_after=None)`` changes no gradient.
    """

    def __init__(self, scale=2.0**16, double_after=2000):
        self.factor, self.double_after = float(scale), double_after
        self.good_steps = 0  # since the factor last changed

    def scale(self, loss):
        """The loss times the factor: a Tensor to call ``backward()`` on."""
        return multiply(loss, self.factor)

    def unscale_and_check(self, optimizer, *values):
        """Divide the gradients of the optimiser's parameters by the factor, and adapt it.

        values: Tensors or arrays of one number each, such as the loss and its terms, to be read on the way: on a GPU a
        step so makes one small copy to the CPU.

        Returns ``(is_finite, numbers)``: whether every gradient is finite, without which the step must be left out,
        and the values as Python numbers.
        """
        grads = optimizer.gradients()
        xp = array_module(grads[0])
        overflow = kernels_for(grads[0]).unscale(grads, 1 / self.factor)
        arrays = [overflow, *(value.data if isinstance(value, Tensor) else value for value in values)]
        together = xp.concatenate([each.reshape(1).astype("float64") for each in arrays])
        overflowed, *numbers = to_cpu(together).tolist()
        self._adapt(not overflowed)
        return not overflowed, numbers

    def _adapt(self, is_finite):
        if self.double_after is None:
            return
        self.good_steps = self.good_steps + 1 if is_finite else 0
        if not is_finite:
            self.factor = max(1.0, self.factor / 2)
        elif self.good_steps == self.double_after:
            self.factor, self.good_steps = 2 * self.factor, 0

    def state_dict(self):
        """``{name: number}`` for a checkpoint."""
        return {"factor": self.factor, "good_steps": self.good_steps}

    def load_state_dict(self, state):
        """Take over what :meth:`state_dict` gave."""
        self.factor, self.good_steps = float(state["factor"]), int(state["good_steps"])
