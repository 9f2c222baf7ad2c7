"""Every convolution by every way: does :func:`minidl.kernels.cpu.choice.choose`, which never measures, choose well?

Run from the project's root: ``python -m tests.benchmarks.layers --model yolov3 --imgsz 416 --batch 1``.

A layer is timed as it finds things in a network: its input has just been written, its weights were used a whole
network ago and are in no cache.  So before each run everything is driven out of the caches, and the input read.
"""

import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from minidl import get_num_threads, one_blas_thread
from minidl.inference import FuseSettings
from minidl.kernels.cpu import choice
from minidl.kernels.cpu.epilogue import Epilogue
from minidl.kernels.cpu.fused_conv import WindowConvolution
from minidl.kernels.cpu.parallel import run_parts
from minidl.kernels.cpu.winograd import WinogradConvolution, padded_size, transform_kernel
from tests.benchmarks.measure import argument_parser, ends_with_a_sentence, positive_integer, start
from tests.benchmarks.peers import OUTPUT_TOLERANCE, PeerError, relative_error
from yolov3.model import PRESETS, build_model, check_image_size

CACHES = 64 << 20  # numbers that are read to drive out what the caches hold: 256 MiB
SLOPE = 0.1


@dataclass(frozen=True)
class Layer:
    """A convolution's shapes: weight (height, width, in, out), output (batch, height, width, out)."""

    weight_shape: tuple
    stride: int
    padding: int
    input_shape: tuple
    output_shape: tuple

    @property
    def operations(self):
        return 2 * int(np.prod(self.weight_shape)) * int(np.prod(self.output_shape[:3]))

    def __str__(self):
        (size, _, channels, filters), (height, width) = self.weight_shape, self.output_shape[1:3]
        return f"{size}x{size}/{self.stride} {channels}->{filters} at {height}x{width}"


@dataclass(frozen=True)
class Timing:
    """count: how often the layer occurs; chosen: name of a way; seconds: ``{name of a way: median seconds}``."""

    layer: Layer
    count: int
    chosen: str
    seconds: dict

    @property
    def best(self):
        return min(self.seconds, key=self.seconds.get)

    @property
    def all_operations(self):
        return self.count * self.layer.operations

    @property
    def lost(self):
        """Seconds that the layers of this kind lose together, because the chosen way is not the best one."""
        return self.count * (self.seconds[self.chosen] - self.seconds[self.best])


def layers_of(model, shape):
    """``{Layer: (how often it occurs, its chosen Way)}`` for images (batch, height, width, 3)."""
    counts, chosen = Counter(), {}
    for convolution, way in model.fuse().network.ways(shape):
        layer = Layer(
            convolution.layer.weight.shape,
            convolution.layer.stride,
            convolution.layer.padding,
            (shape[0], *convolution.input_shape),
            (shape[0], *convolution.output_shape),
        )
        counts[layer] += 1
        chosen[layer] = way
    return {layer: (count, chosen[layer]) for layer, count in counts.items()}


def possible_ways(layer):
    """``{name: Way}``: the window matrix and, where it can be had, Winograd's way with tiles of 2 and of 4.

    Each comes twice, with the map shared out among the threads and with the weights; block sizes are the project's own.
    """
    size, _, channels, filters = layer.weight_shape
    weights = int(np.prod(layer.weight_shape))
    matrix_numbers = int(np.prod(layer.output_shape[:3])) * size * size * channels
    ways = []
    with patch.multiple(choice, MANY_KERNELS=0, MANY_WEIGHTS=0, FEW_NUMBERS=sys.maxsize):  # let the settings decide
        for settings in (FuseSettings(share_weights=False), FuseSettings(share_weights=True)):
            ways.append(choice._window_way(size, matrix_numbers, weights, settings))
            if (size, layer.stride, layer.padding) == (3, 1, 1):
                for tile in settings.winograd:
                    ways.append(choice._winograd_way(tile, channels, filters, layer.output_shape, settings))
    return {way_name(way): way for way in ways}


def way_name(way):
    """Such as ``F4 w``."""
    return ("window" if way.tile is None else f"F{way.tile}") + (" w" if way.shared else "")


def measure_layer(layer, count, chosen, repeat):
    """The :class:`Timing` of a layer on random numbers.  Raises PeerError where two ways differ in their result."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=layer.weight_shape).astype(np.float32)
    epilogue = Epilogue(rng.normal(size=layer.weight_shape[3]).astype(np.float32), SLOPE)
    source = rng.normal(size=layer.input_shape).astype(np.float32)
    ways = possible_ways(layer) | {way_name(chosen): chosen}
    bound = {name: _bind(layer, way, source, weight, epilogue) for name, way in ways.items()}
    with one_blas_thread:
        _check(bound)
        caches = np.zeros(CACHES, np.float32)
        seconds = {name: [] for name in bound}
        for _ in range(repeat):
            for name, (padded, _, function) in bound.items():
                run_parts(np.sum, np.array_split(caches, get_num_threads()))
                run_parts(np.sum, np.array_split(padded, get_num_threads(), axis=1))
                begin = time.perf_counter()
                function()
                seconds[name].append(time.perf_counter() - begin)
    return Timing(layer, count, way_name(chosen), {name: median(each) for name, each in seconds.items()})


def _bind(layer, way, source, weight, epilogue):
    """(padded input, output, function that computes it in this way)."""
    batch, height, width, channels = source.shape
    before = layer.padding
    sides = (height + 2 * before, width + 2 * before) if way.tile is None else padded_size((height, width), way.tile)
    padded = np.zeros((batch, *sides, channels), np.float32)
    padded[:, before : before + height, before : before + width] = source
    target = np.empty(layer.output_shape, np.float32)
    if way.tile is None:
        convolution = WindowConvolution(padded, weight, layer.stride, target, epilogue)
    else:
        kernel = transform_kernel(weight, way.tile, way.filters_at_once)
        convolution = WinogradConvolution(padded, kernel, way.tile, target, epilogue)
    return padded, target, partial(convolution.by_weights if way.shared else convolution.by_rows, way.at_once)


def _check(bound):
    """All ways compute the same; each has then run once."""
    for _, _, function in bound.values():
        function()
    (first, expected), *others = [(name, target) for name, (_, target, _) in bound.items()]
    for name, target in others:
        if not (error := relative_error(expected, target)) <= OUTPUT_TOLERANCE:
            raise PeerError(f"{name} disagrees with {first}: relative error {error:.2g}")


def table(timings):
    """One line per layer, milliseconds; ``*`` marks what is chosen."""
    names = list(dict.fromkeys(name for each in timings for name in each.seconds))
    width = 2 + max(len(str(each.layer)) for each in timings)
    head = "".join(f"{name:>10}" for name in names)
    lines = [f"{'layer':<{width}}{'count':>5}{head}{'chosen / best':>15}{'lost':>8}"]
    for each in timings:
        line = f"{each.layer!s:<{width}}{each.count:>5}"
        for name in names:
            text = f"{1e3 * each.seconds[name]:.2f}" if name in each.seconds else ""
            line += f"{text:>9}{'*' if name == each.chosen else ' '}"
        ratio = each.seconds[each.chosen] / each.seconds[each.best]
        lines.append(f"{line}{ratio:>15.2f}{1e3 * each.lost:>8.2f}")
    return "\n".join(lines)


def summary(timings):
    """What all layers take by the chosen ways, and what is lost of it."""
    total = sum(each.count * each.seconds[each.chosen] for each in timings)
    lost, operations = (sum(getattr(each, name) for each in timings) for name in ("lost", "all_operations"))
    return (
        f"all convolutions: {1e3 * total:.1f} ms ({operations / total / 1e9:.0f} billion operations a second); by the "
        f"best way each: {1e3 * (total - lost):.1f} ms; {1e3 * lost:.1f} ms ({lost / total:.1%}) are lost"
    )


def main(arguments=None):
    parser = argument_parser(__doc__.split("\n")[0])
    parser.add_argument("--model", choices=list(PRESETS), default="yolov3", help="default: yolov3")
    parser.add_argument("--imgsz", type=positive_integer, default=416, help="height and width (default 416)")
    parser.add_argument("--batch", type=positive_integer, default=1, help="pictures at once (default 1)")
    options = parser.parse_args(arguments)
    with ends_with_a_sentence():
        shape = (options.batch, *check_image_size((options.imgsz, options.imgsz)), 3)
        start(options)
        layers = layers_of(build_model(options.model, seed=0), shape)
        timings = [measure_layer(layer, *found, options.repeat) for layer, found in layers.items()]
        print(
            f"\n{options.model}, images {shape}, milliseconds (median of {options.repeat}, weights not in the caches)"
        )
        print("window: window matrix; F2, F4: Winograd's way; w: threads share the weights, else the map; *: chosen")
        print(table(timings))
        print(summary(timings))


if __name__ == "__main__":
    main()
