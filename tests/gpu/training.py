"""Seconds of a training step of YOLOv3-416 against PyTorch: forward, loss, backward, Adam's update, data on the GPU.

float16 is mixed precision with loss scaling in both.
"""

from functools import partial

import numpy as np

from tests.benchmarks.training import shapes_batch
from tests.gpu.comparison import HEAD, PYTORCH, compare, sentence_of
from tests.gpu.our_programs import OurStep
from tests.gpu.roofline import layers_of
from tests.gpu.stage import installed_torch, main
from yolov3.data.batches import Batch
from yolov3.model import build_model

PRESET, SIDE, BATCHES = "yolov3", 416, (8, 32)
MINIATURE = "yolov3-nano", 32, (2,)
PRECISIONS = ("tf32", "fp16", "fp32")  # the most telling first
SECONDS, ROUNDS = 14, 5  # of a batch in a precision
OURS = "this project"
PASSES = 3  # over the convolutions: forward, gradient of the input, gradient of the weight


def run(stage):
    preset, side, batches = MINIATURE if stage.emulated else (PRESET, SIDE, BATCHES)
    model = build_model(preset, seed=0)
    layouts, headlines, failed = {}, [], []
    for size in batches:
        batch = batch_of(size, side)
        layers = layers_of(model, batch.images.shape)
        case = f"{preset}-{side}, batch {size}"
        print(f"\n{case}\n{HEAD}", flush=True)
        for precision in ("fp32",) if stage.emulated else PRECISIONS:
            makers = {OURS: partial(OurStep, preset, model, batch, precision, stage.device)}
            if installed_torch() is not None:
                makers[PYTORCH] = torch_maker(stage, model, batch, precision, layouts)
            medians = compare(stage, case, precision, makers, layers, PASSES, SECONDS, ROUNDS)
            headlines.append(sentence_of(f"batch {size} {precision}", medians, OURS))
            failed += [f"{case}, {precision}"] * (OURS not in medians)
    stage.say("; ".join(headlines))
    if failed:
        raise SystemExit(f"these failed: {'; '.join(failed)}")


def batch_of(size, side):
    """A batch of generated pictures; the eight that there are come again and again."""
    batch, _ = shapes_batch((side, side))
    index = np.arange(size) % len(batch.images)
    return Batch(batch.images[index], batch.truths[index])


def torch_maker(stage, model, batch, precision, layouts):
    """What makes PyTorch's step, in the layout that is faster for this precision with the first, smallest batch."""
    from tests.gpu.torch_programs import TorchStep, fastest_layout

    def make(layout):
        return TorchStep(model, batch, precision, layout, stage.torch_device)

    def make_faster():
        if precision not in layouts:
            layouts[precision] = fastest_layout(make, stage.device)
        return make(layouts[precision])

    return make_faster


if __name__ == "__main__":
    main(run, __doc__)
