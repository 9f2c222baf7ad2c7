"""The rules by which programs normalise: they differ in where epsilon stands and in the variance's divisor."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchNormRule:
    """How batch norm turns a variance into the divisor of ``(x - mean)``.

    ``sqrt(variance) + epsilon`` if ``epsilon_outside_root`` else ``sqrt(variance + epsilon)``.  In training the
    batch's variance is divided by ``N - 1`` if ``unbiased`` else by ``N``; the running variance always receives
    the unbiased one.  ``backward_epsilon`` stands inside the root in the backward pass.
    """

    name: str
    epsilon: float
    epsilon_outside_root: bool = False
    unbiased: bool = False
    backward_epsilon: float = 1e-5

    def divisor(self, variance):
        """What ``(x - mean)`` is divided by in the forward pass."""
        if self.epsilon_outside_root:
            return variance**0.5 + self.epsilon
        return (variance + self.epsilon) ** 0.5

    def variance_for(self, divisor):
        """The variance of which ``divisor`` is made, the other way round; negative where there is none."""
        if self.epsilon_outside_root:
            root = divisor - self.epsilon
            return root * abs(root)
        return divisor**2 - self.epsilon


# The usual rule (cuDNN, PyTorch), by which the published weights were very probably trained (spec 3.2).
STANDARD = BatchNormRule("standard", 1e-5)
# The original program on a CPU, forwards and backwards, with its small inconsistencies (spec 3.2); for parity only.
DARKNET_CPU = BatchNormRule("darknet-cpu", 1e-6, epsilon_outside_root=True, unbiased=True)

# OpenCV's reader of the original's files; it does not train.
OPENCV = BatchNormRule("opencv", 1e-6, backward_epsilon=1e-6)

BATCHNORM_RULES = {rule.name: rule for rule in (STANDARD, DARKNET_CPU, OPENCV)}
