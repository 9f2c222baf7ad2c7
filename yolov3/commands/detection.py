"""``yolov3 val``, ``yolov3 detect`` and ``yolov3 video``."""

import sys

from yolov3.commands.common import network_options, open_data, speed
from yolov3.errors import UserError
from yolov3.progress import progress_bar
from yolov3.runs import new_run_folder, run_folder, write_json, write_text
from yolov3.thresholds import SHOWN_CONFIDENCE
from yolov3.wording import count_of


def val(options):
    """Evaluate a detector on a data set: figures, tables, and what it gets wrong."""
    from yolov3.devices import enough_memory
    from yolov3.errors_by_kind import error_table, find_errors
    from yolov3.evaluate import class_table, evaluate, headline, results_dict, size_table, truths_of
    from yolov3.loading import load_detector
    from yolov3.stage_times import speed_line

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
    shown = max(SHOWN_CONFIDENCE, options.conf_thres)  # errors are counted among what a person would be shown
    errors = find_errors(evaluation.detections, truths_of(dataset), len(dataset.names), shown)
    print(f"{class_table(evaluation, dataset.names)}\n\n{size_table(evaluation, dataset.names)}\n")
    print(f"{error_table(errors, shown)}\n")
    print(speed_line(evaluation.milliseconds))
    print(headline(evaluation))
    results = results_dict(evaluation, dataset.names)
    results["errors"] = {"confidence": shown} | {kind: len(of_this_kind) for kind, of_this_kind in errors.items()}
    results["thresholds"] = {"confidence": options.conf_thres, "nms_iou": options.iou_thres}
    write_json(folder / "results.json", results)
    _write_figures(folder, dataset, evaluation, errors, shown, options)
    if options.save_json:
        write_json(folder / "detections.json", _detections_json(dataset, evaluation.detections))
        _write_coco_files(folder, dataset, evaluation.detections)
    print(folder)


def _write_figures(folder, dataset, evaluation, errors, shown, options):
    """All pictures of an evaluation; ``shown`` is the least score of a detection that counts as an error."""
    from yolov3.error_pictures import error_grids
    from yolov3.errors_by_kind import RIGHT_IOU, confusion_matrix
    from yolov3.evaluate import truths_of
    from yolov3.pictures import prediction_grid
    from yolov3.plots import plot_confusion_matrix, plot_f1, plot_precision_recall
    from yolov3.voc_metrics import f1_curves

    names, voc, detections = dataset.names, evaluation.voc, evaluation.detections
    matrix = confusion_matrix(detections, truths_of(dataset), len(names), shown)
    right, suppression = f"right from IoU {RIGHT_IOU:g}", f"NMS above IoU {options.iou_thres:g}"
    everything = f"{right}; score above {options.conf_thres:g}; {suppression}"
    plot_precision_recall(voc, names, folder / "precision_recall.png", everything)
    plot_f1(f1_curves(voc), names, folder / "f1_confidence.png", everything)
    sure = f"{right}; score at least {shown:g}; {suppression}"
    plot_confusion_matrix(matrix, names, folder / "confusion_matrix.png", sure)
    prediction_grid(folder / "predictions.png", dataset, detections)
    error_grids(folder, dataset, detections, errors, shown)


def _write_coco_files(folder, dataset, detections):
    """The detections and the truth as pycocotools reads them."""
    from yolov3.data.coco_results import coco_detections, coco_ids, coco_truth, one_a_line

    ids = coco_ids(dataset)
    write_text(folder / "coco_detections.json", one_a_line(coco_detections(dataset, detections, *ids)))
    write_json(folder / "coco_truth.json", coco_truth(dataset, *ids))


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
            count = f"{len(problems)} of {count_of(len(pictures), 'picture')}"
            raise UserError(f"{count} cannot be read, the first: {problems[0]}")


def video(options):
    """Find objects in a moving picture."""
    from yolov3.frames import open_frames
    from yolov3.video import run_video

    with open_frames(options.source, options.fps, options.frames) as frames:
        detector = make_detector(options)
        with run_folder(options.project, options.name) as folder:
            run_video(detector, frames, folder, options.save_json)
