"""Training: batches, loss, gradients, steps; and everything that lets a person see and trust it."""

import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from minidl import one_blas_thread, schedules
from minidl.collective import ALONE, together
from yolov3.checkpoint import Checkpoint, save_checkpoint
from yolov3.data.batches import TrainingBatches, sizes_around
from yolov3.devices import enough_memory
from yolov3.evaluate import evaluate
from yolov3.learner import Learner
from yolov3.resume import BEST, LAST, EpochPart, fingerprint, progress_of, restore, save_last, tidy, tidy_finished
from yolov3.start import fresh_model
from yolov3.training_log import LOSSES, NoLog, TrainingLog

CLEAN_SHARE = 0.05  # of the steps, at the end, without augmentation
FINAL_RATE = 0.01  # of the learning rate, at the end of the cosine
STEPS_AT, STEP_SCALE = (0.8, 0.9), 0.1  # of the steps, where the rate falls to a tenth, as in the original (spec 6)
VALIDATIONS = 20  # over the whole run, about; with patience, after every epoch
SAVE_EVERY = 10.0  # minutes after which a checkpoint is written within an epoch, too


class TrainingRun:
    """One run: the network, the optimiser, the batches, and where it stands.

    ``train_set`` and ``validation_set`` are data sets with the same classes; ``data`` (JSON values) says what data
    sets these were, for a resumed run to open them again; ``model`` is the network to train, :func:`fresh_model` by
    default.  :meth:`resume` continues a run.  Raises UserError where these do not fit together.

    ``device`` and ``precision`` (:func:`yolov3.devices.choose_device`) say how to compute, ``save_every`` after how
    many minutes to write a checkpoint within an epoch, beside those after each, ``tensorboard`` whether to write event
    files (:class:`yolov3.training_log.TrainingLog`); a run may be resumed with others than it began with.

    ``group``: the processes that make this run together (:mod:`yolov3.ranks`), each on its share of every batch; all
    call the same methods, and rank 0 writes.
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
        tensorboard=False,
        group=ALONE,
    ):
        self.settings, self.data = settings, data
        self.train_set, self.validation_set = train_set, validation_set
        self.device, self.precision, self.group = device, precision, group
        self.save_every, self.tensorboard = save_every, tensorboard
        self.folder = None  # where run() writes
        self.batches = TrainingBatches(
            train_set,
            settings.image_size,
            settings.batch,
            settings.variation,
            settings.seed,
            sizes=sizes_around(settings.image_size) if settings.multi_scale else None,
            share=(group.rank, group.size),
        )
        self.total_steps = settings.epochs * len(self.batches)
        with enough_memory(device, settings.batch, settings.image_size):
            own = (model or fresh_model(settings, train_set)) if group.rank == 0 else None
            self.model = group.share(own).to(device)  # from the same weights all make the same steps
            self.learner = Learner(self.model, settings, rate_schedule(settings, self.total_steps), device, precision)
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
        is_first = self.group.rank == 0
        if is_first:
            tidy(self.folder)
        last = self.folder / LAST
        self.learner.last_checkpoint = last if last.is_file() else None
        self._saved_at = time.monotonic()
        evaluation = self._train(TrainingLog(self, bar, self.tensorboard) if is_first else NoLog())
        if is_first:
            tidy_finished(self.folder)
        return evaluation

    def _train(self, log):
        """All epochs that are left; the last Evaluation, or None."""
        every = 1 if self.settings.patience else max(1, self.settings.epochs // VALIDATIONS)
        evaluation = None
        while self.epoch < self.settings.epochs and not self.stopped_early:
            row = self._train_epoch(log)
            self.epoch, self.part = self.epoch + 1, EpochPart()
            evaluation = None
            if self.epoch % every == 0 or self.epoch == self.settings.epochs:
                log.validating()
                evaluation = self._validate()
                row |= {"mAP50": evaluation.voc.mean_ap, "mAP50_95": evaluation.coco.ap}
            self.rows.append(row)
            log.epoch(self.rows, evaluation, is_last=self.epoch == self.settings.epochs or self.stopped_early)
            if self.group.rank == 0:
                self._save(evaluation)
        return evaluation

    @cached_property
    def fingerprints(self):
        """Of the training and the validation set: what must not change before the run is resumed."""
        return [fingerprint(dataset.records) for dataset in (self.train_set, self.validation_set)]

    @property
    def stopped_early(self):
        """Whether the settings' patience is at its end: a validation so many epochs after the best one is no better."""
        validated = [row for row in self.rows if "mAP50" in row]
        if not self.settings.patience or not validated or self.epoch == self.settings.epochs:
            return False
        best = max(validated, key=lambda row: row["mAP50"])  # the first of equals
        return validated[-1]["epoch"] - best["epoch"] >= self.settings.patience

    def _validate(self):
        sizes = self.settings.image_size, self.settings.batch // self.group.size
        with self._averaged():
            return evaluate(self.model, self.validation_set, *sizes, precision=self.precision, group=self.group)

    def _averaged(self):
        """A context in which the network has the average of its weights, where one is kept."""
        average = self.learner.average
        return nullcontext() if average is None else average.swapped_in()

    def _train_epoch(self, log):
        """All steps of one epoch that are left; its row of results.csv: means of the loss's terms, sums of counts."""
        self.learner.begin_epoch(self.epoch)
        begin = time.perf_counter() - self.part.seconds
        first_step = self.epoch * len(self.batches)
        clean_from = max(0, math.ceil(self.total_steps * (1 - CLEAN_SHARE)) - first_step)
        for batch in self.batches.epoch(self.epoch, start=self.part.steps, clean_from=clean_from):
            step = first_step + self.part.steps + 1
            drawing = time.perf_counter()
            log.batch(batch)
            begin += time.perf_counter() - drawing  # which is no training
            with one_blas_thread, together(self.group):
                values = self.learner.step(batch, step)
            self.part.add(values, time.perf_counter() - begin)
            log.step(values, self.learner.optimizer.learning_rate)
            is_last = self.part.steps == len(self.batches)
            is_time = is_last or time.monotonic() - self._saved_at >= 60 * self.save_every
            if is_time and self.group.rank == 0:  # all have the same weights
                self.learner.check_output(batch, step)
                if not is_last:  # the epoch's own checkpoint follows its validation
                    self._save_last()
                    self.learner.begin_epoch(self.epoch)
        seconds, sums = time.perf_counter() - begin, self.part.sums
        return {
            "epoch": self.epoch + 1,
            "step": step,
            **{name: value / len(self.batches) if name in LOSSES else value for name, value in sums.items()},
            "learning_rate": self.learner.optimizer.learning_rate,
            "seconds": round(seconds, 2),
            "images_per_second": round(len(self.batches) * self.settings.batch / seconds, 2),
        }

    def _save(self, evaluation):
        """After every epoch: the last checkpoint, and before it the best one where this is better."""
        is_best = evaluation is not None and evaluation.voc.mean_ap > self.best
        if is_best:  # first, so that what ``last`` says of the best is true whenever the machine stops
            self.best = evaluation.voc.mean_ap
            with self._averaged():
                save_checkpoint(self.folder / BEST, self._checkpoint())
        self._save_last()

    def _save_last(self):
        with self._averaged():
            save_last(self.folder, self._checkpoint())
        self.learner.last_checkpoint = self.folder / LAST
        self._saved_at = time.monotonic()

    def _checkpoint(self):
        """To be saved within :meth:`_averaged`: the average detects; to go on needs the trained weights, too."""
        settings, learner = self.settings, self.learner
        return Checkpoint(
            self.model,
            settings.model,
            settings.lateral,
            self.train_set.names,
            settings.image_size,
            {"settings": asdict(settings), "data": self.data, **progress_of(self)},
            learner.optimizer.state_dict(),
            {} if learner.average is None else learner.average.state_dict(),
        )


def rate_schedule(settings, total_steps):
    """The learning rate of every step: a burn-in, then half a cosine wave or the original's two steps down."""
    rate = settings.learning_rate
    if settings.schedule == "cosine":
        schedule = schedules.cosine(rate, total_steps, FINAL_RATE)
    else:
        at = [math.ceil(share * total_steps) for share in STEPS_AT]
        schedule = schedules.steps(rate, at, [STEP_SCALE] * len(at))
    return schedules.burn_in(schedule, max(1, min(settings.burn_in, total_steps // 5)), power=1)
