"""How good is a detector?  Run it over a data set and compare what it finds with what is there."""

from dataclasses import dataclass

import numpy as np

from yolov3.coco_metrics import CocoResult, coco_average_precision
from yolov3.data.batches import evaluation_batches
from yolov3.devices import enough_memory
from yolov3.metrics import PictureDetections, PictureTruth
from yolov3.postprocess import find_objects
from yolov3.thresholds import EVALUATION_CONFIDENCE, NMS_IOU
from yolov3.voc_metrics import VocResult, voc_average_precision


@dataclass(frozen=True)
class Evaluation:
    """Detections of every picture of a data set, and their scores by both protocols.

    ``voc.mean_ap`` is mAP@0.5 (area under the curve), ``coco.ap`` is AP@[.5:.95].
    """

    detections: list[PictureDetections]
    voc: VocResult
    coco: CocoResult


def evaluate(
    model,
    dataset,
    image_size,
    batch=8,
    confidence=EVALUATION_CONFIDENCE,
    iou_threshold=NMS_IOU,
    progress=None,
    precision="fp32",
):
    """:class:`Evaluation` of a detector on all pictures of a data set.

    ``image_size`` is (height, width); ``progress`` is called with the number of pictures done after each batch;
    ``precision`` is that of :func:`minidl.inference.fuse`.  It is done where the model is; a model that was fused
    already is taken as it is.  Raises UserError where the memory does not suffice.
    """
    detections = []
    with enough_memory(model.device, batch, image_size):
        network = model.fuse(precision=precision)
        for images, frames in evaluation_batches(dataset, image_size, batch):
            detections += find_objects(network, images, frames, confidence, iou_threshold)
            if progress is not None:
                progress(len(frames))
    return score(detections, dataset)


def score(detections, dataset):
    """:class:`Evaluation` of the detections of every picture of ``dataset``, in its order."""
    truths = [
        PictureTruth(each.boxes_xyxy, each.labels, each.difficult, each.crowd, each.areas) for each in dataset.records
    ]
    classes = len(dataset.names)
    voc = voc_average_precision(detections, truths, classes)
    return Evaluation(detections, voc, coco_average_precision(detections, truths, classes))


def class_table(evaluation, names):
    """The scores per class, as text; ``-`` where a class has no object to find."""
    width = max(len("all"), *(len(name) for name in names))
    lines = [f"{'class':<{width}} {'objects':>8} {'AP@0.5':>7} {'AP@[.5:.95]':>12}"]
    voc, coco = evaluation.voc, evaluation.coco
    rows = zip(names, voc.truth_counts, voc.class_ap, coco.class_ap, strict=True)
    for name, count, ap50, ap in [*rows, ("all", voc.truth_counts.sum(), voc.mean_ap, coco.ap)]:
        lines.append(f"{name:<{width}} {count:>8} {_number(ap50):>7} {_number(ap):>12}")
    return "\n".join(lines)


def headline(evaluation):
    """The two numbers that people compare, in a line."""
    return f"mAP@0.5 {evaluation.voc.mean_ap:.3f}  AP@[.5:.95] {evaluation.coco.ap:.3f}"


def results_dict(evaluation, names):
    """The scores as JSON values; None where there is nothing to find."""
    voc, coco = evaluation.voc, evaluation.coco
    per_class = {
        name: {"objects": int(count), "ap50": _value(ap50), "ap": _value(ap)}
        for name, count, ap50, ap in zip(names, voc.truth_counts, voc.class_ap, coco.class_ap, strict=True)
    }
    overall = {name: _value(value) for name, value in vars(coco).items() if np.ndim(value) == 0}
    return {"mAP50": _value(voc.mean_ap), "coco": overall, "classes": per_class}


def _value(number):
    return None if np.isnan(number) else float(number)


def _number(value):
    return "-" if np.isnan(value) else f"{value:.3f}"
