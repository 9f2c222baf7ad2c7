"""Every kernel once or more often, with inputs for each device: what is compared, and what compute-sanitizer watches.

``python -m tests.gpu.calls cuda`` makes all calls on the GPU and looks at no result; each array then is an allocation
of its own, so that what writes beyond its end is noticed.
"""

import sys
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from minidl.device import array_library, kernels_for, to_cpu, to_device
from minidl.kernels.batchnorm_rules import STANDARD
from minidl.kernels.cuda.settings import cuda_settings
from yolov3.devices import computing_in, image_type

SLOPE = 0.1
MAP = (2, 9, 7, 40)  # neither square nor a power of 2; more than one tile or block in every direction
# name: (image (batch, height, width, channels), kernel's side, filters, stride, padding)
CONVOLUTIONS = {
    "3x3": ((2, 13, 11, 40), 3, 136, 1, 1),
    "3x3, stride 2": ((2, 14, 18, 24), 3, 48, 2, 1),
    "1x1": ((2, 13, 17, 136), 1, 40, 1, 0),
    "3x3, of an image": ((2, 18, 14, 3), 3, 32, 1, 1),
}
WAYS = {"fp32": ("plain", "blocked"), "tf32": ("tensor",), "fp16": ("plain", "blocked", "tensor")}


class Map:
    """An activation or the gradient of one: float16 where a network computes in fp16; all else stays float32."""

    def __init__(self, array):
        self.array = array


@dataclass(frozen=True)
class Call:
    """One call of a kernel.

    kernel: its name in minidl.kernels.cpu and minidl.kernels.cuda; arguments: as it takes them, with NumPy arrays;
    label: what distinguishes the call; in_place: whether it changes arrays among its arguments, which then count as its
    results; precision, way: as for :class:`minidl.kernels.cuda.settings.CudaSettings`, or ``fp16``.
    """

    kernel: str
    arguments: tuple
    label: str = ""
    in_place: bool = False
    precision: str = "fp32"
    way: str = "auto"

    def __str__(self):
        parts = self.kernel, self.label, self.precision, self.way if self.way != "auto" else ""
        return ", ".join(part for part in parts if part)

    def run(self, device):
        """The results, a list of arrays on the device.

        The CPU, which has no float16, gets the rounded numbers and computes in float32.
        """
        arguments = [self._moved(each, device) for each in self.arguments]
        first = next(each for each in _flat(arguments) if hasattr(each, "dtype"))
        with computing_in(self.precision), cuda_settings(convolution=self.way):
            result = getattr(kernels_for(first), self.kernel)(*arguments)
        results = arguments if self.in_place else [result]
        return [each for each in _flat(results) if hasattr(each, "dtype")]

    def _moved(self, argument, device):
        if isinstance(argument, list):
            return [self._moved(each, device) for each in argument]
        if isinstance(argument, Map):
            rounded = argument.array.astype(image_type(self.precision))
            return to_device(rounded.astype(np.float32) if device == "cpu" else rounded, device)
        return to_device(argument.copy(), device) if isinstance(argument, np.ndarray) else argument


def _flat(values):
    for each in values:
        yield from _flat(each) if isinstance(each, list | tuple) else (each,)


def all_calls(convolutions=tuple(CONVOLUTIONS)):
    """Every :class:`Call`."""
    rng = np.random.default_rng(0)
    calls = _maps(rng) + _convolutions(rng, convolutions)
    return calls + _parameters(rng)


def _maps(rng):
    """Calls that work on maps, in float32 and float16."""
    x, y, grad = (rng.standard_normal(MAP).astype(np.float32) for _ in range(3))
    channels, pixels = MAP[3], MAP[1:3]
    rows, weight = x.reshape(-1, channels), rng.standard_normal((channels, 24)).astype(np.float32)
    row_grads = rng.standard_normal((len(rows), 24)).astype(np.float32)
    gamma, beta, mean = rng.standard_normal((3, channels)).astype(np.float32)
    variance = rng.uniform(0.5, 2, channels).astype(np.float32)
    large = rng.standard_normal((MAP[0], 2 * MAP[1], 2 * MAP[2], channels)).astype(np.float32)
    pooled = x[:, : 2 * (pixels[0] // 2), : 2 * (pixels[1] // 2)]
    pooled = pooled.reshape(MAP[0], pixels[0] // 2, 2, pixels[1] // 2, 2, channels).max(axis=(2, 4))
    calls = [
        Call("leaky_relu", (Map(x), SLOPE)),
        Call("leaky_relu_grad", (Map(grad), Map(y), SLOPE)),
        Call("add", (Map(x), Map(y))),
        Call("batchnorm_train", (Map(x), gamma, beta, STANDARD, SLOPE)),
        Call("batchnorm_eval", (Map(x), gamma, beta, mean, variance, STANDARD, SLOPE)),
        Call("batchnorm_train_grad", (Map(grad), Map(x), Map(y), gamma, mean, variance, STANDARD, SLOPE)),
        Call("batchnorm_eval_grad", (Map(grad), Map(x), Map(y), gamma, mean, variance, STANDARD, SLOPE)),
        Call("maxpool2d", (Map(x), 2, 2, 0)),
        Call("maxpool2d", (Map(x), 2, 1, 1), "stride 1"),
        Call("maxpool2d_grad", (Map(pooled), Map(x), Map(pooled), 2, 2, 0)),
        Call("global_average_pool", (Map(x),)),
        Call("global_average_pool_grad", (Map(x[:, 0, 0]), pixels)),
        Call("upsample_nearest", (Map(x), 2)),
        Call("upsample_nearest_grad", (Map(large), 2)),
        Call("upsample_bilinear", (Map(x), 2)),
        Call("upsample_bilinear_grad", (Map(large), 2)),
        Call("concat", ([Map(x), Map(y[..., :24])],)),
        Call("concat_grad", (Map(x), [24, 16])),
        Call("conv2d_grad_bias", (Map(grad),)),
        Call("linear", (Map(rows), weight, weight[0])),
        Call("linear_grad_input", (Map(row_grads), weight)),
        Call("linear_grad_weight", (Map(rows), Map(row_grads))),
    ]
    return [replace(call, precision=precision) for call, precision in product(calls, ("fp32", "fp16"))]


def _convolutions(rng, names):
    calls = []
    for name in names:
        shape, side, filters, stride, padding = CONVOLUTIONS[name]
        height, width = ((each + 2 * padding - side) // stride + 1 for each in shape[1:3])
        x = rng.standard_normal(shape).astype(np.float32)
        weight = rng.standard_normal((side, side, shape[3], filters)).astype(np.float32)
        bias = rng.standard_normal(filters).astype(np.float32)
        grad = rng.standard_normal((shape[0], height, width, filters)).astype(np.float32)
        steps = (stride, stride), (padding, padding)
        for precision, way in [(precision, way) for precision, ways in WAYS.items() for way in ways]:
            if way == "tensor" and shape[3] % 8:
                continue  # tensor cores take channels by fours and eights
            calls += [
                Call("conv2d", (Map(x), weight, bias, *steps), name, precision=precision, way=way),
                Call("conv2d_grad_input", (Map(grad), weight, shape[1:3], *steps), name, precision=precision, way=way),
                Call(
                    "conv2d_grad_weight", (Map(x), Map(grad), (side, side), *steps), name, precision=precision, way=way
                ),
            ]
    return calls


def _parameters(rng):
    """Calls that work on parameters and losses, which are float32 always."""
    x, targets, weights = rng.standard_normal((3, 300, 7)).astype(np.float32)
    targets, weights = (targets > 0).astype(np.float32), np.abs(weights[:, :1])
    labels, one = rng.integers(0, 7, 300), np.array(0.5, np.float32)
    probabilities = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    vectors = rng.standard_normal((4, 3000)).astype(np.float32)
    vectors[3] **= 2
    return [
        Call("sigmoid", (x,)),
        Call("sigmoid_grad", (x, probabilities)),
        Call("softmax", (x,)),
        Call("softmax_grad", (x, probabilities)),
        Call("log_softmax", (x,)),
        Call("log_softmax_grad", (x, np.log(probabilities))),
        Call("sum_all", (x,)),
        Call("sum_rows", (x,)),
        Call("weighted_sum", (vectors[0], vectors[1], 0.9, 0.1)),
        Call("bce_with_logits", (x, targets, weights)),
        Call("bce_with_logits_grad", (one, x, targets, weights)),
        Call("squared_error", (x, targets, weights)),
        Call("squared_error_grad", (one, x, targets, weights)),
        Call("cross_entropy", (x, labels)),
        Call("cross_entropy_grad", (one, np.log(probabilities), labels)),
        Call("sgd_update", (*vectors[:3], 0.01, 0.9, 5e-4), in_place=True),
        Call("adam_update", (*vectors, 1e-3, (0.9, 0.999), 1e-8, 0.0, 3), in_place=True),
        Call("move_towards", (*vectors[:2], 0.25), in_place=True),
        Call("unscale", (list(vectors[:2]), 0.125), in_place=True),
    ]


def main():
    device = sys.argv[1]
    if device == "cuda":
        array_library(device).cuda.set_allocator(None)  # no pool
    calls = all_calls()
    for call in calls:
        for result in call.run(device):
            to_cpu(result)
    print(f"{len(calls)} calls on {device}")


if __name__ == "__main__":
    main()
