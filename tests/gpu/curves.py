"""A short training run of the smallest network on generated pictures: does the GPU's loss follow the CPU's?

The first loss is that of equal weights.  After that each step builds on the rounding of the one before: on the CPU
itself, weights that are moved by 1e-7 of themselves change single losses by 0.1 % after six steps and by up to 2 %
after thirty.  So in the end means are compared.  float16 lags a little: its first steps are left out until the loss's
scale fits.
"""

import numpy as np

from minidl import one_blas_thread
from tests.gpu.stage import main
from yolov3.data.shapes import ShapesDataset
from yolov3.train import TrainingRun
from yolov3.train_settings import TrainSettings

STEPS, BATCH, SIDE = 30, 8, 96
MINIATURE = 2, 1, 32
# precision: largest relative difference from the CPU of the first loss, and of the mean of the last third of them
TOLERANCES = {"fp32": (1e-4, 0.03), "tf32": (5e-3, 0.03), "fp16": (5e-3, 0.1)}


def run(stage):
    size = MINIATURE if stage.emulated else (STEPS, BATCH, SIDE)
    expected = losses("cpu", "fp32", *size)
    keep(stage, "cpu", "fp32", expected)
    said, far = [], []
    for precision, tolerances in TOLERANCES.items():
        found = losses(stage.device, precision, *size)
        keep(stage, stage.device, precision, found)
        differences = [abs(a / b - 1) for a, b in zip(first_and_last(found), first_and_last(expected), strict=True)]
        said.append(f"{precision} {differences[0]:.1e} at first, {differences[1]:.2%} at last")
        if not all(value <= allowed for value, allowed in zip(differences, tolerances, strict=True)):
            far.append(precision)
    _, last = first_and_last(expected)
    stage.say(f"loss {expected[0]:.1f} -> {last:.1f} in {size[0]} steps on the CPU; differences: {'; '.join(said)}")
    if far:
        raise SystemExit(f"too far from the CPU's losses: {', '.join(far)}; allowed: {TOLERANCES}")


def keep(stage, device, precision, values):
    stage.record(f"{device}, {precision}", values)
    print(f"{device + ', ' + precision:<16}" + " ".join(f"{each:.2f}" for each in values), flush=True)


def first_and_last(values):
    """The first loss, and the mean of the last third, at least one."""
    return values[0], float(np.mean(values[-max(1, len(values) // 3) :]))


def losses(device, precision, steps, batch, side):
    """The loss of every step, as `yolov3 demo` trains."""
    data = ShapesDataset("train", size=steps * batch, image_size=side)
    settings = TrainSettings(
        image_size=(side, side),
        epochs=1,
        batch=batch,
        learning_rate=5e-3,
        anchors="published",
        augmentation="none",
    )
    training = TrainingRun(settings, data, data, {}, device=device, precision=precision)
    training.model.train()
    with one_blas_thread:
        return [training.learner.step(each, step + 1)["loss"] for step, each in enumerate(training.batches.epoch(0))]


if __name__ == "__main__":
    main(run, __doc__)
