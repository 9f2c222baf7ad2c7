"""A run's checkpoints: the last one, the one before it, and what is needed to go on from them exactly.

Nothing random needs to be stored: every batch is a function of (seed, epoch, step), so the place where a run stands and
its settings say what comes next (:class:`yolov3.data.batches.TrainingBatches`).

At every moment there is a whole checkpoint: a new one is written under a temporary name, and takes the place of
``last.npz`` when it is complete, which then is ``previous.npz`` (:func:`minidl.serialize.write_atomically`).
"""

import os
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from reprlib import repr as short_repr

from minidl.serialize import remove_unfinished
from yolov3.checkpoint import load_checkpoint, save_checkpoint
from yolov3.errors import UserError
from yolov3.runs import writing
from yolov3.train_settings import TrainSettings

DATA = {"data": "", "strict": False}  # of TrainingRun's argument, what a resumed run needs
# What reading a run's progress out of JSON values raises where they are other values than such a run writes.
DAMAGED = (KeyError, ValueError, IndexError, TypeError, AttributeError, OverflowError)
LAST, PREVIOUS, BEST = "last.npz", "previous.npz", "best.npz"


@dataclass
class EpochPart:
    """What is done of an epoch.

    steps: taken; sums: of the loss and each of its terms over these steps; seconds: that they took.
    """

    steps: int = 0
    sums: dict = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, terms, seconds):
        """Count one more step with its terms ``{name: number}``; ``seconds`` since the epoch began."""
        self.steps += 1
        self.sums = {name: self.sums.get(name, 0) + value for name, value in terms.items()}
        self.seconds = seconds


def save_last(folder, checkpoint):
    """Write a run's new ``last.npz``; what had that name becomes ``previous.npz``.  Raises UserError if it cannot."""
    save_checkpoint(folder / LAST, checkpoint, keep=folder / PREVIOUS)


def tidy(folder):
    """Remove what a killed run has left half written."""
    with writing(folder):
        remove_unfinished(folder)


def tidy_finished(folder):
    """Remove the last checkpoint but one of a run that is complete: nobody goes on from there."""
    with writing(folder):
        (folder / PREVIOUS).unlink(missing_ok=True)


def load_run(run):
    """The checkpoint of a run to continue, its path, and a remark or None.

    ``run`` is the run's folder or one of its checkpoints.  Where ``last.npz`` is damaged or missing the one before it
    takes its place, which the remark says, as it says that another than ``last.npz`` was given.  Raises UserError where
    there is none to go on from.
    """
    path = Path(run) / LAST if os.path.isdir(run) else Path(run)
    try:
        checkpoint = load_checkpoint(path)
        goes_back = path.name != LAST and path.with_name(LAST).exists()
        remark = f"going on from {path}: {path.with_name(LAST)} will be replaced" if goes_back else None
        return checkpoint, path, remark
    except UserError as error:
        previous = path.with_name(PREVIOUS)
        if path.name != LAST or not os.path.isfile(previous):
            raise
        try:
            checkpoint = load_checkpoint(previous)
            done = f"epochs {checkpoint.training.get('epoch', 0)}, steps {_part(checkpoint.training).steps}"
        except (UserError, *DAMAGED):
            raise UserError(f"{error}, and so is the one before it, {previous}: start a new run") from error
        with writing(path):
            os.replace(previous, path)
        remark = f"{error}: going on from the checkpoint before it ({done})"
        return checkpoint, path, remark


def settings_of(checkpoint, path):
    """The :class:`TrainSettings` and the data (as given to TrainingRun) of the run that wrote a checkpoint.

    Raises UserError where it holds no training run.
    """
    if not checkpoint.training:
        raise UserError(f"{path} holds a detector alone, no training run to resume: start from it with --weights")
    try:
        stored = dict(checkpoint.training["settings"])
        stored["image_size"] = tuple(stored["image_size"])
        known = {each.name: each.default for each in fields(TrainSettings)}
        values = {name: _as(default, stored[name]) for name, default in known.items() if name in stored}
        settings = TrainSettings(**values)
        data = {name: _as(default, checkpoint.training["data"][name]) for name, default in DATA.items()}
    except (UserError, *DAMAGED) as error:
        raise UserError(f"{path} holds no training run to resume ({error})") from error
    return settings, data


def _as(default, value):
    """The value, which must be of the default's type; TypeError else.  JSON has no tuples, and 1 may stand for 1.0."""
    if isinstance(default, float) and type(value) is int:
        return value
    if type(value) is not type(default) or (isinstance(default, tuple) and [type(v) for v in value] != [int, int]):
        raise TypeError(f"{short_repr(value)} in the place of a value such as {default!r}")
    return value


def restore(run, checkpoint):
    """Put a :class:`yolov3.train.TrainingRun` where a checkpoint of it stands.

    Raises UserError if the data changed (classes, names and sizes of pictures, boxes), or where the checkpoint holds no
    training run.
    """
    before, now = ", ".join(checkpoint.names), ", ".join(run.train_set.names)
    if before != now:
        raise UserError(f"the data changed since the run began: its classes are {now}, not {before}")
    progress = checkpoint.training
    try:
        _restore_weights(run, checkpoint)
        run.learner.optimizer.load_state_dict(checkpoint.optimizer)
        run.epoch, run.rows, run.best = _as(0, progress["epoch"]), _rows(progress), _as(0.0, progress["best"])
        run.part = _part(progress)
        if run.precision == "fp16" and progress["loss_scale"]:
            run.learner.loss_scale.load_state_dict(progress["loss_scale"])
        before, now = progress["pictures"], len(run.train_set)
        same = [old == new for old, new in zip(progress["fingerprints"], run.fingerprints, strict=True)]
        steps = run.epoch * len(run.batches) + run.part.steps
        whole = len(run.rows) == run.epoch and int(checkpoint.optimizer["step_count"]) <= steps
    except DAMAGED as error:
        raise UserError(f"this checkpoint holds no training run to resume ({error})") from error
    if before != now:
        raise UserError(f"the data changed since the run began: it has {now} pictures to train on, not {before}")
    if not all(same):
        part = "validation" if same[0] else "training"
        raise UserError(
            f"the data changed since the run began: its {part} part has other pictures or boxes; start a new run, "
            "which may begin with this one's weights (--weights)"
        )
    if not whole or run.part.steps >= len(run.batches):
        raise UserError("this checkpoint contradicts itself: it holds no training run to resume")


def _restore_weights(run, checkpoint):
    """Where the run keeps an average the checkpoint's model is that, and the weights being trained lie beside it."""
    if run.learner.average is not None:
        with run.learner.average.swapped_in():
            run.model.load_state_dict(checkpoint.model.state_dict())
        run.model.load_state_dict(checkpoint.trained)


def fingerprint(records):
    """A text that is another one where names, sizes or boxes of pictures are: SHA-256 of ``records``."""
    digest = sha256()
    for record in records:
        title = f"{record.picture.name} {record.width} {record.height} {len(record.labels)}\n"
        digest.update(title.encode(errors="backslashreplace"))
        for array in (record.boxes_xyxy, record.labels, record.difficult, record.crowd):
            digest.update(array.tobytes())
    return digest.hexdigest()


def progress_of(run):
    """Where a run stands, as JSON values: what :func:`restore` reads, beside the optimiser's own state."""
    part = run.part
    return {
        "epoch": run.epoch,
        "part": {"steps": part.steps, "sums": part.sums, "seconds": part.seconds} if part.steps else None,
        "pictures": len(run.train_set),
        "fingerprints": run.fingerprints,
        "rows": run.rows,
        "best": run.best,
        "loss_scale": run.learner.loss_scale.state_dict() if run.precision == "fp16" else None,
    }


def _rows(progress):
    """The lines of results.csv so far: numbers by name, one line per epoch.  TypeError, KeyError, ValueError."""
    rows = progress["rows"]
    if not all(_are_numbers(row) for row in rows) or [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
        raise ValueError("its rows are no table with a line for each epoch")
    return rows


def _part(progress):
    stored = progress.get("part")
    if not stored:
        return EpochPart()
    part = EpochPart(_as(0, stored["steps"]), stored["sums"], float(stored["seconds"]))
    if part.steps < 0 or not _are_numbers(part.sums):
        raise ValueError("it does not say what is done of its epoch")
    return part


def _are_numbers(values):
    """Whether these are numbers by name: a mapping, as JSON has it."""
    return isinstance(values, dict) and all(type(value) in (int, float) for value in values.values())
