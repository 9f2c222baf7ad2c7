"""The cheapest test of a whole training pipeline: can it learn one batch by heart?

A network that cannot repeat four pictures which it sees hundreds of times will learn nothing from four thousand.  So
before a long training this says in a minute whether data, labels, targets, loss, gradients and decoding work together.
"""

from dataclasses import dataclass

import numpy as np

from minidl import one_blas_thread
from yolov3.errors import UserError
from yolov3.evaluate import evaluate
from yolov3.pictures import prediction_grid
from yolov3.preflight import training_report
from yolov3.progress import progress_bar
from yolov3.train import TrainingRun
from yolov3.wording import count_of

LEARNING_RATE = 5e-3
GOOD_MAP = 0.9  # mAP@0.5 from which on a batch is learned
LOOK_EVERY = 50  # steps: how often to see whether it is


@dataclass(frozen=True, eq=False)
class Part:
    """Some pictures of a data set."""

    names: list
    records: list
    whole: object
    indices: list

    def __len__(self):
        return len(self.indices)

    def load_image(self, index):
        """Picture ``index`` of the part."""
        return self.whole.load_image(self.indices[index])


def one_batch(dataset, size, seed):
    """``size`` pictures of a data set with something to learn in them, chosen at random; fewer if there are no more."""
    order = np.random.default_rng(seed).permutation(len(dataset)).tolist()
    useful = [index for index in order if (~(dataset.records[index].difficult | dataset.records[index].crowd)).any()]
    chosen = sorted(useful[:size])
    return Part(dataset.names, [dataset.records[index] for index in chosen], dataset, chosen)


def run_overfit(folder, settings, part, device="cpu", precision="fp32"):
    """Train on one batch, the same in every step, until it is known by heart; returns a sentence that says so.

    Leaves ``predictions.png`` in ``folder``.  ``settings``: a :class:`yolov3.train_settings.TrainSettings` without
    augmentation; its epochs, of one step each, are the most steps taken.  ``part``: what :func:`one_batch` gives.
    Raises UserError where mAP@0.5 on these very pictures does not reach GOOD_MAP.
    """
    run = TrainingRun(settings, part, part, {}, device=device, precision=precision)
    run.folder = folder
    advice = training_report(part, run.model.anchor_groups(), settings.image_size)
    (batch,) = run.batches.epoch(0)
    losses = []
    with progress_bar(settings.epochs, "step") as bar:
        for step in range(1, settings.epochs + 1):
            run.learner.begin_epoch(step - 1)  # an epoch is one step here
            with one_blas_thread:
                losses.append(run.learner.step(batch, step)["loss"])
            bar.update()
            bar.set_postfix_str(f"loss {losses[-1]:.3g}", refresh=False)
            if step % LOOK_EVERY == 0 or step == settings.epochs:
                evaluation = evaluate(run.model, part, settings.image_size, settings.batch, precision=precision)
                if evaluation.voc.mean_ap >= GOOD_MAP:
                    break
    prediction_grid(folder / "predictions.png", part, evaluation.detections)
    pictures = count_of(len(part), "picture")
    result = (
        f"loss {losses[0]:.3g} -> {losses[-1]:.3g} in {len(losses)} steps on {pictures}, "
        f"mAP@0.5 on them {evaluation.voc.mean_ap:.3f}"
    )
    if evaluation.voc.mean_ap >= GOOD_MAP:
        return f"{result}: the pipeline can learn"
    raise UserError(
        f"{result}, below {GOOD_MAP}: it did not learn even these; see in {folder / 'predictions.png'} whether the "
        f"dashed boxes, the labels, lie on objects; then try more --steps, a larger --imgsz or another --lr"
        + "".join(f"; {line}" for line in advice)
    )
