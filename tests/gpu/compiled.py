"""YOLOv3-416 against torch.compile, which takes long to prepare: a forward pass at batch 1, then a training step."""

from functools import partial

import numpy as np

from tests.benchmarks.peers import fill_with_numbers
from tests.gpu.comparison import HEAD, PYTORCH, compare
from tests.gpu.inference import GRAPH, our_makers
from tests.gpu.our_programs import OurStep
from tests.gpu.roofline import layers_of
from tests.gpu.stage import Skipped, installed_torch, main
from tests.gpu.training import OURS, PASSES, batch_of
from yolov3.model import build_model

PRESET, SIDE, BATCH, PRECISION, LAYOUT = "yolov3", 416, 8, "tf32", "channels last"
SECONDS, ROUNDS = 8, 7
# What torch.compile calls its ways: with CUDA graphs, which pay where launches take longer than kernels; and without.
FORWARD_MODE, STEP_MODE = "reduce-overhead", "default"


def run(stage):
    if stage.emulated or installed_torch() is None:
        raise Skipped("torch.compile needs a GPU" if stage.emulated else "PyTorch is not installed")
    from tests.gpu.torch_programs import TorchForward, TorchStep

    model = build_model(PRESET, seed=0)
    fill_with_numbers(model)
    images = np.random.default_rng(0).random((1, SIDE, SIDE, 3), dtype=np.float32)
    make = partial(TorchForward, model, images, PRECISION, LAYOUT, "cuda")
    makers = {
        GRAPH: our_makers(stage, model, images, PRECISION)[GRAPH],
        PYTORCH: make,
        f"{PYTORCH}, compiled": partial(make, compiled=FORWARD_MODE),
    }
    said = _report(stage, "forward, batch 1", makers, layers_of(model, images.shape), 1)

    model, batch = build_model(PRESET, seed=0), batch_of(BATCH, SIDE)
    make = partial(TorchStep, model, batch, PRECISION, LAYOUT, "cuda")
    makers = {
        OURS: partial(OurStep, PRESET, model, batch, PRECISION, "cuda"),
        PYTORCH: make,
        f"{PYTORCH}, compiled": partial(make, compiled=STEP_MODE),
    }
    said += "; " + _report(stage, f"step, batch {BATCH}", makers, layers_of(model, batch.images.shape), PASSES)
    stage.say(said)


def _report(stage, case, makers, layers, passes):
    print(f"\n{case}\n{HEAD}", flush=True)
    medians = compare(stage, case, PRECISION, makers, layers, passes, SECONDS, ROUNDS)
    found = f"{case} {PRECISION}: " + ", ".join(f"{name} {1e3 * value:.2f} ms" for name, value in medians.items())
    stage.say(found)  # in case that time is up before the next
    return found


if __name__ == "__main__":
    main(run, __doc__)
