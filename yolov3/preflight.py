"""What of a data set a network will not learn, said before the training: numbers, and what to do about them.

All of it is computed from the boxes alone, for pictures that are only letterboxed; no picture is read.
"""

import numpy as np

from yolov3.boxes import iou_wh
from yolov3.data.augment import SMALLEST_SIDE
from yolov3.data.split_problems import split_problems
from yolov3.image import Letterbox
from yolov3.wording import share_of

POOR_FIT = 0.2  # IoU with the best anchor, below which a box is a poor match for any
TINY = 2  # pixels of the network input: what is narrower or lower leaves hardly a trace in the first map of stride 2


def training_report(train_set, anchors, image_size, validation_set=None):
    """Short lines about what will be learned badly or not at all; none where nothing is wrong.

    Boxes that no anchor fits (IoU of the shapes below POOR_FIT); objects that lose their place to another, because both
    have their centre in one cell and one best anchor (notes G2); boxes with a side below TINY pixels of the network
    input, or too small to be a target at all; and what is wrong with the splits as a whole, see
    :func:`yolov3.data.split_problems.split_problems`.  Difficult and crowd boxes are no targets.

    Parameters
    ----------
    train_set, validation_set: data sets with ``names`` and ``records``; of the second, only the split as a whole is
        looked at
    anchors: ``{stride: (count, 2)}`` in pixels of the network input
    image_size: (height, width) of the network input, in pixels
    """
    boxes = NetworkBoxes(train_set, image_size)
    lines = [
        _poor_fits(boxes, anchors),
        _lost_places(boxes, anchors),
        _tiny_boxes(boxes),
        *split_problems(train_set, "train"),
    ]
    if validation_set is not None:
        lines += split_problems(validation_set, "val", train_set)
    return [line for line in lines if line]


class NetworkBoxes:
    """All boxes that may be targets, as the network's input shows them.

    Those marked difficult or crowd are none.  cxcywh (n, 4) float64, fractions of the input; labels (n,); pictures
    (n,): numbers of their records; sizes (n, 2) in pixels; net_size (2,): width and height of the input; is_target
    (n,): whether the box is large enough; dataset: as given.
    """

    def __init__(self, dataset, image_size):
        height, width = image_size
        found, labels, pictures = [np.zeros((0, 4))], [np.zeros(0, int)], [np.zeros(0, int)]
        for number, record in enumerate(dataset.records):
            frame = Letterbox.fit(record.width, record.height, width, height)
            used = ~(record.difficult | record.crowd)  # (boxes,)
            found.append(frame.to_network(record.boxes_xyxy[used].astype(np.float64)))
            labels.append(record.labels[used])
            pictures.append(np.full(used.sum(), number))
        self.cxcywh, self.labels, self.pictures = map(np.concatenate, (found, labels, pictures))
        self.net_size = np.array([width, height])
        self.sizes = self.cxcywh[:, 2:] * self.net_size  # (n, 2) in pixels
        self.is_target = (self.cxcywh[:, 2:] >= SMALLEST_SIDE).all(axis=1)
        self.dataset = dataset

    def example(self, index):
        """One box in words: its size in the network's input, and its picture."""
        width, height = self.sizes[index]
        return f"{width:.3g}x{height:.3g} pixels in {self.dataset.records[self.pictures[index]].picture}"

    def at(self):
        return f"at {self.net_size[1]}x{self.net_size[0]}"


def _poor_fits(boxes, anchors):
    """The line about boxes unlike any anchor: the network must stretch the nearest one a long way."""
    if not len(boxes.sizes):
        return None
    fit = iou_wh(boxes.sizes[:, None], _all_anchors(anchors)[0]).max(axis=1)  # (n,)
    count = int((fit < POOR_FIT).sum())
    if not count:
        return None
    worst = fit.argmin()
    return (
        f"{share_of(count, len(fit), 'box')} fit no anchor {boxes.at()} (IoU below {POOR_FIT}; the worst, "
        f"{fit[worst]:.2f}: {boxes.example(worst)}) and are learned badly: see yolov3 anchors, or try another --imgsz"
    )


def _lost_places(boxes, anchors):
    """The line about objects that share cell and best anchor with another object: the last of them is learned."""
    used = boxes.is_target
    claims = _claims(boxes.cxcywh[used], boxes.net_size, boxes.pictures[used], anchors)  # (targets, 5)
    # Several labels of one and the same box lose nothing: they are several classes of one object.
    objects = np.unique(np.column_stack([claims, boxes.cxcywh[used]]), axis=0)
    lost = len(objects) - len(np.unique(claims, axis=0))
    if not lost:
        return None
    return (
        f"{share_of(lost, len(objects), 'object')} lose their place to another with the same cell and "
        f"anchor {boxes.at()} and are not learned there: try a larger --imgsz"
    )


def _tiny_boxes(boxes):
    sides = boxes.sizes.min(axis=1)  # (n,)
    tiny, dropped = int((sides < TINY).sum()), int((~boxes.is_target).sum())
    if not tiny:
        return None
    left_out = f"; {dropped} of them so small that they are left out" if dropped else ""
    return (
        f"{share_of(tiny, len(sides), 'box')} have a side below {TINY} pixels {boxes.at()} "
        f"(the thinnest: {boxes.example(sides.argmin())}){left_out}: try a larger --imgsz, or cut the pictures up"
    )


def _claims(boxes_cxcywh, net_size, pictures, anchors):
    """What each box lays claim to: (n, 5) whole numbers, its picture, stride, row, column and anchor (notes G2)."""
    sizes, strides = _all_anchors(anchors)
    best = iou_wh(boxes_cxcywh[:, None, 2:], sizes / net_size).argmax(axis=1)  # (n,)
    stride = strides[best]
    column, row = (boxes_cxcywh[:, :2] * net_size // stride[:, None]).astype(int).T
    return np.column_stack([pictures, stride, row, column, best])


def _all_anchors(anchors):
    """The anchors of all strides, fine to coarse as in the loss: sizes (count, 2) and their strides (count,)."""
    sizes = [np.asarray(anchors[stride], np.float64) for stride in sorted(anchors)]
    return np.concatenate(sizes), np.repeat(sorted(anchors), [len(each) for each in sizes])
