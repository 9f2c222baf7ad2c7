"""``yolov3 demo``, ``yolov3 train`` and ``yolov3 overfit``."""

from yolov3.commands.common import is_given, open_data, refuse, say
from yolov3.errors import UserError
from yolov3.progress import progress_bar
from yolov3.runs import new_run_folder, run_folder
from yolov3.wording import count_of


def demo(options):
    """Learn generated shapes from nothing."""
    from yolov3.demo import run_demo

    folder = new_run_folder(options.project, options.name)
    run_demo(folder, options.steps, options.seed, options.device, options.precision)
    print(folder)


def train(options):
    """Train a detector, or continue a run; if ``mpiexec`` has started several processes, all of them together."""
    from yolov3.ranks import joined

    with joined(options.device) as (group, watch):
        _train(options, group, watch)


def _train(options, group, watch):
    from yolov3.evaluate import class_table, headline
    from yolov3.resume import load_run, settings_of
    from yolov3.start import model_to_fine_tune
    from yolov3.tensorboard import load_tensorboard
    from yolov3.train import SAVE_EVERY, TrainingRun

    if options.tensorboard:
        load_tensorboard()  # an error about it is due before all others take their time
    if options.resume:
        not_again = [*TRAIN_OPTIONS, "weights", "strict", "project", "name"]
        refuse(options, not_again, "--resume continues a run as it was begun")
        checkpoint, last, remark = group.share(load_run(options.resume) if group.rank == 0 else None)
        if remark:
            say(remark)
        settings, data = settings_of(checkpoint, last)
        data |= {"data": options.data or data["data"]}
    else:
        if not options.data:
            raise UserError("say what to train on with --data, or which run to continue with --resume")
        settings, data = _train_settings(options), {"data": options.data, "strict": options.strict}
    train_set, validation_set = _open_both(data, options)
    if options.resume:
        model = checkpoint.model
    else:
        is_given_weights = options.weights and group.rank == 0  # which gives its model to all
        model = model_to_fine_tune(settings, train_set, options.weights) if is_given_weights else None
    save_every = SAVE_EVERY if options.save_every is None else options.save_every
    where = model, options.device, options.precision, save_every, options.tensorboard, group
    run = TrainingRun(settings, train_set, validation_set, data, *where)
    if options.resume:
        run.resume(checkpoint)
        folder = last.parent
    else:
        _report(run, train_set, validation_set, options)
        where = options.project or "runs/train", options.name or "exp"
        folder = group.share(new_run_folder(*where) if group.rank == 0 else None)
    watch.results_in(folder)
    pictures = count_of(len(train_set), "picture")
    say(f"{settings.model}: {run.model.parameter_count():,} parameters, {pictures}, results in {folder}")
    with progress_bar(run.total_steps, "step") as bar:
        evaluation = run.run(folder, bar)
    if run.stopped_early:
        say(f"stopped after {count_of(run.epoch, 'epoch')}: none of the last {settings.patience} had a better mAP@0.5")
    if evaluation is None:
        say(f"this run is complete: {count_of(run.epoch, 'epoch')}")
    else:
        print(class_table(evaluation, train_set.names))
        print(headline(evaluation))
    print(folder)


def overfit(options):
    """Learn one batch by heart, and say whether that worked."""
    from yolov3.overfit import one_batch, run_overfit

    settings = _overfit_settings(options)
    dataset = one_batch(open_data(options.data, "train", options.strict), settings.batch, settings.seed)
    with run_folder(options.project, options.name) as folder:
        print(run_overfit(folder, settings, dataset, options.device, options.precision))
    print(folder)


def _open_both(data, options):
    source, strict = data["data"], data["strict"]
    try:
        train_set, validation_set = (open_data(source, split, strict) for split in ("train", "val"))
    except UserError as error:
        if options.resume and not options.data:
            raise UserError(f"{error} (the run's own data: where they lie now, say with --data)") from error
        raise
    if list(train_set.names) != list(validation_set.names):
        raise UserError(f"{source}: the training and the validation part have different classes")
    return train_set, validation_set


def _report(run, train_set, validation_set, options):
    """Say what the network will have trouble with, or may not be meant, before the hours are spent."""
    from yolov3.preflight import training_report

    settings = run.settings
    if settings.freeze and not options.weights:
        say("--freeze without --weights: the backbone keeps its first, random numbers in these epochs")
    if settings.freeze >= settings.epochs:
        say(f"--freeze {settings.freeze}: the backbone learns in none of the {settings.epochs} epochs")
    if settings.local_batchnorm and run.group.size == 1:
        say("--local-batchnorm changes nothing in a single process")
    if settings.batch > len(train_set):
        say(f"a batch of {settings.batch} shows the {count_of(len(train_set), 'picture')} there are more than once")
    for line in training_report(train_set, run.model.anchor_groups(), settings.image_size, validation_set):
        say(line)


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
    "any_way_up": "any_way_up",
    "lateral": "lateral",
    "ignore_thres": "ignore_threshold",
    "momentum": "momentum",
    "seed": "seed",
    "schedule": "schedule",
    "burn_in": "burn_in",
    "multi_scale": "multi_scale",
    "ema": "ema",
    "freeze": "freeze",
    "patience": "patience",
    "local_batchnorm": "local_batchnorm",
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


def _overfit_settings(options):
    from yolov3.model import preset
    from yolov3.overfit import LEARNING_RATE
    from yolov3.train_settings import TrainSettings

    return TrainSettings(
        model=options.model,
        image_size=options.imgsz or preset(options.model)[2],
        epochs=options.steps,  # of one step each
        batch=options.batch,
        learning_rate=LEARNING_RATE if options.lr is None else options.lr,
        augmentation="none",
        seed=options.seed,
    )
