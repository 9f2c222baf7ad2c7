"""Optimisers: they move each parameter a small step against its gradient.

Parameters come in groups, so that weights can decay and biases not: ``[{"parameters": [...], "decay": 5e-4},
{"parameters": [...]}]``.  A plain list of parameters is one group without decay.  Kernels: ``sgd_update``,
``adam_update``.
"""

import numpy as np

from minidl.device import array_module, device_of, kernels_for, to_cpu, to_device


def decay_groups(module, decay):
    """Two groups as in the original (spec 6): weights, which decay, and biases and batch-norm scales, which do not."""
    weights = [each for name, each in module.named_parameters() if name.rsplit(".", 1)[-1] == "weight"]
    others = [each for name, each in module.named_parameters() if name.rsplit(".", 1)[-1] != "weight"]
    return [{"parameters": weights, "decay": decay}, {"parameters": others}]


class Optimizer:
    """Holds the parameters and the state that belongs to each; subclasses define the step.

    The state lies where its parameter lies: after ``model.to(device)`` it follows in the next step.
    """

    state_names = ()  # arrays of state per parameter, such as ("velocity",)

    def __init__(self, parameters, learning_rate):
        parameters = list(parameters)
        groups = parameters if parameters and isinstance(parameters[0], dict) else [{"parameters": parameters}]
        self.learning_rate = learning_rate
        self.step_count = 0
        self._items = []  # (parameter, its group's decay, its state)
        for group in groups:
            for parameter in group["parameters"]:
                state = {name: array_module(parameter.data).zeros_like(parameter.data) for name in self.state_names}
                self._items.append((parameter, group.get("decay", 0.0), state))
        self._left_out = [0] * len(self._items)  # steps in which each parameter had no gradient, such as a frozen one

    def zero_grad(self):
        """Forget the gradients of all parameters."""
        for parameter, _, _ in self._items:
            parameter.grad = None

    def gradients(self):
        """The gradients there are, the arrays themselves."""
        return [parameter.grad for parameter, _, _ in self._items if parameter.grad is not None]

    def step(self):
        """Move every parameter that has a gradient."""
        self.step_count += 1
        for index, (parameter, decay, state) in enumerate(self._items):
            if parameter.grad is None:
                self._left_out[index] += 1
                continue
            for name in state:
                state[name] = to_device(state[name], device_of(parameter.data))
            self._update(parameter, decay, state, self.step_count - self._left_out[index])

    def _update(self, parameter, decay, state, step):
        """Move one parameter; ``step`` counts those in which it moved, from 1."""
        raise NotImplementedError

    def state_dict(self):
        """``{name: array}`` of everything that a resumed run needs, NumPy arrays from every device.

        On the CPU they are the optimiser's own arrays, from elsewhere copies.
        """
        arrays = {"step_count": np.array(self.step_count), "left_out": np.array(self._left_out, np.int64)}
        for index, (_, _, state) in enumerate(self._items):
            arrays |= {f"{index}.{name}": to_cpu(value) for name, value in state.items()}
        return arrays

    def load_state_dict(self, arrays):
        """Take over what :meth:`state_dict` gave, copied to where the parameters are.

        Raises ValueError that names an array that is missing, left over or of another shape; nothing changes then.
        """
        own = self.state_dict()
        # Older files have no such array: nothing was ever frozen then.
        arrays = {"left_out": np.zeros_like(own["left_out"]), **arrays}
        for name, array in own.items():
            if name not in arrays or arrays[name].shape != array.shape:
                raise ValueError(f"optimizer state {name} of shape {array.shape} is missing or differs")
        left_over = next((name for name in arrays if name not in own), None)
        if left_over is not None:
            raise ValueError(f"optimizer state has no place for the array {left_over}")
        step_count, left_out = int(arrays["step_count"]), [int(count) for count in arrays["left_out"]]
        if not all(0 <= count <= step_count for count in left_out):
            raise ValueError(f"optimizer state left_out must lie between 0 and its step_count {step_count}")
        for index, (parameter, _, state) in enumerate(self._items):
            for name in state:
                array = np.array(arrays[f"{index}.{name}"], dtype=parameter.dtype)
                state[name] = to_device(array, device_of(parameter.data))
        self.step_count, self._left_out = step_count, left_out


class SGD(Optimizer):
    """Stochastic gradient descent with momentum and coupled decay, the original's optimiser (spec 6).

    ``v <- momentum v + grad + decay w;  w <- w - rate v``.
    """

    state_names = ("velocity",)

    def __init__(self, parameters, learning_rate=1e-3, momentum=0.9):
        super().__init__(parameters, learning_rate)
        self.momentum = momentum

    def _update(self, parameter, decay, state, step):
        sgd_update = kernels_for(parameter.data).sgd_update
        sgd_update(parameter.data, parameter.grad, state["velocity"], self.learning_rate, self.momentum, decay)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): each number steps by its mean gradient over its root mean square gradient.

    ``m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  w <- w - rate m' / (sqrt(v') + epsilon)`` where
    ``m' = m / (1 - b1^t)`` and ``v' = v / (1 - b2^t)`` undo the start at 0.  Decay is added to the gradient.
    ``t`` counts the steps of each parameter by itself: one that was frozen until now starts at 0 as the others did.
    """

    state_names = ("mean", "square")

    def __init__(self, parameters, learning_rate=1e-3, betas=(0.9, 0.999), epsilon=1e-8):
        super().__init__(parameters, learning_rate)
        self.betas, self.epsilon = betas, epsilon

    def _update(self, parameter, decay, state, step):
        kernels_for(parameter.data).adam_update(
            *(parameter.data, parameter.grad, state["mean"], state["square"]),
            *(self.learning_rate, self.betas, self.epsilon, decay, step),
        )
