"""From the network's heads to boxes in a picture: decode, threshold, undo the letterbox, suppress duplicates."""

import numpy as np

from minidl import Tensor, no_grad, one_blas_thread
from minidl.device import array_module, to_device
from yolov3.boxes import box_area, clip_boxes
from yolov3.decode import Predictions, decode
from yolov3.devices import to_cpu_together
from yolov3.errors import UserError
from yolov3.metrics import PictureDetections
from yolov3.nms import non_maximum_suppression

# An untrained network thinks everything possible: at 416, 80 classes make 800,000 candidates in a single picture, and
# suppression would take minutes.  Only so many of the surest come out of it, and ten times as many go in.
MOST_DETECTIONS = 300
CANDIDATES_PER_DETECTION = 10


def predict(model, images):
    """:class:`yolov3.decode.Predictions` of a detector in evaluation mode for images (batch, height, width, 3).

    The detector may be on a GPU, which also decodes; the images and the result are NumPy arrays.  Raises UserError
    where the network's output is not finite.
    """
    model.eval()
    # What overflows is found as non-finite below.
    with one_blas_thread, no_grad(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        heads = [head.data for head in model(Tensor(to_device(images, model.device)))]
        xp = array_module(heads[0])
        finite = xp.stack([xp.isfinite(head).all() for head in heads])
        found = decode(heads, model.anchors, model.strides, model.one_class_per_box)
    *found, finite = to_cpu_together(found.boxes_cxcywh, found.objectness, found.class_probabilities, finite)
    if not finite.all():
        raise UserError("the network's output is not finite: its training diverged, or its weights are damaged")
    return Predictions(*found)


def select(predictions, index, confidence):
    """The (box, class) pairs of picture ``index`` that are sure enough, before suppression (spec 4).

    A box counts if its objectness exceeds ``confidence``, and then with each class for which
    ``objectness * class probability`` does: it may count as several classes at once (notes H1).
    Returns boxes_cxcywh (pairs, 4), scores (pairs,), labels (pairs,).
    """
    (likely,) = np.nonzero(predictions.objectness[index] > confidence)
    scores = predictions.objectness[index][likely, None] * predictions.class_probabilities[index][likely]
    box, label = np.nonzero(scores > confidence)
    return predictions.boxes_cxcywh[index][likely[box]], scores[box, label], label


def find_objects(model, images, frames, confidence, iou_threshold, most_detections=MOST_DETECTIONS):
    """The objects in a batch of letterboxed pictures: a list of :class:`PictureDetections`, surest first.

    ``frames``: the pictures' :class:`yolov3.image.Letterbox`.  Boxes are in pixels of the picture and end at its
    border; one that lies wholly beyond it, in the grey of the letterbox, is left out.  ``confidence`` and
    ``iou_threshold`` as in :func:`select` and :func:`non_maximum_suppression`.  At most ``most_detections`` of a
    picture remain; suppression sees CANDIDATES_PER_DETECTION times as many, the surest (box, class) pairs.
    """
    predictions = predict(model, images)
    found = []
    for index, frame in enumerate(frames):
        boxes_cxcywh, scores, labels = select(predictions, index, confidence)
        surest = np.argsort(-scores, kind="stable")[: CANDIDATES_PER_DETECTION * most_detections]
        boxes_xyxy, scores, labels = frame.to_picture(boxes_cxcywh[surest]), scores[surest], labels[surest]
        kept = non_maximum_suppression(boxes_xyxy, scores, labels, iou_threshold)
        boxes_xyxy = clip_boxes(boxes_xyxy, frame.picture_width, frame.picture_height)
        kept = kept[box_area(boxes_xyxy[kept]) > 0][:most_detections]
        found.append(PictureDetections(boxes_xyxy[kept], scores[kept], labels[kept]))
    return found
