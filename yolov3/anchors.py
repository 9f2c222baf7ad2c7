"""Anchors: the box sizes from which the network starts, found in the data by k-means.

A size is ``(width, height)`` in pixels of the network input.  Anchors come in groups, one per stride of
the network, ``{8: (n, 2), 16: (n, 2), 32: (n, 2)}``: fine strides carry the small ones (notes, F3).

Clustering measures distance as ``1 - IoU`` of two boxes that share a corner, because Euclidean distance
would care about large boxes most (Redmon and Farhadi, "YOLO9000", 2017, section 2, "Dimension Clusters").
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from yolov3.boxes import iou_wh
from yolov3.errors import UserError

# Redmon and Farhadi, "YOLOv3", 2018, section 2.3: k-means on COCO, for inputs of about 416 pixels.
PUBLISHED_ANCHORS = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
# The six of yolov3-tiny.
PUBLISHED_TINY_ANCHORS = {
    16: ((10, 14), (23, 27), (37, 58)),
    32: ((81, 82), (135, 169), (344, 319)),
}
MOST_ROUNDS = 1000  # of k-means, where it does not settle earlier


@dataclass(frozen=True, eq=False)
class StrideBandAnchors:
    """What :func:`anchors_by_stride_band` found.

    ``groups``: stride -> anchors ``(per_scale, 2)``, small to large; ``average_iou`` of all boxes with all
    anchors; ``box_counts``: stride -> boxes in its band; ``published``: the strides that kept the published
    anchors because their band had too few boxes.
    """

    groups: dict
    average_iou: float
    box_counts: dict
    published: tuple


def average_iou(sizes, anchors):
    """How well anchors fit: each size's IoU with its best anchor, averaged.  ``(n, 2), (k, 2) -> float``."""
    sizes, anchors = _checked(sizes), _checked(anchors)
    return float(iou_wh(sizes[:, None], anchors[None, :]).max(axis=1).mean())


def kmeans_anchors(sizes, count, update="mean", seed=0):
    """Cluster sizes ``(n, 2)`` into ``count`` anchors: ``(anchors (count, 2), average IoU)``.

    Lloyd's two steps in turn: every size goes to the centre of smallest ``1 - IoU`` (of equal ones the
    first); every centre moves to the ``update`` of its sizes, ``"mean"`` or ``"median"`` of widths and
    heights (one without sizes stays).  It ends when no size changes its centre, or after
    ``MOST_ROUNDS``.  Neither update minimises ``1 - IoU`` exactly; on long-tailed sizes such as COCO's
    the median comes closer.  Anchors come back by area, small to large.

    UserError where there are fewer distinct sizes than anchors, or a size is not positive; ValueError for
    an unknown ``update``.
    """
    if update not in ("mean", "median"):
        raise ValueError(f"unknown update {update!r}: choose 'mean' or 'median'")
    sizes = _checked(sizes)
    distinct = len(np.unique(sizes, axis=0))
    if not 1 <= count <= distinct:
        raise UserError(f"cannot make {count} anchors from {distinct} distinct box sizes: ask for 1 to {distinct}")
    centres = _spread_out_start(sizes, count, np.random.default_rng(seed))
    nearest = np.full(len(sizes), -1)
    for _ in range(MOST_ROUNDS):
        previous, nearest = nearest, iou_wh(sizes[:, None], centres[None, :]).argmax(axis=1)  # (n,)
        if np.array_equal(nearest, previous):
            break
        for cluster in range(count):
            members = sizes[nearest == cluster]
            if len(members):
                centres[cluster] = members.mean(axis=0) if update == "mean" else np.median(members, axis=0)
    anchors = _by_area(centres)
    return anchors, average_iou(sizes, anchors)


def assign_by_rank(anchors, strides=(8, 16, 32)):
    """Deal anchors ``(k, 2)`` out by rank of area, the smallest to the finest stride: stride -> ``(k / strides, 2)``.

    The original's way.  Where all objects are of a kind it sends some to a stride too coarse for them;
    :func:`anchors_by_stride_band` does not.  UserError where the anchors cannot be dealt out evenly.
    """
    anchors = _by_area(_checked(anchors))
    if len(anchors) % len(strides):
        raise UserError(f"{len(anchors)} anchors do not divide evenly among {len(strides)} strides")
    return dict(zip(sorted(strides), np.split(anchors, len(strides)), strict=True))


def band_limits(strides=(8, 16, 32)):
    """The ``sqrt(width * height)`` in pixels up to which boxes belong to each stride but the last.

    Half-way, as a ratio, between the published groups: the geometric mean of a group's largest anchor and
    the next group's smallest, in whole pixels.  For strides 8, 16, 32 that is 34 and 92; for 16 and 32
    the anchors of yolov3-tiny give 61; for one stride there is no limit.  ValueError for other strides
    than 8, 16 and 32.
    """
    published = _published_groups(strides)
    means = [np.sqrt(np.prod(group, axis=1)) for group in published.values()]  # one (3,) per stride
    return tuple(int(np.sqrt(fine[-1] * coarse[0])) for fine, coarse in pairwise(means))


def anchors_by_stride_band(sizes, per_scale=3, update="mean", seed=0, minimum_boxes=30, strides=(8, 16, 32)):
    """Cluster the boxes of each stride's band of sizes separately: a :class:`StrideBandAnchors`.

    The bands are those of :func:`band_limits`: each stride gets anchors of the size it is made for, even
    where the data's objects are all small.  A band with fewer than ``minimum_boxes`` boxes, or too few
    different ones, keeps the published anchors (of its three, the middle one for ``per_scale`` 1, the
    outer two for 2).

    UserError where such a band should have more than three anchors, or none are asked for; ValueError as for
    :func:`kmeans_anchors` and :func:`band_limits`.
    """
    if per_scale < 1:
        raise UserError(f"{per_scale} anchors per scale: ask for at least 1")
    sizes = _checked(sizes)
    # (n,): index of the stride.  A size exactly at a limit belongs to the finer stride.
    band = np.searchsorted(band_limits(strides), np.sqrt(sizes.prod(axis=1)))
    groups, box_counts, kept = {}, {}, []
    for index, (stride, published) in enumerate(_published_groups(strides).items()):
        members = sizes[band == index]
        box_counts[stride] = len(members)
        if len(members) >= minimum_boxes and len(np.unique(members, axis=0)) >= per_scale:
            groups[stride], _ = kmeans_anchors(members, per_scale, update, seed)
            continue
        if per_scale > len(published):
            raise UserError(
                f"only {len(members)} boxes have a size for stride {stride}: ask for at most {len(published)} "
                "anchors per scale, so that it can keep the published ones"
            )
        chosen = {1: [1], 2: [0, 2], 3: [0, 1, 2]}[per_scale]
        groups[stride] = np.array(published, dtype=np.float64)[chosen]
        kept.append(stride)
    overall = average_iou(sizes, np.concatenate(list(groups.values())))
    return StrideBandAnchors(groups, overall, box_counts, tuple(kept))


def format_anchors(groups):
    """Groups as text to paste, to a tenth of a pixel: ``(for the model's argument, for a cfg file)``.

    The first is Python, ``{8: ((10, 13), ...), 16: ..., 32: ...}``; the second the line
    ``anchors = 10,13,  16,30,  ...`` of the original program, all anchors from small to large.
    """
    rounded = {stride: tuple((_tenths(w), _tenths(h)) for w, h in groups[stride]) for stride in sorted(groups)}
    pairs = [f"{width},{height}" for group in rounded.values() for width, height in group]
    return repr(rounded), f"anchors = {',  '.join(pairs)}"


def network_sizes(records, net_width, net_height):
    """Sizes ``(n, 2)`` of a data set's boxes in pixels of the network input, after the letterbox.

    The letterbox scales a picture by ``min(net_width / width, net_height / height)``.  ``records`` are
    objects with ``width``, ``height``, ``boxes_xyxy (m, 4)`` in pixels, ``difficult (m,)`` and
    ``crowd (m,)``.  Difficult and crowd boxes are left out.
    """
    sizes = [np.zeros((0, 2))]
    for record in records:
        boxes_xyxy = record.boxes_xyxy[~(record.difficult | record.crowd)]
        scale = min(net_width / record.width, net_height / record.height)
        sizes.append((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * scale)
    return np.concatenate(sizes)


def _spread_out_start(sizes, count, generator):
    """The k-means++ start: ``count`` of the sizes ``(count, 2)``, each likely to be far from those before it.

    A size is drawn with probability proportional to its distance to the nearest centre so far, to the
    power 1: what we minimise is the sum of distances.  (k-means++ squares because plain k-means minimises
    the sum of squares: Arthur and Vassilvitskii, 2007, section 5, on other exponents.)
    """
    centres = sizes[[generator.integers(len(sizes))]]  # (1, 2)
    for _ in range(count - 1):
        overlap = iou_wh(sizes[:, None], centres[None, :]).max(axis=1)  # (n,)
        distance = np.maximum(1 - overlap, 0)  # rounding can lift an IoU just above 1
        chosen = generator.choice(len(sizes), p=distance / distance.sum())
        centres = np.concatenate([centres, sizes[[chosen]]])
    return centres


def _tenths(side):
    """A side to one decimal, without it where it is a whole number: 19.94 -> 19.9, 33.0 -> 33."""
    rounded = round(float(side), 1)
    return int(rounded) if rounded.is_integer() else rounded


def _by_area(anchors):
    return anchors[np.argsort(anchors.prod(axis=1), kind="stable")]


def _published_groups(strides):
    published = PUBLISHED_TINY_ANCHORS if sorted(strides) == [16, 32] else PUBLISHED_ANCHORS
    if not strides or not set(strides) <= set(published):
        raise ValueError(f"strides {tuple(strides)} have no published anchors: choose among 8, 16 and 32")
    return {stride: published[stride] for stride in sorted(strides)}


def _checked(sizes):
    sizes = np.asarray(sizes, dtype=np.float64)
    if sizes.ndim != 2 or sizes.shape[1] != 2:
        raise ValueError(f"sizes have shape {sizes.shape}, wanted (n, 2)")
    if not len(sizes):
        raise UserError("there are no boxes to find anchors from: label some objects first")
    bad = np.flatnonzero(~(np.isfinite(sizes) & (sizes > 0)).all(axis=1))
    if len(bad):
        raise UserError(f"box size {bad[0]} is {sizes[bad[0]].tolist()}: width and height must be positive numbers")
    return sizes
