"""Runs this project's kernels on the emulator and compares them with the CPU's; for a process under a sanitizer.

python -m tests.minidl.cuda.sanitized_kernels
"""

import numpy as np

import minidl.kernels.cpu as on_cpu
import minidl.kernels.cuda as on_gpu
from minidl.device import to_cpu, to_device
from minidl.kernels.batchnorm_rules import STANDARD
from minidl.kernels.cuda.settings import cuda_settings
from tests.minidl.harness import assert_close, numbers


def case(function, *arguments, tolerance=2e-5, **settings):
    """One call of a kernel's function: arrays among the arguments are float32.  settings: of ``cuda_settings``."""
    arguments = [each.astype(np.float32) if isinstance(each, np.ndarray) else each for each in arguments]
    return function, arguments, tolerance, settings


MAP, GRAD = numbers(2, 5, 7, 4), numbers(2, 5, 7, 8, seed=1)  # odd sizes: the last blocks have threads to spare
WEIGHT, GAMMA = numbers(3, 3, 4, 8, seed=2), np.abs(numbers(4, seed=3))
CONV, POOL = ((1, 1), (1, 1)), (2, 2, 1)
STATISTICS = (MAP.mean((0, 1, 2)), MAP.var((0, 1, 2)))
NORMALISED = on_cpu.batchnorm_train(MAP, GAMMA, GAMMA, STANDARD, 0.1)[0]
POOLED = on_cpu.maxpool2d(MAP, *POOL)

CASES = [
    case("leaky_relu", MAP, 0.1),
    case("leaky_relu_grad", MAP, MAP[::-1], 0.1),
    *(case("conv2d", MAP, WEIGHT, np.ones(8), *CONV, convolution=way) for way in ("plain", "blocked")),
    *(case("conv2d_grad_input", GRAD, WEIGHT, (5, 7), *CONV, convolution=way) for way in ("plain", "blocked")),
    *(case("conv2d_grad_weight", MAP, GRAD, (3, 3), *CONV, convolution=way) for way in ("plain", "blocked")),
    case("conv2d", MAP, WEIGHT, None, *CONV, tolerance=3e-3, convolution="tensor", precision="tf32"),
    case("conv2d_grad_weight", MAP, GRAD, (3, 3), *CONV, tolerance=3e-3, convolution="tensor", precision="tf32"),
    case("conv2d_grad_bias", GRAD),
    case("batchnorm_train", MAP, GAMMA, GAMMA, STANDARD, 0.1),
    case("batchnorm_eval", MAP, GAMMA, GAMMA, *STATISTICS, STANDARD, 0.1),
    case("batchnorm_train_grad", MAP[::-1], MAP, NORMALISED, GAMMA, *STATISTICS, STANDARD, 0.1),
    case("maxpool2d", MAP, *POOL),
    case("maxpool2d_grad", numbers(*POOLED.shape), MAP, POOLED, *POOL),
    case("global_average_pool", MAP),
    case("upsample_nearest", MAP, 2),
    case("upsample_nearest_grad", numbers(2, 4, 6, 3), 2),
    case("upsample_bilinear", MAP, 2),
    case("softmax", numbers(5, 7)),
    case("bce_with_logits", MAP, np.abs(MAP) / 5, None),
    case("bce_with_logits_grad", np.ones(()), MAP, np.abs(MAP) / 5, None),
]


def results(library, function, arguments):
    """What a function returns, as a list of NumPy arrays."""
    found = getattr(library, function)(*arguments)
    return [to_cpu(each) for each in (found if isinstance(found, tuple) else (found,))]


if __name__ == "__main__":
    for function, arguments, tolerance, settings in CASES:
        on_device = [to_device(each, "emulated") if isinstance(each, np.ndarray) else each for each in arguments]
        with cuda_settings(**settings):
            found = results(on_gpu, function, on_device)
        for own, wanted in zip(found, results(on_cpu, function, arguments), strict=True):
            assert_close(own, wanted, tolerance, function)
    print(f"{len(CASES)} cases are right")
