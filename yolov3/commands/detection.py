"""``yolov3 val``, ``yolov3 detect`` and ``yolov3 video``."""

import sys

from yolov3.commands.common import network_options, open_data, speed
from yolov3.errors import UserError
from yolov3.progress import progress_bar
from yolov3.runs import new_run_folder, run_folder, write_json


def val(options):
    """Evaluate a detector on a data set."""
    from yolov3.devices import enough_memory
    from yolov3.evaluate import class_table, evaluate, headline, results_dict
    from yolov3.loading import load_detector
    from yolov3.pictures import prediction_grid
    from yolov3.plots import plot_precision_recall

    loaded = load_detector(**network_options(options))
    dataset = open_data(options.data, options.split, options.strict, loaded.names)
    with enough_memory(options.device, options.batch, loaded.image_size):
        model = loaded.model.to(options.device)
    folder = new_run_folder(options.project, options.name)
    with progress_bar(len(dataset), "picture") as bar:
        evaluation = evaluate(
            model.fuse(speed(options), options.precision),
            dataset,
            loaded.image_size,
            options.batch,
            options.conf_thres,
            options.iou_thres,
            bar.update,
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


def make_detector(options):
    """The Detector that the command line asks for."""
    from yolov3.detect import Detector

    return Detector(
        confidence=options.conf_thres,
        iou_threshold=options.iou_thres,
        most_detections=options.max_det,
        speed=speed(options),
        device=options.device,
        precision=options.precision,
        **network_options(options),
    )


def detect(options):
    """Find objects in pictures."""
    from yolov3.detect import detect_files, find_pictures

    pictures = find_pictures(options.sources)
    detector = make_detector(options)
    with run_folder(options.project, options.name) as folder, progress_bar(len(pictures), "picture") as bar:

        def report(line):
            bar.write(line, file=sys.stdout)
            bar.update()

        results, problems = detect_files(detector, pictures, folder, options.save_txt, options.save_json, report)
        if results:
            bar.write(str(folder), file=sys.stdout)
        if problems:
            raise UserError(f"{len(problems)} of {len(pictures)} pictures cannot be read, the first: {problems[0]}")


def video(options):
    """Find objects in a moving picture."""
    from yolov3.frames import open_frames
    from yolov3.video import run_video

    with open_frames(options.source, options.fps, options.frames) as frames:
        detector = make_detector(options)
        with run_folder(options.project, options.name) as folder:
            run_video(detector, frames, folder, options.save_json)
