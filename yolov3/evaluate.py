"""How good is a detector?  Run it over a data set and compare what it finds with what is there."""

import time
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from minidl.collective import ALONE
from yolov3.coco_metrics import CocoResult, coco_average_precision
from yolov3.data.batches import evaluation_batches
from yolov3.devices import enough_memory
from yolov3.metrics import PictureDetections, PictureTruth
from yolov3.postprocess import find_objects
from yolov3.stage_times import StageTimes, TimedNetwork
from yolov3.thresholds import EVALUATION_CONFIDENCE, NMS_IOU
from yolov3.voc_metrics import VocResult, voc_average_precision

SIZES = ("small", "medium", "large")  # of objects, as COCO sorts them: area up to 32², up to 96², and above


@dataclass(frozen=True)
class Evaluation:
    """Detections of every picture of a data set, and their scores by both protocols.

    ``voc.mean_ap`` is mAP@0.5 (area under the curve), ``coco.ap`` is AP@[.5:.95]; ``milliseconds`` per picture of
    each stage, see :mod:`yolov3.stage_times` (empty where the detections came from elsewhere).
    """

    detections: list[PictureDetections]
    voc: VocResult
    coco: CocoResult
    milliseconds: dict[str, float] = field(default_factory=dict)


def evaluate(
    model,
    dataset,
    image_size,
    batch=8,
    confidence=EVALUATION_CONFIDENCE,
    iou_threshold=NMS_IOU,
    progress=None,
    precision="fp32",
    group=ALONE,
):
    """:class:`Evaluation` of a detector on all pictures of a data set.

    ``image_size`` is (height, width); ``progress`` is called with the number of pictures done after each batch;
    ``precision`` is that of :func:`minidl.inference.fuse`.  It is done where the model is; a model that was fused
    already is taken as it is.  Raises UserError where the memory does not suffice.

    ``group``: a :class:`minidl.collective.Group` whose ranks divide the pictures among them; all get the Evaluation,
    each with its own times.
    """
    edges = [len(dataset) * rank // group.size for rank in (group.rank, group.rank + 1)]
    detections, times = [], StageTimes()
    with enough_memory(model.device, batch, image_size):
        network = TimedNetwork(model.fuse(precision=precision))
        prepared = partial(times.add, "preparing")
        for images, frames in evaluation_batches(dataset, image_size, batch, prepared, range(*edges)):
            begin = time.perf_counter()
            detections += find_objects(network, images, frames, confidence, iou_threshold)
            times.add("network", network.finished - begin, len(frames))
            times.add("decoding and NMS", time.perf_counter() - network.finished, len(frames))
            if progress is not None:
                progress(len(frames))
    detections = [each for part in group.gather(detections) for each in part]
    evaluation = score(detections, dataset) if group.rank == 0 else None  # once: what follows from it must be the same
    return replace(group.share(evaluation), milliseconds=times.milliseconds())


def score(detections, dataset):
    """:class:`Evaluation` of the detections of every picture of ``dataset``, in its order."""
    truths, classes = truths_of(dataset), len(dataset.names)
    voc = voc_average_precision(detections, truths, classes)
    return Evaluation(detections, voc, coco_average_precision(detections, truths, classes))


def truths_of(dataset):
    """What is in each picture of a data set, as a list of :class:`PictureTruth`."""
    return [
        PictureTruth(each.boxes_xyxy, each.labels, each.difficult, each.crowd, each.areas) for each in dataset.records
    ]


def class_table(evaluation, names):
    """The scores per class, as text; ``-`` where a class has no object to find."""
    width = max(len("all"), *(len(name) for name in names))
    lines = [f"{'class':<{width}} {'objects':>8} {'AP@0.5':>7} {'AP@[.5:.95]':>12}"]
    voc, coco = evaluation.voc, evaluation.coco
    rows = zip(names, voc.truth_counts, voc.class_ap, coco.class_ap, strict=True)
    for name, count, ap50, ap in [*rows, ("all", voc.truth_counts.sum(), voc.mean_ap, coco.ap)]:
        lines.append(f"{name:<{width}} {count:>8} {_number(ap50):>7} {_number(ap):>12}")
    return "\n".join(lines)


def size_table(evaluation, names):
    """AP@[.5:.95] per class for small, medium and large objects, as text; ``-`` where there is none to find."""
    width = max(len("AP by size"), *(len(name) for name in names))
    lines = [f"{'AP by size':<{width}} {'small':>7} {'medium':>7} {'large':>7}"]
    coco = evaluation.coco
    overall = coco.ap_small, coco.ap_medium, coco.ap_large
    for name, values in [*zip(names, coco.class_ap_by_size, strict=True), ("all", overall)]:
        lines.append(f"{name:<{width}} " + " ".join(f"{_number(value):>7}" for value in values))
    return "\n".join(lines)


def headline(evaluation):
    """The two numbers that people compare, in a line."""
    return f"mAP@0.5 {evaluation.voc.mean_ap:.3f}  AP@[.5:.95] {evaluation.coco.ap:.3f}"


def results_dict(evaluation, names):
    """The scores, and the speed of each stage, as JSON values; None where there is nothing to find."""
    voc, coco = evaluation.voc, evaluation.coco
    per_class = {}
    rows = zip(names, voc.truth_counts, voc.class_ap, coco.class_ap, coco.class_ap_by_size, strict=True)
    for name, count, ap50, ap, by_size in rows:
        sizes = {f"ap_{size}": _value(value) for size, value in zip(SIZES, by_size, strict=True)}
        per_class[name] = {"objects": int(count), "ap50": _value(ap50), "ap": _value(ap), **sizes}
    overall = {name: _value(value) for name, value in vars(coco).items() if np.ndim(value) == 0}
    speed = {"milliseconds_per_picture": evaluation.milliseconds}
    return {"mAP50": _value(voc.mean_ap), "coco": overall, "classes": per_class, **speed}


def _value(number):
    return None if np.isnan(number) else float(number)


def _number(value):
    return "-" if np.isnan(value) else f"{value:.3f}"
