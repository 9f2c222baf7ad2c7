"""Training: batches, loss, gradients, steps; and everything that lets a person see and trust it."""

import csv
import io
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from minidl import Tensor, one_blas_thread, ops, schedules
from minidl.device import to_device
from minidl.loss_scale import LossScale
from minidl.optim import SGD, Adam, decay_groups
from yolov3.anchors import anchors_by_stride_band, network_sizes
from yolov3.checkpoint import Checkpoint, is_checkpoint, load_checkpoint, save_checkpoint
from yolov3.darknet.weights import read_weights, weight_layers
from yolov3.data.batches import TrainingBatches
from yolov3.devices import computing_in, enough_memory, image_type, to_cpu_together
from yolov3.errors import UserError
from yolov3.evaluate import evaluate
from yolov3.loading import find_weights
from yolov3.loss import LossTerms, yolo_loss
from yolov3.model import build_model, preset
from yolov3.pictures import prediction_grid
from yolov3.plots import plot_training_curves
from yolov3.postprocess import predict
from yolov3.runs import write_text
from yolov3.targets import TargetSettings
from yolov3.train_settings import AUGMENTATIONS

WARM_UP_STEPS = 50
CLEAN_SHARE = 0.05  # of the steps, at the end, without augmentation
FINAL_RATE = 0.01  # of the learning rate, at the end of the cosine
VALIDATIONS = 20  # over the whole run, about
COLUMNS = ("epoch", "step", "loss", *LossTerms.names, "learning_rate", "seconds", "mAP50", "mAP50_95")


class TrainingRun:
    """One run: the network, the optimiser, the batches, and where it stands.

    ``train_set`` and ``validation_set`` are data sets with the same classes; ``data`` (JSON values) says what data
    sets these were, for a resumed run to open them again; ``model`` is the network to train, :func:`fresh_model` by
    default.  :meth:`resume` continues a run.  Raises UserError where these do not fit together.

    ``device`` and ``precision`` (:func:`yolov3.devices.choose_device`) say how to compute; a run may be resumed with
    others than it began with.
    """

    def __init__(self, settings, train_set, validation_set, data, model=None, device="cpu", precision="fp32"):
        self.settings, self.data = settings, data
        self.train_set, self.validation_set = train_set, validation_set
        self.device, self.precision = device, precision
        with self._enough_memory():
            self.model = (model or fresh_model(settings, train_set)).to(device)
            self.optimizer = _make_optimizer(settings, self.model)
        self.loss_scale = LossScale() if precision == "fp16" else None
        self.model.configure_batchnorm(momentum=settings.momentum)
        self.batches = TrainingBatches(
            train_set, settings.image_size, settings.batch, AUGMENTATIONS[settings.augmentation], settings.seed
        )
        self.total_steps = settings.epochs * len(self.batches)
        warm_up = max(1, min(WARM_UP_STEPS, self.total_steps // 5))
        rate = schedules.cosine(settings.learning_rate, self.total_steps, FINAL_RATE)
        self.schedule = schedules.burn_in(rate, warm_up, power=1)
        self.epoch = 0  # epochs completed
        self.rows = []  # of results.csv, one per epoch
        self.best = -1.0  # best mAP@0.5 so far

    def resume(self, checkpoint):
        """Continue where a checkpoint of a run with these settings stands; the run must have been made with its model.

        Raises UserError if the data changed.
        """
        before, now = ", ".join(checkpoint.names), ", ".join(self.train_set.names)
        if before != now:
            raise UserError(f"the data changed since the run began: its classes are {now}, not {before}")
        progress = checkpoint.training
        try:
            self.optimizer.load_state_dict(checkpoint.optimizer)
            self.epoch, self.rows, self.best = progress["epoch"], progress["rows"], progress["best"]
            if self.loss_scale and progress.get("loss_scale"):
                self.loss_scale.load_state_dict(progress["loss_scale"])
            before, now = self.rows[-1]["step"], self.epoch * len(self.batches)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise UserError(f"this checkpoint holds no training run to resume ({error})") from error
        if before != now:
            raise UserError(f"the data changed since the run began: {self.epoch} epochs have {now} steps, not {before}")

    def run(self, folder, bar):
        """Train to the last epoch and write everything to ``folder``; ``bar`` is a tqdm bar over all steps.

        Returns the last Evaluation, or None where there is nothing left to do.
        """
        self.folder = Path(folder)
        bar.update(self.epoch * len(self.batches) - bar.n)
        every = max(1, self.settings.epochs // VALIDATIONS)
        evaluation = None
        while self.epoch < self.settings.epochs:
            row = self._train_epoch(bar)
            self.epoch += 1
            evaluation = None
            if self.epoch % every == 0 or self.epoch == self.settings.epochs:
                bar.set_postfix_str("validating")
                sizes = self.settings.image_size, self.settings.batch
                evaluation = evaluate(self.model, self.validation_set, *sizes, precision=self.precision)
                row |= {"mAP50": evaluation.voc.mean_ap, "mAP50_95": evaluation.coco.ap}
                bar.set_postfix_str(f"mAP@0.5 {evaluation.voc.mean_ap:.3f}")
            self.rows.append(row)
            self._write(evaluation)
        return evaluation

    def _train_epoch(self, bar):
        """All steps of one epoch; its row of results.csv, with the mean of each loss term."""
        self.model.train()
        begin = time.perf_counter()
        sums = dict.fromkeys(("loss", *LossTerms.names), 0.0)
        first_step = self.epoch * len(self.batches)
        clean_from = max(0, math.ceil(self.total_steps * (1 - CLEAN_SHARE)) - first_step)
        bar.set_description(f"epoch {self.epoch + 1}/{self.settings.epochs}")
        for index, batch in enumerate(self.batches.epoch(self.epoch, clean_from=clean_from)):
            with one_blas_thread:
                terms = self._step(batch, first_step + index + 1)
            for name, value in terms.items():
                sums[name] += value
            bar.update()
            bar.set_postfix_str(f"loss {terms['loss']:.2f}, rate {self.optimizer.learning_rate:.1e}", refresh=False)
        means = {name: value / len(self.batches) for name, value in sums.items()}
        step = first_step + len(self.batches)
        try:  # the last loss was that of the weights before the last step
            predict(self.model, batch.images)
        except UserError as error:
            raise self._diverged("the network's output", "infinite or NaN", step) from error
        seconds = round(time.perf_counter() - begin, 2)
        return {
            "epoch": self.epoch + 1,
            "step": step,
            **means,
            "learning_rate": self.optimizer.learning_rate,
            "seconds": seconds,
        }

    @np.errstate(over="ignore", invalid="ignore")  # what overflows is found in the loss
    def _step(self, batch, step):
        """One update.  Returns the loss and its terms as numbers.  Raises UserError if the loss is not finite."""
        images = batch.images.astype(image_type(self.precision), copy=False)
        targets = TargetSettings(ignore_threshold=self.settings.ignore_threshold)
        self.optimizer.learning_rate = self.schedule(step)
        with computing_in(self.precision), self._enough_memory():
            images, truths = to_device(images, self.device), to_device(batch.truths, self.device)
            heads = self.model(Tensor(images))
            if self.precision == "fp16":
                heads = [ops.cast(head, np.float32) for head in heads]
            loss = yolo_loss(heads, truths, self.model.anchors, self.model.strides, targets)
            values = self._learn(loss.total, [loss.total.data, *(getattr(loss, name) for name in LossTerms.names)])
        terms = dict(zip(("loss", *LossTerms.names), map(float, values), strict=True))
        if not math.isfinite(terms["loss"]):
            raise self._diverged("the loss", terms["loss"], step)
        return terms

    def _learn(self, loss, values):
        """Move the weights against the gradient of the loss.  Returns ``values``, arrays of a number each, on the CPU.

        Reading them is the one copy from a GPU, and the one time that a step waits for it.
        """
        self.optimizer.zero_grad()
        if self.loss_scale is None:
            loss.backward()
            self.optimizer.step()
            return to_cpu_together(*values)
        self.loss_scale.scale(loss).backward()
        is_finite, values = self.loss_scale.unscale_and_check(self.optimizer, *values)
        if is_finite:
            self.optimizer.step()
        return values

    def _enough_memory(self):
        return enough_memory(self.device, self.settings.batch, self.settings.image_size)

    def _diverged(self, what, value, step):
        return UserError(
            f"{what} became {value} in step {step}: try a lower --lr than {self.settings.learning_rate:g}; "
            f"the last good checkpoint, if any, is in {self.folder}"
        )

    def _write(self, evaluation):
        """After every epoch: the table and the checkpoint; after a validation also curves, pictures and ``best``."""
        write_text(self.folder / "results.csv", _as_csv(self.rows))
        if evaluation is not None:
            plot_training_curves(self.rows, self.folder / "curves.png")
            prediction_grid(self.folder / "predictions.png", self.validation_set, evaluation.detections)
        is_best = evaluation is not None and evaluation.voc.mean_ap > self.best
        if is_best:
            self.best = evaluation.voc.mean_ap
        checkpoint = self._checkpoint()
        if is_best:  # first, so that what ``last`` says of the best is true whenever the machine stops
            save_checkpoint(self.folder / "best.npz", checkpoint)
        save_checkpoint(self.folder / "last.npz", checkpoint)

    def _checkpoint(self):
        progress = {
            "settings": asdict(self.settings),
            "data": self.data,
            "epoch": self.epoch,
            "rows": self.rows,
            "best": self.best,
            "loss_scale": self.loss_scale and self.loss_scale.state_dict(),
        }
        return Checkpoint(
            self.model,
            self.settings.model,
            self.settings.lateral,
            self.train_set.names,
            self.settings.image_size,
            progress,
            self.optimizer.state_dict(),
        )


def fresh_model(settings, train_set):
    """A fresh network with anchors as the settings ask for."""
    anchors = None
    if settings.anchors == "band":
        height, width = settings.image_size
        strides = preset(settings.model)[0].strides
        sizes = network_sizes(train_set.records, width, height)
        anchors = anchors_by_stride_band(sizes, seed=settings.seed, strides=tuple(sorted(strides))).groups
    return build_model(settings.model, len(train_set.names), anchors, settings.lateral, settings.seed)


def model_to_fine_tune(settings, train_set, start):
    """The network to train on, with what the file ``start`` knows.

    A checkpoint's classes must be those of the data.  A ``.weights`` file of the original, or the name of a published
    one, fills as many of the first layers as it holds; the others start at random.
    """
    if not is_checkpoint(start):
        model = fresh_model(settings, train_set)
        path, _ = find_weights(start)
        _, count = read_weights(path, model, partial=True)
        total = len(weight_layers(model))
        rest = "" if count == total else f"; the other {total - count} start at random"
        print(f"{path}: the first {count} of {total} convolutions{rest}", file=sys.stderr)
        return model
    checkpoint = load_checkpoint(start)
    if list(checkpoint.names) != list(train_set.names):
        raise UserError(
            f"{start} knows the classes {', '.join(checkpoint.names)}, the data {', '.join(train_set.names)}: "
            "they must be the same"
        )
    if (checkpoint.preset, checkpoint.lateral) != (settings.model, settings.lateral):
        raise UserError(f"{start} holds the model {checkpoint.preset} ({checkpoint.lateral}): ask for it with --model")
    return checkpoint.model


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
