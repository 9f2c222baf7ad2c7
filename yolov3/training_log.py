"""What a person sees of a training run while it runs: the bar, ``results.csv``, figures, pictures, TensorBoard."""

import csv
import io
import sys
import time

from yolov3.label_figure import plot_labels
from yolov3.loss import LossTerms
from yolov3.pictures import batch_grid, prediction_grid
from yolov3.plots import plot_training_curves
from yolov3.progress import show_step, start_bar_at
from yolov3.runs import write_text
from yolov3.tensorboard import EventFile, has_events

LOSSES = ("loss", *LossTerms.names)
COLUMNS = ("epoch", "step", *LOSSES, "learning_rate", "seconds", "mAP50", "mAP50_95", "images_per_second", "boxes")
DRAWING_SHARE = 0.1  # of the time, at most, goes into drawing the curves again: so only very short epochs go without
HOPELESS = 5  # validations with mAP 0, after which it is time to look for the reason


class TrainingLog:
    """Shows a :class:`yolov3.train.TrainingRun` in its folder and on ``bar``, a tqdm bar over all its steps.

    ``tensorboard``: whether to write event files, too; where there are some already, the run goes on writing them.

    Of several processes that train together only one has a log that writes.
    """

    def __init__(self, run, bar, tensorboard=False):
        self.run, self.bar, self.folder = run, bar, run.folder
        self.tensorboard = tensorboard or has_events(self.folder)
        self.events = None  # opened when there is something to write
        self._begun = False
        self._draw_at = 0.0  # time.monotonic() from which on to draw the curves again
        start_bar_at(bar, run.epoch * len(run.batches) + run.part.steps)

    def batch(self, batch):
        """Before a step.  With the first one: what the labels are, in figures and as the network sees them."""
        if self._begun:
            return
        self._begun = True
        train_set, model = self.run.train_set, self.run.model
        labels, pictures = self.folder / "labels.png", self.folder / "train_batch.png"
        if not labels.exists():
            plot_labels(train_set, model.anchor_groups(), self.run.settings.image_size, labels)
        if not pictures.exists():
            batch_grid(pictures, batch, train_set.names)
        if self.tensorboard:
            is_new = not has_events(self.folder)
            self.events = EventFile(self.folder, self.run.rows)
            for path in (labels, pictures) if is_new else ():
                self.events.picture(path, step=0)

    def step(self, values, rate):
        """After a step: its loss and terms on the bar, and the learning rate."""
        run = self.run
        self.bar.update()
        speed = run.part.steps * run.settings.batch / run.part.seconds
        show_step(self.bar, run.epoch + 1, run.settings.epochs, values, rate, speed)

    def validating(self):
        """Before a validation."""
        self.bar.set_postfix_str("validating")

    def epoch(self, rows, evaluation, is_last):
        """After an epoch: ``rows`` of all so far, and the last one's Evaluation or None; ``is_last``: of the run."""
        row = rows[-1]
        write_text(self.folder / "results.csv", results_csv(rows))
        if is_last or time.monotonic() >= self._draw_at:
            self._draw_curves(rows)
        if evaluation is not None:
            self.bar.set_postfix_str(f"mAP@0.5 {evaluation.voc.mean_ap:.3f}")
            prediction_grid(self.folder / "predictions.png", self.run.validation_set, evaluation.detections)
        if self.events is not None:
            self.events.scalars(row)
            if evaluation is not None:
                self.events.picture(self.folder / "predictions.png", row["step"])
        for remark in remarks(rows):
            self.bar.write(remark, file=sys.stderr)

    def _draw_curves(self, rows):
        begin = time.monotonic()
        plot_training_curves(rows, self.folder / "curves.png")
        end = time.monotonic()
        self._draw_at = end + (end - begin) / DRAWING_SHARE


class NoLog:
    """For a process beside the one that has the :class:`TrainingLog`: it shows nothing."""

    def batch(self, batch):
        """Nothing."""

    def step(self, values, rate):
        """Nothing."""

    def validating(self):
        """Nothing."""

    def epoch(self, rows, evaluation, is_last):
        """Nothing."""


def results_csv(rows):
    """The rows of a run as the text of ``results.csv``; the columns ``matched_8``, ... are those that rows have."""
    matched = sorted({name for row in rows for name in row if name.startswith("matched_")}, key=_stride)
    text = io.StringIO()
    writer = csv.DictWriter(text, (*COLUMNS, *matched), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def remarks(rows):
    """Sentences about what cannot be meant to be in the last of ``rows``; mostly none."""
    row, found = rows[-1], []
    matched = {_stride(name): count for name, count in row.items() if name.startswith("matched_")}
    by_stride = ", ".join(f"{count} at stride {stride}" for stride, count in sorted(matched.items()))
    if matched and not any(matched.values()):
        found.append(
            f"epoch {row['epoch']}: no prediction had an object to learn ({row['boxes']} boxes in its batches): "
            "see train_batch.png and labels.png, and yolov3 check-data"
        )
    validated = [each["mAP50"] for each in rows if "mAP50" in each]
    if "mAP50" in row and len(validated) == HOPELESS and not any(validated):
        found.append(
            f"epoch {row['epoch']}: mAP@0.5 is still 0; objects to learn in this epoch: {by_stride}.  See in "
            "train_batch.png whether the boxes lie on objects, and try yolov3 overfit, which says whether they can be "
            "learned at all"
        )
    return found


def _stride(name):
    return int(name.removeprefix("matched_"))
