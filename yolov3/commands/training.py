"""``yolov3 demo`` and ``yolov3 train``."""

import os
from dataclasses import fields
from pathlib import Path

from yolov3.commands.common import is_given, open_data, refuse, say
from yolov3.errors import UserError
from yolov3.progress import progress_bar
from yolov3.runs import new_run_folder


def demo(options):
    """Learn generated shapes from nothing."""
    from yolov3.demo import run_demo

    folder = new_run_folder(options.project, options.name)
    run_demo(folder, options.steps, options.seed, options.device, options.precision)
    print(folder)


def train(options):
    """Train a detector, or continue a run."""
    from yolov3.checkpoint import load_checkpoint
    from yolov3.evaluate import class_table, headline
    from yolov3.train import TrainingRun, model_to_fine_tune

    if options.resume:
        refuse(options, [*TRAIN_OPTIONS, "data", "weights", "strict"], "--resume continues a run as it was begun")
        last = Path(options.resume)
        last = last / "last.npz" if os.path.isdir(last) else last
        checkpoint = load_checkpoint(last)
        settings, data = _resumed_settings(checkpoint, last)
    else:
        if not options.data:
            raise UserError("say what to train on with --data, or which run to continue with --resume")
        settings, data = _train_settings(options), {"data": options.data, "strict": options.strict}
    data_sets = [open_data(data["data"], split, data["strict"]) for split in ("train", "val")]
    train_set, validation_set = data_sets
    if list(train_set.names) != list(validation_set.names):
        raise UserError(f"{data['data']}: the training and the validation part have different classes")
    if options.resume:
        run = TrainingRun(settings, *data_sets, data, checkpoint.model, options.device, options.precision)
        run.resume(checkpoint)
        folder = last.parent
    else:
        model = model_to_fine_tune(settings, train_set, options.weights) if options.weights else None
        run = TrainingRun(settings, *data_sets, data, model, options.device, options.precision)
        folder = new_run_folder(options.project, options.name)
    say(f"{settings.model}: {run.model.parameter_count():,} parameters, {len(train_set)} pictures, results in {folder}")
    with progress_bar(run.total_steps, "step") as bar:
        evaluation = run.run(folder, bar)
    if evaluation is None:
        say(f"this run is complete: {settings.epochs} epochs")
    else:
        print(class_table(evaluation, train_set.names))
        print(headline(evaluation))
    print(folder)


# option of `yolov3 train` -> the setting it gives; what is not given keeps TrainSettings' default
TRAIN_OPTIONS = {
    "model": "model",
    "imgsz": "image_size",
    "epochs": "epochs",
    "batch": "batch",
    "lr": "learning_rate",
    "optimizer": "optimizer",
    "anchors": "anchors",
    "augment": "augmentation",
    "lateral": "lateral",
    "ignore_thres": "ignore_threshold",
    "momentum": "momentum",
    "seed": "seed",
}


def _train_settings(options):
    from yolov3.checkpoint import is_checkpoint, load_checkpoint
    from yolov3.model import preset
    from yolov3.train_settings import TrainSettings

    values = {TRAIN_OPTIONS[name]: getattr(options, name) for name in TRAIN_OPTIONS if is_given(options, name)}
    if options.weights and is_checkpoint(options.weights):
        refuse(options, ["anchors", "lateral"], "--weights brings its own")
        start = load_checkpoint(options.weights)
        defaults = {"model": start.preset, "lateral": start.lateral, "image_size": start.image_size}
    else:
        defaults = {"image_size": preset(values.get("model", TrainSettings.model))[2]}
    return TrainSettings(**(defaults | values))


def _resumed_settings(checkpoint, path):
    """The settings and the data of the run that wrote a checkpoint."""
    from yolov3.train_settings import TrainSettings

    try:
        stored = dict(checkpoint.training["settings"])
        stored["image_size"] = tuple(stored["image_size"])
        settings = TrainSettings(**{field.name: stored[field.name] for field in fields(TrainSettings)})
        data = {"data": checkpoint.training["data"]["data"], "strict": checkpoint.training["data"]["strict"]}
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} holds no training run to resume") from error
    return settings, data
