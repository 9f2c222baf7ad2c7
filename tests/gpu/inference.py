"""Seconds of a forward pass of YOLOv3-416, from images on the GPU to heads on the GPU, against PyTorch."""

from functools import cache, partial

import numpy as np

from tests.benchmarks.peers import fill_with_numbers
from tests.gpu.comparison import HEAD, PYTORCH, compare, sentence_of
from tests.gpu.our_programs import our_forward
from tests.gpu.roofline import layers_of
from tests.gpu.stage import installed_torch, main
from yolov3.model import build_model

CASES = (("yolov3", 416, 1), ("yolov3", 416, 8))  # preset, side, batch
MINIATURE = (("yolov3-nano", 32, 1),)
PRECISIONS = ("tf32", "fp16", "fp32")  # the most telling first
SECONDS, ROUNDS = 8, 7  # of a case in a precision
GRAPH, EAGER = "this project, graph", "this project, layer by layer"


def run(stage):
    headlines, failed = [], []
    for preset, side, batch in MINIATURE if stage.emulated else CASES:
        model = build_model(preset, seed=0)
        fill_with_numbers(model)
        images = np.random.default_rng(0).random((batch, side, side, 3), dtype=np.float32)
        layers = layers_of(model, images.shape)
        case = f"{preset}-{side}, batch {batch}"
        print(f"\n{case}\n{HEAD}", flush=True)
        for precision in ("fp32",) if stage.emulated else PRECISIONS:
            makers = our_makers(stage, model, images, precision) | torch_makers(stage, model, images, precision)
            medians = compare(stage, case, precision, makers, layers, 1, SECONDS, ROUNDS)
            headlines.append(sentence_of(f"batch {batch} {precision}", medians, GRAPH))
            failed += [f"{case}, {precision}"] * (not {GRAPH, EAGER} <= medians.keys())
    stage.say("; ".join(headlines))
    if failed:
        raise SystemExit(f"these failed: {'; '.join(failed)}")


def our_makers(stage, model, images, precision):
    forward = partial(our_forward, model, images, precision, stage.device)
    return {GRAPH: partial(forward, fused=True), EAGER: partial(forward, fused=False)}


def torch_makers(stage, model, images, precision):
    """PyTorch as one writes it, in the faster layout, and the same recorded as a CUDA graph."""
    if installed_torch() is None:
        return {}
    from tests.gpu.torch_programs import TorchForward, fastest_layout

    def make(layout):
        return TorchForward(model, images, precision, layout, stage.torch_device)

    layout = cache(lambda: fastest_layout(make, stage.device))
    makers = {PYTORCH: lambda: make(layout())}
    if stage.torch_device == "cuda":
        makers[f"{PYTORCH}, graph"] = lambda: make(layout()).recorded()
    return makers


if __name__ == "__main__":
    main(run, __doc__)
