"""Training: batches, loss, gradients, steps; and everything that lets a person see and trust it."""

import csv
import io
import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from minidl import Tensor, one_blas_thread, ops, schedules
from minidl.anomaly import first_anomaly
from minidl.device import to_device
from minidl.loss_scale import LossScale
from minidl.optim import SGD, Adam, decay_groups
from yolov3.checkpoint import Checkpoint, save_checkpoint
from yolov3.data.batches import TrainingBatches
from yolov3.devices import computing_in, enough_memory, image_type
from yolov3.errors import UserError
from yolov3.evaluate import evaluate
from yolov3.loss import LossTerms, yolo_loss
from yolov3.pictures import prediction_grid
from yolov3.plots import plot_training_curves
from yolov3.postprocess import predict
from yolov3.resume import BEST, LAST, EpochPart, progress_of, restore, save_last, tidy, tidy_finished
from yolov3.runs import write_text
from yolov3.start import fresh_model
from yolov3.targets import TargetSettings
from yolov3.train_settings import AUGMENTATIONS
from yolov3.watch import stopped, what_to_try, where_it_began

WARM_UP_STEPS = 50
CLEAN_SHARE = 0.05  # of the steps, at the end, without augmentation
FINAL_RATE = 0.01  # of the learning rate, at the end of the cosine
VALIDATIONS = 20  # over the whole run, about
SAVE_EVERY = 10.0  # minutes after which a checkpoint is written within an epoch, too
COLUMNS = ("epoch", "step", "loss", *LossTerms.names, "learning_rate", "seconds", "mAP50", "mAP50_95")


class TrainingRun:
    """One run: the network, the optimiser, the batches, and where it stands.

    ``train_set`` and ``validation_set`` are data sets with the same classes; ``data`` (JSON values) says what data
    sets these were, for a resumed run to open them again; ``model`` is the network to train, :func:`fresh_model` by
    default.  :meth:`resume` continues a run.  Raises UserError where these do not fit together.

    ``device`` and ``precision`` (:func:`yolov3.devices.choose_device`) say how to compute, ``save_every`` after how
    many minutes to write a checkpoint within an epoch, beside those after each; a run may be resumed with others than
    it began with.
    """

    def __init__(
        self,
        settings,
        train_set,
        validation_set,
        data,
        model=None,
        device="cpu",
        precision="fp32",
        save_every=SAVE_EVERY,
    ):
        self.settings, self.data = settings, data
        self.train_set, self.validation_set = train_set, validation_set
        self.device, self.precision = device, precision
        with self._enough_memory():
            self.model = (model or fresh_model(settings, train_set)).to(device)
            self.optimizer = _make_optimizer(settings, self.model)
        # In all but float16 the loss is not scaled, but its gradients are checked in the same way.
        self.loss_scale = LossScale() if precision == "fp16" else LossScale(1, double_after=None)
        self.save_every = save_every
        self.model.configure_batchnorm(momentum=settings.momentum)
        self.folder = None  # where run() writes
        self.batches = TrainingBatches(
            train_set, settings.image_size, settings.batch, AUGMENTATIONS[settings.augmentation], settings.seed
        )
        self.total_steps = settings.epochs * len(self.batches)
        warm_up = max(1, min(WARM_UP_STEPS, self.total_steps // 5))
        rate = schedules.cosine(settings.learning_rate, self.total_steps, FINAL_RATE)
        self.schedule = schedules.burn_in(rate, warm_up, power=1)
        self.epoch = 0  # epochs completed
        self.part = EpochPart()  # of the next one
        self.rows = []  # of results.csv, one per epoch
        self.best = -1.0  # best mAP@0.5 so far

    def resume(self, checkpoint):
        """Continue where a checkpoint of a run with these settings stands; the run must have been made with its model.

        On the CPU the run then ends with the very numbers of one that was never interrupted.  Raises UserError if the
        data changed.
        """
        restore(self, checkpoint)

    def run(self, folder, bar):
        """Train to the last epoch and write everything to ``folder``; ``bar`` is a tqdm bar over all steps.

        Returns the last Evaluation, or None where there is nothing left to do.
        """
        self.folder = Path(folder)
        tidy(self.folder)
        self._saved_at = time.monotonic()
        bar.update(self.epoch * len(self.batches) + self.part.steps - bar.n)
        every = max(1, self.settings.epochs // VALIDATIONS)
        evaluation = None
        while self.epoch < self.settings.epochs:
            row = self._train_epoch(bar)
            self.epoch, self.part = self.epoch + 1, EpochPart()
            evaluation = None
            if self.epoch % every == 0 or self.epoch == self.settings.epochs:
                bar.set_postfix_str("validating")
                sizes = self.settings.image_size, self.settings.batch
                evaluation = evaluate(self.model, self.validation_set, *sizes, precision=self.precision)
                row |= {"mAP50": evaluation.voc.mean_ap, "mAP50_95": evaluation.coco.ap}
                bar.set_postfix_str(f"mAP@0.5 {evaluation.voc.mean_ap:.3f}")
            self.rows.append(row)
            self._write(evaluation)
        tidy_finished(self.folder)
        return evaluation

    def _train_epoch(self, bar):
        """All steps of one epoch that are left; its row of results.csv, with the mean of each loss term."""
        self.model.train()
        begin = time.perf_counter() - self.part.seconds
        first_step = self.epoch * len(self.batches)
        clean_from = max(0, math.ceil(self.total_steps * (1 - CLEAN_SHARE)) - first_step)
        bar.set_description(f"epoch {self.epoch + 1}/{self.settings.epochs}")
        for batch in self.batches.epoch(self.epoch, start=self.part.steps, clean_from=clean_from):
            step = first_step + self.part.steps + 1
            with one_blas_thread:
                terms = self._step(batch, step)
            self.part.add(terms, time.perf_counter() - begin)
            bar.update()
            bar.set_postfix_str(f"loss {terms['loss']:.2f}, rate {self.optimizer.learning_rate:.1e}", refresh=False)
            is_last = self.part.steps == len(self.batches)
            if is_last or time.monotonic() - self._saved_at >= 60 * self.save_every:
                self._check_output(batch, step)
                if not is_last:  # the epoch's own checkpoint follows its validation
                    self._save_last()
                    self.model.train()
        return {
            "epoch": self.epoch + 1,
            "step": step,
            **{name: value / len(self.batches) for name, value in self.part.sums.items()},
            "learning_rate": self.optimizer.learning_rate,
            "seconds": round(time.perf_counter() - begin, 2),
        }

    @np.errstate(over="ignore", invalid="ignore")  # what overflows is found in the loss and the gradients
    def _step(self, batch, step):
        """One update.  Returns the loss and its terms as numbers.

        Raises UserError if the loss or a gradient is not finite; the weights are then those before the step.
        """
        self.optimizer.learning_rate = self.schedule(step)
        could_scale_down = self.loss_scale.factor > 1
        with computing_in(self.precision), self._enough_memory():
            loss = self._loss(batch)
            is_finite, values = self._learn(loss.total, (getattr(loss, name) for name in LossTerms.names))
        terms = dict(zip(("loss", *LossTerms.names), map(float, values), strict=True))
        if not math.isfinite(terms["loss"]):
            raise self._diverged(f"the loss became {terms['loss']}", step, lambda: self._scaled_loss(batch), terms)
        if not is_finite and not could_scale_down:
            raise self._diverged("a gradient became infinite or NaN", step, lambda: self._scaled_loss(batch))
        return terms

    def _loss(self, batch):
        """:class:`LossTerms` of a batch for the network as it is."""
        images = batch.images.astype(image_type(self.precision), copy=False)
        images, truths = to_device(images, self.device), to_device(batch.truths, self.device)
        heads = self.model(Tensor(images))
        if self.precision == "fp16":
            heads = [ops.cast(head, np.float32) for head in heads]
        targets = TargetSettings(ignore_threshold=self.settings.ignore_threshold)
        return yolo_loss(heads, truths, self.model.anchors, self.model.strides, targets)

    def _scaled_loss(self, batch):
        with computing_in(self.precision):
            return self.loss_scale.scale(self._loss(batch).total)

    def _learn(self, loss, terms):
        """Move the weights against the gradient of the loss, if that and the loss are finite.

        Returns whether the gradient is, and the loss and its terms as numbers.  Reading them is the one copy from a
        GPU, and the one time that a step waits for it.
        """
        self.optimizer.zero_grad()
        self.loss_scale.scale(loss).backward()
        is_finite, values = self.loss_scale.unscale_and_check(self.optimizer, loss, *terms)
        if is_finite and math.isfinite(values[0]):
            self.optimizer.step()
        return is_finite, values

    def _check_output(self, batch, step):
        """UserError if the network's output is not finite: the last loss was that of the weights before the step."""
        try:
            predict(self.model, batch.images)
        except UserError as error:
            images = to_device(batch.images, self.device)
            what = "the network's output became infinite or NaN"
            raise self._diverged(what, step, lambda: self.model(Tensor(images))) from error

    def _enough_memory(self):
        return enough_memory(self.device, self.settings.batch, self.settings.image_size)

    @np.errstate(all="ignore")
    def _diverged(self, what, step, compute, terms=None):
        """The UserError for what is not finite; ``compute`` computes it again, to find where it began."""
        try:
            with one_blas_thread:
                anomaly = first_anomaly(self.model, compute)
        except MemoryError:  # it keeps more than a step does
            anomaly = None
        last = self.folder and self.folder / LAST
        last = last if last and last.is_file() else None
        advice = what_to_try(self.settings, self.precision, last, step, anomaly)
        return stopped(what, step, where_it_began(anomaly, terms), advice)

    def _write(self, evaluation):
        """After every epoch: the table and the checkpoint; after a validation also curves, pictures and ``best``."""
        write_text(self.folder / "results.csv", _as_csv(self.rows))
        if evaluation is not None:
            plot_training_curves(self.rows, self.folder / "curves.png")
            prediction_grid(self.folder / "predictions.png", self.validation_set, evaluation.detections)
        is_best = evaluation is not None and evaluation.voc.mean_ap > self.best
        if is_best:  # first, so that what ``last`` says of the best is true whenever the machine stops
            self.best = evaluation.voc.mean_ap
            save_checkpoint(self.folder / BEST, self._checkpoint())
        self._save_last()

    def _save_last(self):
        save_last(self.folder, self._checkpoint())
        self._saved_at = time.monotonic()

    def _checkpoint(self):
        progress = {"settings": asdict(self.settings), "data": self.data, **progress_of(self)}
        return Checkpoint(
            self.model,
            self.settings.model,
            self.settings.lateral,
            self.train_set.names,
            self.settings.image_size,
            progress,
            self.optimizer.state_dict(),
        )


def _make_optimizer(settings, model):
    if settings.optimizer == "sgd":
        return SGD(decay_groups(model, 5e-4), settings.learning_rate)
    return Adam(model.parameters(), settings.learning_rate)


def _as_csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return text.getvalue()
