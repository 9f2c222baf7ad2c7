"""From what a label file says to what may be trained on: one ``Record`` per usable picture, boxes checked.

The readers (``voc.py``, ``yolo_txt.py``, ``coco.py``) only read; every box of every format is checked here.
"""

import math
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from yolov3.boxes import box_area, clip_boxes, iou_xyxy
from yolov3.data.files import picture_sizes
from yolov3.errors import UserError
from yolov3.wording import some_of

MINIMUM_SIDE = 1e-3
"""Pixels; a box thinner than this has no area: at 16,384 pixels float32 can no longer tell its two sides apart."""

ROUNDING = 1.0
"""Pixels; a box that crosses the border by less is clipped without a warning: labels are rounded numbers."""

MOST_OBJECTS = 10_000
"""Of one picture: every pair of them is compared.  The fullest pictures of the known sets have some 3,000."""

DUPLICATE_IOU = 0.9
"""Two boxes of one class that overlap by more are one object labelled twice (neighbours never get this close)."""


@dataclass(frozen=True, eq=False)
class Record:
    """One usable picture and its checked boxes.

    ``width`` and ``height`` are the picture's own, after its EXIF orientation; ``boxes_xyxy`` (n, 4) float32 are in
    its pixels, inside ``[0, width] x [0, height]``; ``labels`` (n,) int64 index the data set's names; ``difficult``
    (n,) bool is Pascal VOC's flag, ``crowd`` (n,) bool COCO's ``iscrowd``; ``areas`` (n,) float64 are the
    objects' own in square pixels, as COCO's files state them, and those of the boxes where given as NaN or left out;
    ``name`` is the picture's file stem and ``annotation`` the file the labels came from.
    """

    picture: Path
    name: str
    annotation: str
    width: int
    height: int
    boxes_xyxy: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray | None = None

    def __post_init__(self):
        areas = box_area(self.boxes_xyxy.astype(np.float64))  # (n,)
        if self.areas is not None:
            areas = np.where(np.isnan(self.areas), areas, self.areas)
        object.__setattr__(self, "areas", areas)  # the dataclass is frozen once it is made


@dataclass(frozen=True)
class LabelledObject:
    """One object as its label file states it; ``where`` names it there: ``object 3 (RBC)``, ``line 7``.

    ``area`` is that of the object's outline in square pixels; NaN where the file does not state it.
    """

    where: str
    class_name: str
    box_xyxy: tuple[float, float, float, float]
    difficult: bool = False
    crowd: bool = False
    area: float = math.nan


@dataclass(frozen=True)
class LabelledPicture:
    """One picture as its label file describes it, before any check.

    With ``relative`` the boxes are fractions of the picture's size, otherwise pixels.  ``is_assumed``: its label file
    does not exist, and so it counts as background.
    """

    picture: Path
    annotation: Path
    objects: list[LabelledObject] = field(default_factory=list)
    stated_size: tuple[int, int] | None = None
    relative: bool = False
    is_assumed: bool = False


def build_records(labelled_pictures, names, report):
    """The usable pictures among ``labelled_pictures``, as a list of :class:`Record`.

    Every picture is decoded once; a broken one is reported and left out.  Boxes are checked by
    :func:`check_boxes`.  ``names`` are the class names in the order of the labels.
    """
    labels_of = {name: label for label, name in enumerate(names)}
    records, picture_of = [], {}
    # Closed at once when a strict report raises: otherwise its threads would first decode what is left.
    with closing(picture_sizes([labelled.picture for labelled in labelled_pictures])) as sizes:
        for labelled, size in zip(labelled_pictures, sizes, strict=True):
            if isinstance(size, UserError):
                report.add("broken picture", labelled.picture, str(size).removeprefix(f"{labelled.picture}: "))
            elif len(labelled.objects) > MOST_OBJECTS:
                detail = f"{labelled.picture.name} has {len(labelled.objects):,} objects, more than the"
                detail += f" {MOST_OBJECTS:,} that a picture may have; check what they are"
                report.add("broken annotation", labelled.annotation, detail)
            else:
                records.append(make_record(labelled, size, labels_of, report))
                if labelled.relative:  # from a text file, which should be one picture's
                    report_shared_file(labelled, picture_of, report)
    return records


def report_shared_file(labelled, picture_of, report):
    """Report a label file that is that of an earlier picture, too; ``picture_of`` is ``{label file: picture}``."""
    first = picture_of.setdefault(labelled.annotation, labelled.picture)
    if first != labelled.picture:
        detail = f"counts for both {first} and {labelled.picture}; rename or remove one of these"
        report.add("shared label file", labelled.annotation, detail)


def make_record(labelled, size, labels_of, report):
    """The :class:`Record` of one picture of ``size = (width, height)``; its problems go to the report."""
    width, height = size
    if labelled.is_assumed:  # said of usable pictures only
        detail = f"does not exist, so {labelled.picture.name} counts as background; make an empty file if that is right"
        report.add("assumed background", labelled.annotation, detail)
    if labelled.stated_size not in (None, size):
        stated = "{}x{}".format(*labelled.stated_size)
        detail = f"states a picture of {stated} pixels (width x height) but {labelled.picture.name} has"
        report.add("wrong picture size", labelled.annotation, f"{detail} {width}x{height}; check its boxes")
    objects, boxes_xyxy = check_boxes(labelled, width, height, labels_of, report)
    record = Record(
        picture=labelled.picture,
        name=labelled.picture.stem,
        annotation=str(labelled.annotation),
        width=width,
        height=height,
        boxes_xyxy=boxes_xyxy,
        labels=np.array([labels_of[o.class_name] for o in objects], np.int64),
        difficult=np.array([o.difficult for o in objects], bool),
        crowd=np.array([o.crowd for o in objects], bool),
        areas=np.array([o.area for o in objects], np.float64),
    )
    report_duplicates(record, objects, report)
    return record


def check_boxes(labelled, width, height, labels_of, report):
    """The usable objects of one picture and their boxes, (n, 4) float32 pixels, clipped to the picture.

    Left out and reported: classes not in ``labels_of``, boxes with a NaN or infinity, without area (a right edge
    left of the left one included), or wholly outside.  Clipped and reported: boxes that cross the border by a
    pixel or more; smaller overshoots are rounding, clipped and only counted.
    """
    known = [o for o in labelled.objects if is_known(o, labelled.annotation, labels_of, report)]
    stated = np.array([o.box_xyxy for o in known], np.float64).reshape(-1, 4)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found as non-finite below
        if labelled.relative:
            stated = stated * [width, height, width, height]
        boxes_xyxy = stated.astype(np.float32)
        clipped = clip_boxes(boxes_xyxy, width, height)
        sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]  # (n, 2): width, height
        clipped_sides = clipped[:, 2:] - clipped[:, :2]
        overshoot = np.abs(boxes_xyxy - clipped).max(axis=1, initial=0)  # (n,): pixels beyond the border
    finite = np.isfinite(boxes_xyxy).all(axis=1)
    has_area = (sides >= MINIMUM_SIDE).all(axis=1)
    inside = (clipped_sides >= MINIMUM_SIDE).all(axis=1)
    usable = finite & has_area & inside

    for i in np.flatnonzero(~usable | (overshoot > 0)):
        box = "({:g}, {:g}, {:g}, {:g})".format(*stated[i])
        if not finite[i]:
            kind, detail = "non-finite box", f"the box {box} is not made of finite numbers; correct or remove it"
        elif not has_area[i]:
            size = "{:g} wide and {:g} high".format(*sides[i])
            kind, detail = "zero-area box", f"the box {box} is {size}, without area; redraw or remove it"
        elif not inside[i]:
            kind, detail = "box outside", f"the box {box} is outside the {width}x{height} picture; redraw or remove it"
        elif overshoot[i] >= ROUNDING:
            kind = "box clipped"
            detail = f"the box {box} crosses the border of the {width}x{height} picture by {overshoot[i]:.3g} pixels;"
            detail += " it is clipped, or redraw it"
        else:
            report.boxes_rounded += 1
            continue
        report.add(kind, labelled.annotation, detail, known[i].where)
    return [known[i] for i in np.flatnonzero(usable)], clipped[usable]


def is_known(labelled_object, annotation, labels_of, report):
    """Whether the object's class is one of the data set's; reported if not."""
    if labelled_object.class_name in labels_of:
        return True
    names = list(labels_of)
    known = some_of(names, 10)
    detail = f"class {labelled_object.class_name!r} is not among the {len(names)} known ones ({known}); correct it"
    report.add("unknown class", annotation, detail, labelled_object.where)
    return False


def report_duplicates(record, objects, report):
    """Report each box that overlaps an earlier one of its class by more than ``DUPLICATE_IOU``, once.  Both are kept.

    Kept, because which of the two is right is for a person to say, and because published figures count both.
    A crowd box, which covers many objects, is nobody's duplicate.
    """
    boxes_xyxy, labels, single = record.boxes_xyxy, record.labels, ~record.crowd
    rows = 64  # compare a few boxes at a time with all: memory stays small however many there are
    for start in range(0, len(objects), rows):
        some = slice(start, start + rows)
        iou = iou_xyxy(boxes_xyxy[some, None], boxes_xyxy[None])  # (rows, n)
        same_class = (labels[some, None] == labels[None]) & single[some, None] & single[None]
        same = (iou > DUPLICATE_IOU) & same_class
        first = same.argmax(axis=1)  # (rows,): the first box that each is the same as; itself, if no other
        for row in np.flatnonzero(same.any(axis=1) & (first < start + np.arange(len(same)))):
            detail = f"has nearly the same box (IoU {iou[row, first[row]]:.3f}) as {objects[first[row]].where}"
            report.add("duplicate box", record.annotation, f"{detail}; remove one of them", objects[start + row].where)
