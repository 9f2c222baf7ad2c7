"""Every convolution of YOLOv3-416 by every way, tile and split: does the choice, which never measures, choose well?

Each product is measured as it is met in a network: its inputs are in no cache.  What is recorded suffices to tune the
choice (:mod:`minidl.kernels.cuda.conv_choice`) without a GPU.
"""

from functools import partial

import numpy as np

from minidl.device import array_library, to_device
from minidl.kernels.cuda.conv import WAYS, plan_of
from minidl.kernels.cuda.conv_choice import (
    TILES,
    Plan,
    estimated_time,
    forward_product,
    grad_input_product,
    grad_weight_product,
    partial_sums,
    possible_parts,
)
from minidl.kernels.cuda.conv_shape import Epilogue
from tests.gpu.roofline import layers_of, least_seconds
from tests.gpu.stage import main
from tests.gpu.timing import KernelClock
from yolov3.devices import computing_in, image_type
from yolov3.model import build_model

PRESET, SIDE = "yolov3", 416
MINIATURE = "yolov3-nano", 32
# (product, batch): batch 1 is inference alone
CASES = (("forward", 1), ("forward", 8), ("grad_input", 8), ("grad_weight", 8))
PRECISIONS = ("tf32", "fp16", "fp32")
SLOPE = 0.1
REPEAT = 5
BLOCK = 1 << 16
PLANS_PER_TILE = 3  # splits: those that the choice holds for the best with this tile
FEW = 2  # layers of the miniature


def run(stage):
    clock = KernelClock(stage.device)
    ceilings = stage.found_by("environment").get("ceilings", {})
    headlines = []
    for product, batch in CASES[:1] if stage.emulated else CASES:
        preset, side = MINIATURE if stage.emulated else (PRESET, SIDE)
        layers = layers_of(build_model(preset, seed=0), (batch, side, side, 3))
        layers = dict(list(layers.items())[: FEW if stage.emulated else None])
        for precision in ("fp32",) if stage.emulated else PRECISIONS:
            rows = {}
            print(
                f"\n{product}, batch {batch}, {precision}: milliseconds; way rows x columns / parts\n{HEAD}", flush=True
            )
            for layer, count in layers.items():
                rows[str(layer)] = measure_layer(layer, count, product, precision, stage.device, clock)
                print(line(layer, rows[str(layer)], precision, ceilings), flush=True)
            stage.record(f"{product}, batch {batch}, {precision}", rows)
            chosen, best = (sum(row["count"] * row["ms"][row[which]] for row in rows.values()) for which in CHOSEN_BEST)
            print(f"all {sum(layers.values())}: {chosen:.2f} ms by the chosen plans, {best:.2f} by the best")
            headlines.append(f"{product} batch {batch} {precision} {chosen:.2f} ms (best plans {best:.2f})")
    stage.say("; ".join(headlines))


CHOSEN_BEST = ("chosen", "best")
HEAD = f"{'layer':<30}{'count':>6}  {'chosen':<26}{'ms':>8}{'TFLOP/s':>9}{'roofline':>10}  {'best':<26}{'ms':>8}"


def line(layer, row, precision, ceilings):
    chosen, best = row["ms"][row["chosen"]], row["ms"][row["best"]]
    least = least_seconds(layer, precision, ceilings)
    share = f"{1e3 * least / chosen:>10.1%}" if least else " " * 10
    speed = layer.operations / chosen / 1e9
    text = f"{layer!s:<30}{row['count']:>6}  {row['chosen']:<26}{chosen:>8.3f}{speed:>9.2f}{share}"
    return f"{text}  {row['best']:<26}{best:>8.3f}"


def measure_layer(layer, count, product, precision, device, clock):
    """``{"count", "chosen", "best": names of plans, "ms": {plan: milliseconds}}``."""
    with computing_in(precision):
        sizes, arrays, call = bind(layer, product, precision, device)
        chosen, milliseconds = plan_of(sizes, *arrays), {}
        for plan in [chosen, *possible_plans(sizes, tensor=chosen.way == "tensor")]:
            if plan_name(plan) not in milliseconds:
                milliseconds[plan_name(plan)] = 1e3 * clock.seconds(partial(call, plan), REPEAT)
    best = min(milliseconds, key=milliseconds.get)
    return {"count": count, "chosen": plan_name(chosen), "best": best, "ms": milliseconds}


def bind(layer, product, precision, device):
    """(sizes of the product, its maps and weight, a function of a Plan that computes it).

    The choice asks the maps and the weight whether tensor cores can take them.
    """
    xp, dtype = array_library(device), image_type(precision)
    x, y = numbers(layer.input_shape, dtype, device), numbers(layer.output_shape, dtype, device)
    steps = (layer.stride,) * 2, (layer.padding,) * 2
    weight = numbers(layer.weight_shape, np.float32 if product == "grad_weight" else dtype, device)
    sizes = {
        "forward": lambda: forward_product(layer.weight_shape, layer.output_shape),
        "grad_input": lambda: grad_input_product(layer.weight_shape, layer.input_shape, steps[0]),
        "grad_weight": lambda: grad_weight_product(layer.weight_shape, layer.output_shape),
    }[product]()
    epilogue = Epilogue(numbers(layer.weight_shape[3:], np.float32, device), SLOPE)

    def call(plan):
        way, workspace = WAYS[plan.way], xp.empty(max(1, partial_sums(sizes, plan)), np.float32)
        if product == "forward":
            way.forward(x, weight, y, *steps, epilogue, plan, workspace)
        elif product == "grad_input":
            way.grad_input(y, weight, x, *steps, plan)
        else:
            way.grad_weight(x, y, weight, *steps, plan, workspace)

    return sizes, {"forward": (x, weight, y), "grad_input": (y, weight, x), "grad_weight": (x, y)}[product], call


def numbers(shape, dtype, device):
    """Random numbers, the same again and again: a small block of them is enough to be random for a kernel."""
    block = np.random.default_rng(0).standard_normal(BLOCK).astype(dtype)
    return to_device(np.resize(block, shape), device)


def possible_plans(sizes, tensor):
    """For each tile, the few splits that the choice expects most of; no plain way where there are tensor cores."""
    for tile in TILES:
        if tile.way == ("plain" if tensor else "tensor"):
            continue
        parts = sorted(possible_parts(sizes, tile.way), key=lambda parts, tile=tile: estimated_time(sizes, tile, parts))
        for each in parts[:PLANS_PER_TILE]:
            yield Plan(tile.way, (tile.rows, tile.columns), each)


def plan_name(plan):
    """Such as ``tensor 128x64 / 4``."""
    name = f"{plan.way} {plan.tile[0]}x{plan.tile[1]}"
    return name if plan.parts == 1 else f"{name} / {plan.parts}"


if __name__ == "__main__":
    main(run, __doc__)
