"""What each command of the command line does: read the input, call the library, say where the result is."""

import os
import sys
from dataclasses import fields
from pathlib import Path

from yolov3.errors import UserError
from yolov3.progress import progress_bar
from yolov3.runs import new_run_folder, write_json


def demo(options):
    """Learn generated shapes from nothing."""
    from yolov3.demo import run_demo

    folder = new_run_folder(options.project, options.name)
    run_demo(folder, options.steps, options.seed)
    print(folder)


def train(options):
    """Train a detector, or continue a run."""
    from yolov3.checkpoint import load_checkpoint
    from yolov3.evaluate import class_table, headline
    from yolov3.train import TrainingRun, model_to_fine_tune

    if options.resume:
        _refuse(options, [*TRAIN_OPTIONS, "data", "weights", "strict"], "--resume continues a run as it was begun")
        last = Path(options.resume)
        last = last / "last.npz" if os.path.isdir(last) else last
        checkpoint = load_checkpoint(last)
        settings, data = _resumed_settings(checkpoint, last)
    else:
        if not options.data:
            raise UserError("say what to train on with --data, or which run to continue with --resume")
        settings, data = _train_settings(options), {"data": options.data, "strict": options.strict}
    train_set, validation_set = _open(data["data"], "train", data["strict"]), _open(data["data"], "val", data["strict"])
    if list(train_set.names) != list(validation_set.names):
        raise UserError(f"{data['data']}: the training and the validation part have different classes")
    if options.resume:
        run = TrainingRun(settings, train_set, validation_set, data, checkpoint.model)
        run.resume(checkpoint)
        folder = last.parent
    else:
        model = model_to_fine_tune(settings, train_set, options.weights) if options.weights else None
        run = TrainingRun(settings, train_set, validation_set, data, model)
        folder = new_run_folder(options.project, options.name)
    _say(
        f"{settings.model}: {run.model.parameter_count():,} parameters, {len(train_set)} pictures, results in {folder}"
    )
    with progress_bar(run.total_steps, "step") as bar:
        evaluation = run.run(folder, bar)
    if evaluation is None:
        _say(f"this run is complete: {settings.epochs} epochs")
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
    from yolov3.checkpoint import load_checkpoint
    from yolov3.model import preset
    from yolov3.train_settings import TrainSettings

    values = {TRAIN_OPTIONS[name]: getattr(options, name) for name in TRAIN_OPTIONS if _is_given(options, name)}
    if options.weights:
        _refuse(options, ["anchors", "lateral"], "--weights brings its own")
        start = load_checkpoint(options.weights)
        defaults = {"model": start.preset, "lateral": start.lateral, "image_size": start.image_size}
    else:
        defaults = {"image_size": preset(values.get("model", TrainSettings.model))[2]}
    return TrainSettings(**(defaults | values))


def _is_given(options, name):
    value = getattr(options, name)
    return value is not None and value is not False


def _refuse(options, names, reason):
    """UserError if one of these options was given: better than to ignore it."""
    given = next((name for name in names if _is_given(options, name)), None)
    if given:
        raise UserError(f"{reason}: leave out --{given.replace('_', '-')}")


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


def val(options):
    """Evaluate a detector on a data set."""
    from yolov3.checkpoint import load_checkpoint
    from yolov3.evaluate import class_table, evaluate, headline, results_dict
    from yolov3.model import check_image_size
    from yolov3.pictures import prediction_grid
    from yolov3.plots import plot_precision_recall

    checkpoint = load_checkpoint(options.weights)
    size = check_image_size(options.imgsz or checkpoint.image_size)
    dataset = _open(options.data, options.split, options.strict, checkpoint.names)
    folder = new_run_folder(options.project, options.name)
    with progress_bar(len(dataset), "picture") as bar:
        evaluation = evaluate(
            checkpoint.model, dataset, size, options.batch, options.conf_thres, options.iou_thres, bar.update
        )
    print(class_table(evaluation, dataset.names))
    print(headline(evaluation))
    write_json(folder / "results.json", results_dict(evaluation, dataset.names))
    plot_precision_recall(evaluation.voc, dataset.names, folder / "precision_recall.png")
    prediction_grid(folder / "predictions.png", dataset, evaluation.detections)
    if options.save_json:
        write_json(folder / "detections.json", _detections_json(dataset, evaluation.detections))
    print(folder)


def _detections_json(dataset, detections):
    from yolov3.detect import as_detections

    return {
        str(record.picture): [each.as_json() for each in as_detections(found, dataset.names)]
        for record, found in zip(dataset.records, detections, strict=True)
    }


def detect(options):
    """Find objects in pictures."""
    from yolov3.detect import Detector, detect_files, find_pictures
    from yolov3.model import check_image_size

    size = check_image_size(options.imgsz) if options.imgsz else None
    pictures = find_pictures(options.sources)
    detector = Detector(options.weights, size, options.conf_thres, options.iou_thres)
    folder = new_run_folder(options.project, options.name)
    with progress_bar(len(pictures), "picture") as bar:

        def report(line):
            bar.write(line, file=sys.stdout)
            bar.update()

        results, problems = detect_files(detector, pictures, folder, options.save_txt, options.save_json, report)
    if results:
        print(folder)
    else:
        folder.rmdir()
    if problems:
        raise UserError(f"{len(problems)} of {len(pictures)} pictures cannot be read, the first: {problems[0]}")


def anchors(options):
    """Find anchors for a data set."""
    from yolov3.anchors import anchors_by_stride_band, assign_by_rank, format_anchors, kmeans_anchors, network_sizes
    from yolov3.model import check_image_size, preset

    network, _, size = preset(options.model)
    height, width = check_image_size(options.imgsz or size)
    strides = tuple(sorted(network.strides))
    scales = len(strides)
    per_scale, rest = divmod(options.clusters or 3 * scales, scales)
    if rest:
        raise UserError(f"{scales} strides cannot share {options.clusters} anchors: choose a multiple of {scales}")
    dataset = _open(options.data, "train", options.strict)
    sizes = network_sizes(dataset.records, width, height)
    if options.by == "band":
        found = anchors_by_stride_band(sizes, per_scale, options.update, options.seed, strides=strides)
        groups, average_iou = found.groups, found.average_iou
        for stride, count in found.box_counts.items():
            kept = " (too few: the published anchors stay)" if stride in found.published else ""
            print(f"stride {stride:2}: {count} boxes{kept}")
    else:
        centres, average_iou = kmeans_anchors(sizes, per_scale * scales, options.update, options.seed)
        groups = assign_by_rank(centres, strides)
    print(f"average IoU of {len(sizes)} boxes with their best anchor, at {height}x{width}: {100 * average_iou:.2f} %")
    print("\n".join(format_anchors(groups)))


def check_data(options):
    """Print the audit of a data set."""
    from yolov3.data.audit import audit
    from yolov3.data.dataset import open_dataset

    for split in [options.split] if options.split else ["train", "val"]:
        print(f"--- {options.data}, {split}")
        print(audit(open_dataset(options.data, split, options.strict)))


def download(options):
    """Fetch a public data set."""
    from yolov3.data.download import download as fetch

    print(fetch(options.name, options.folder))


def info(options):
    """Print a layer table."""
    from minidl.nn import summary
    from yolov3.checkpoint import load_checkpoint
    from yolov3.darknet53 import Darknet53Classifier
    from yolov3.model import build_model, check_image_size, preset

    if options.model == "darknet53":
        model, size = Darknet53Classifier(), (256, 256)
    elif options.model.endswith(".npz"):
        checkpoint = load_checkpoint(options.model)
        model, size = checkpoint.model, checkpoint.image_size
    else:
        model, size = build_model(options.model), preset(options.model)[2]
    print(summary(model, (*check_image_size(options.imgsz or size), 3)))


def _open(source, split, strict, names=None):
    """A data set with boxes to learn or to find; what was wrong with it goes to stderr."""
    from yolov3.data.dataset import open_dataset

    dataset = open_dataset(source, split, strict, names)
    if all((record.difficult | record.crowd).all() for record in dataset.records):
        classes = "" if names is None else f" of the classes {', '.join(names)}"
        raise UserError(f"{source}: split {split!r} has no box{classes}: see yolov3 check-data --data {source}")
    for line in dataset.report.summary():
        _say(f"{source}, {split}: {line}")
    return dataset


def _say(line):
    print(line, file=sys.stderr)
