"""The table that ``yolov3 check-data`` prints: what a data set holds, and what is wrong with it."""

from collections import Counter

import numpy as np

from yolov3.boxes import box_area
from yolov3.data.report import KINDS
from yolov3.data.split_problems import split_problems
from yolov3.wording import count_of

SMALL_AREA, LARGE_AREA = 32**2, 96**2  # COCO's bounds, in square pixels of the picture
MESSAGES_PER_KIND = 20
PICTURE_SIZES = 5


def audit(dataset, split="train", train_set=None):
    """Describe one split of a data set in lines of text.

    Counts of pictures and boxes; per class the boxes, the pictures with at least one, and the boxes by area (small
    below 32x32, medium below 96x96, large from there, in pixels of the picture, as COCO does); the shortest, median and
    longest width and height; boxes per picture; the commonest picture sizes; every kind of problem with names; and
    what is wrong with the split as a whole, for one that is not ``train_set``, the training part, compared with that.
    """
    records = dataset.records
    # The empty array first: concatenate needs one, and a data set may have no boxes at all.
    boxes_xyxy = np.concatenate([np.zeros((0, 4), np.float32), *(record.boxes_xyxy for record in records)])  # (n, 4)
    labels = np.concatenate([np.zeros(0, np.int64), *(record.labels for record in records)])  # (n,)
    difficult = sum(int(record.difficult.sum()) for record in records)
    crowd = sum(int(record.crowd.sum()) for record in records)
    without = sum(len(record.labels) == 0 for record in records)
    lines = [
        f"pictures  {len(records)} ({without} without boxes)",
        f"boxes     {len(boxes_xyxy)} ({difficult} difficult, {crowd} crowd)",
        "",
        *_class_table(dataset, boxes_xyxy, labels),
        "",
        *_distributions(records, boxes_xyxy),
        "",
        *_picture_sizes(records),
        "",
        *_problems(dataset.report, split_problems(dataset, split, train_set)),
    ]
    return "\n".join(lines)


def _class_table(dataset, boxes_xyxy, labels):
    width = max(len("class"), len("all"), *(len(name) for name in dataset.names))
    areas = box_area(boxes_xyxy)
    present = Counter(int(label) for record in dataset.records for label in np.unique(record.labels))
    lines = [f"{'class':{width}}  {'boxes':>8} {'pictures':>8} {'small':>8} {'medium':>8} {'large':>8}"]
    rows = [(name, areas[labels == label], present[label]) for label, name in enumerate(dataset.names)]
    rows.append(("all", areas, sum(len(record.labels) > 0 for record in dataset.records)))
    for name, area, pictures in rows:
        small, large = np.sum(area < SMALL_AREA), np.sum(area >= LARGE_AREA)
        counts = (len(area), pictures, small, len(area) - small - large, large)
        lines.append(f"{name:{width}}  " + " ".join(f"{count:8d}" for count in counts))
    return lines


def _distributions(records, boxes_xyxy):
    rows = {
        "box width": boxes_xyxy[:, 2] - boxes_xyxy[:, 0],
        "box height": boxes_xyxy[:, 3] - boxes_xyxy[:, 1],
        "boxes per picture": np.array([len(record.labels) for record in records]),
    }
    lines = [f"{'(boxes in pixels)':17}  {'least':>8} {'median':>8} {'most':>8}"]
    for name, values in rows.items():
        if len(values):
            lines.append(f"{name:17}  {values.min():8.6g} {np.median(values):8.6g} {values.max():8.6g}")
    return lines


def _picture_sizes(records):
    sizes = Counter((record.width, record.height) for record in records).most_common()
    lines = ["picture sizes (width x height)"]
    lines += [f"  {width}x{height}: {count}" for (width, height), count in sizes[:PICTURE_SIZES]]
    if len(sizes) > PICTURE_SIZES:
        rest = sum(count for _, count in sizes[PICTURE_SIZES:])
        lines.append(f"  {len(sizes) - PICTURE_SIZES} other sizes: {rest}")
    return lines


def _problems(report, of_the_split):
    lines = [f"note: {note}" for note in report.remarks()]
    rounded = report.boxes_rounded
    if rounded:
        lines.append(f"note: {count_of(rounded, 'box')} clipped at the border by less than a pixel")
    counts = report.counts()
    lines.append("problems" if counts or of_the_split else "problems: none")
    for kind, count in counts.items():
        handled, one, many = KINDS[kind]
        lines.append(f"  {handled} {count} {one if count == 1 else many}")
        lines += [f"    {problem.message}" for problem in report.problems[kind][:MESSAGES_PER_KIND]]
        if count > MESSAGES_PER_KIND:
            lines.append(f"    ... and {count - MESSAGES_PER_KIND} more")
    return lines + [f"  {line}" for line in of_the_split]
