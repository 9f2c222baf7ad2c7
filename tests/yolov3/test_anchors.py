"""Anchors: hand-computed clusters, a k-means in loops, and figures others measured on public data."""

import csv
import xml.etree.ElementTree as ElementTree
from ast import literal_eval
from types import SimpleNamespace

import numpy as np
import pytest

from yolov3 import anchors as anchors_module
from yolov3.anchors import (
    PUBLISHED_ANCHORS,
    PUBLISHED_TINY_ANCHORS,
    anchors_by_stride_band,
    assign_by_rank,
    average_iou,
    band_limits,
    format_anchors,
    kmeans_anchors,
    network_sizes,
)
from yolov3.errors import UserError

NINE = np.concatenate(list(PUBLISHED_ANCHORS.values()))


def loop_iou(a, b):
    shared = min(a[0], b[0]) * min(a[1], b[1])
    return shared / (a[0] * a[1] + b[0] * b[1] - shared)


def loop_average_iou(sizes, anchors):
    return sum(max(loop_iou(size, anchor) for anchor in anchors) for size in sizes) / len(sizes)


def random_sizes(count, seed):
    return np.random.default_rng(seed).lognormal(3.5, 0.8, (count, 2))


# ---------------------------------------------------------------------------------------------- average IoU


def test_average_iou_by_hand():
    # 10x10 fits exactly; 10x20 with 10x10 shares 100 of 200, with 40x40 200 of 1600.
    assert average_iou([(10, 10), (10, 20)], [(10, 10), (40, 40)]) == pytest.approx((1 + 0.5) / 2)


def test_average_iou_equals_loops():
    sizes, anchors = random_sizes(50, 1), random_sizes(7, 2)
    assert average_iou(sizes, anchors) == pytest.approx(loop_average_iou(sizes, anchors), abs=1e-12)


# -------------------------------------------------------------------------------------------------- k-means


@pytest.mark.parametrize(("update", "expected"), [("mean", [14, 12]), ("median", [11, 12])])
def test_one_cluster_is_the_mean_or_the_median(update, expected):
    anchors, overlap = kmeans_anchors([(10, 12), (11, 12), (21, 12)], 1, update)
    assert anchors.tolist() == [expected]
    assert overlap == pytest.approx(loop_average_iou([(10, 12), (11, 12), (21, 12)], [expected]))


def test_separate_groups_are_found_and_sorted_by_area():
    groups = [[(90, 100), (110, 100)], [(9, 10), (11, 10)], [(30, 90), (32, 90), (34, 90)]]
    sizes = np.array([size for group in groups for size in group])
    # Two first centres in one group can end in a poorer optimum: that is why seeds are tried.
    anchors, _ = max((kmeans_anchors(sizes, 3, seed=seed) for seed in range(5)), key=lambda result: result[1])
    np.testing.assert_allclose(anchors, [(10, 10), (32, 90), (100, 100)])


@pytest.mark.parametrize("update", ["mean", "median"])
@pytest.mark.parametrize("seed", range(4))
def test_result_is_a_fixed_point_of_the_two_steps(update, seed):
    sizes = random_sizes(200, seed)
    anchors, overlap = kmeans_anchors(sizes, 6, update, seed)
    assert np.all(np.diff(anchors.prod(axis=1)) >= 0)
    assert overlap == pytest.approx(loop_average_iou(sizes, anchors), abs=1e-12)
    nearest = np.array([max(range(6), key=lambda k: loop_iou(size, anchors[k])) for size in sizes])
    for cluster in range(6):
        members = sizes[nearest == cluster]
        moved = members.mean(axis=0) if update == "mean" else np.median(members, axis=0)
        np.testing.assert_allclose(moved, anchors[cluster])


def test_same_seed_same_anchors_and_the_data_is_left_alone():
    sizes = random_sizes(300, 0)
    before = sizes.copy()
    first, again = (kmeans_anchors(sizes, 5, seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(sizes, before)


def test_the_number_of_rounds_is_limited(monkeypatch):
    sizes = random_sizes(500, 0)
    settled, _ = kmeans_anchors(sizes, 9)
    monkeypatch.setattr(anchors_module, "MOST_ROUNDS", 1)
    assert not np.allclose(kmeans_anchors(sizes, 9)[0], settled)


def test_every_distinct_size_can_be_its_own_anchor():
    sizes = [(10, 10)] * 6 + [(10, 30)] * 2 + [(50, 10)]
    for seed in range(10):
        anchors, overlap = kmeans_anchors(sizes, 3, seed=seed)
        assert anchors.tolist() == [[10, 10], [10, 30], [50, 10]]
        assert overlap == 1.0


@pytest.mark.parametrize(
    ("sizes", "count", "message"),
    [
        ([(10, 10)] * 9, 2, "1 distinct"),
        ([(10, 10), (20, 20)], 0, "ask for 1 to 2"),
        (np.zeros((0, 2)), 3, "no boxes"),
        ([(10, 10), (0, 5)], 1, "box size 1"),
        ([(10, 10), (np.nan, 5)], 1, "box size 1"),
    ],
)
def test_impossible_requests_are_user_errors(sizes, count, message):
    with pytest.raises(UserError, match=message):
        kmeans_anchors(sizes, count)


def test_programming_mistakes_are_value_errors():
    with pytest.raises(ValueError, match="mode"):
        kmeans_anchors([(10, 10)], 1, update="mode")
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        kmeans_anchors(np.ones((4, 4)), 1)


# --------------------------------------------------------------------------------------- groups per stride


def test_rank_deals_the_published_nine_to_their_strides():
    shuffled = np.random.default_rng(0).permutation(NINE)
    groups = assign_by_rank(shuffled)
    assert {stride: tuple(map(tuple, group)) for stride, group in groups.items()} == PUBLISHED_ANCHORS


def test_rank_deals_six_to_two_strides_and_refuses_seven():
    tiny = np.concatenate(list(PUBLISHED_TINY_ANCHORS.values()))
    groups = assign_by_rank(tiny, strides=(32, 16))
    assert {stride: tuple(map(tuple, group)) for stride, group in groups.items()} == PUBLISHED_TINY_ANCHORS
    with pytest.raises(UserError, match="7 anchors"):
        assign_by_rank(NINE[:7])


def test_band_limits_lie_between_the_published_groups():
    assert band_limits() == (34, 92)
    assert band_limits((16, 32)) == (61,)
    assert band_limits((8, 16)) == (34,)
    assert band_limits((32,)) == ()
    with pytest.raises(ValueError, match="strides"):
        band_limits((4, 8))


def test_each_band_is_clustered_by_itself():
    small, middle, large = [(20, 20), (34, 34)], [(35, 35), (92, 92)], [(93, 93), (200, 300)]
    result = anchors_by_stride_band(small + middle + large, per_scale=2, minimum_boxes=2)
    assert {stride: group.tolist() for stride, group in result.groups.items()} == {
        8: [[20, 20], [34, 34]],
        16: [[35, 35], [92, 92]],
        32: [[93, 93], [200, 300]],
    }
    assert result.box_counts == {8: 2, 16: 2, 32: 2}
    assert result.average_iou == 1.0
    assert result.published == ()


def test_a_band_with_few_boxes_keeps_the_published_anchors():
    sizes = np.random.default_rng(0).uniform(15, 30, (100, 2))  # all below 34
    result = anchors_by_stride_band(sizes)
    assert result.box_counts == {8: 100, 16: 0, 32: 0}
    assert result.published == (16, 32)
    np.testing.assert_array_equal(result.groups[16], PUBLISHED_ANCHORS[16])
    np.testing.assert_array_equal(result.groups[32], PUBLISHED_ANCHORS[32])
    np.testing.assert_array_equal(result.groups[8], kmeans_anchors(sizes, 3)[0])
    everything = np.concatenate(list(result.groups.values()))
    assert result.average_iou == pytest.approx(loop_average_iou(sizes, everything))


def test_a_band_of_equal_boxes_keeps_the_published_anchors():
    result = anchors_by_stride_band([(20, 20)] * 100)
    assert result.published == (8, 16, 32)
    assert result.box_counts[8] == 100


@pytest.mark.parametrize(("per_scale", "kept"), [(1, [(62, 45)]), (2, [(30, 61), (59, 119)])])
def test_fewer_published_anchors_where_fewer_are_wanted(per_scale, kept):
    result = anchors_by_stride_band(random_sizes(50, 0) / 100, per_scale=per_scale)
    assert result.groups[16].tolist() == [list(size) for size in kept]


def test_more_than_three_published_anchors_cannot_be_kept():
    with pytest.raises(UserError, match="stride 16"):
        anchors_by_stride_band(np.random.default_rng(0).uniform(15, 30, (100, 2)), per_scale=4)
    with pytest.raises(UserError, match="at least 1"):
        anchors_by_stride_band(random_sizes(50, 0), per_scale=0)


def test_networks_with_two_strides_and_with_one():
    sizes = np.array([(50, 50)] * 2 + [(70, 70)])
    two = anchors_by_stride_band(sizes, per_scale=1, minimum_boxes=1, strides=(16, 32))
    assert {stride: group.tolist() for stride, group in two.groups.items()} == {16: [[50, 50]], 32: [[70, 70]]}
    one = anchors_by_stride_band(sizes, per_scale=2, minimum_boxes=1, strides=(32,))
    assert one.groups[32].tolist() == [[50, 50], [70, 70]]
    kept = anchors_by_stride_band([(50, 50)], strides=(16, 32))
    np.testing.assert_array_equal(kept.groups[32], PUBLISHED_TINY_ANCHORS[32])


# ---------------------------------------------------------------------------------------------- text, sizes


def test_text_to_paste():
    python, cfg = format_anchors(PUBLISHED_ANCHORS)
    assert literal_eval(python) == PUBLISHED_ANCHORS
    assert cfg == "anchors = 10,13,  16,30,  33,23,  30,61,  62,45,  59,119,  116,90,  156,198,  373,326"


def test_text_keeps_tenths_and_one_anchor_stays_a_group():
    python, cfg = format_anchors({32: np.array([[100.0, 80.06]]), 16: np.array([[3.44, 5.0]])})
    assert python == "{16: ((3.4, 5),), 32: ((100, 80.1),)}"
    assert cfg == "anchors = 3.4,5,  100,80.1"


def test_sizes_after_the_letterbox():
    records = [
        SimpleNamespace(
            width=640,
            height=480,  # scale 416 / 640 = 0.65
            boxes_xyxy=np.array([[0, 0, 100, 200], [5, 5, 25, 45], [0, 0, 9, 9.0]]),
            difficult=np.array([False, True, False]),
            crowd=np.array([False, False, True]),
        ),
        SimpleNamespace(
            width=100,
            height=208,  # scale 208 / 208
            boxes_xyxy=np.array([[10, 20, 40, 80.0]]),
            difficult=np.array([False]),
            crowd=np.array([False]),
        ),
    ]
    np.testing.assert_allclose(network_sizes(records, 416, 312), [[65, 130], [45, 90]])
    assert network_sizes([], 416, 416).shape == (0, 2)


# ---------------------------------------------------------------------------------------------- public data


@pytest.fixture(scope="module")
def voc_sizes(shared):
    """VOC 2007 trainval without difficult boxes: ``(12608, 2)`` raw pixels, ``width = xmax - xmin``."""
    with open(shared / "data/boxes/voc2007_trainval.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["difficult"] == "0"]
    corners = np.array([[float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")] for row in rows])
    return corners[:, 2:] - corners[:, :2]


@pytest.fixture(scope="module")
def coco_sizes(shared):
    with open(shared / "data/boxes/coco_val2017.csv", newline="") as file:
        return np.array([[float(row["w"]), float(row["h"])] for row in csv.DictReader(file)])


@pytest.mark.parametrize(("count", "percent", "tolerance"), [(5, 61.0, 0.3), (9, 67.2, 0.6)])
def test_the_table_of_yolo9000(voc_sizes, count, percent, tolerance):
    assert len(voc_sizes) == 12608
    found = [100 * kmeans_anchors(voc_sizes, count, seed=seed)[1] for seed in range(3)]
    np.testing.assert_allclose(found, percent, atol=tolerance)


def test_the_published_nine_on_coco(coco_sizes):
    assert len(coco_sizes) == 36781
    assert 100 * average_iou(coco_sizes, NINE) == pytest.approx(61.39, abs=0.005)


def test_the_median_serves_coco_better_than_the_mean(coco_sizes):
    part = coco_sizes[::4]  # all boxes would take seconds
    assert 60.4 < 100 * kmeans_anchors(part, 9, "median")[1] < 61.7
    assert 100 * kmeans_anchors(part, 9, "mean")[1] < 58


def test_blood_cells_at_416(shared):
    folder = shared / "data/bccd"
    sizes = []
    for name in (folder / "ImageSets/Main/trainval.txt").read_text().split():
        root = ElementTree.parse(folder / "Annotations" / f"{name}.xml").getroot()
        scale = min(416 / int(root.findtext("size/width")), 416 / int(root.findtext("size/height")))
        for box in root.iter("bndbox"):
            left, top, right, bottom = (float(box.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
            sizes.append((scale * (right - left), scale * (bottom - top)))
    sizes = np.array([size for size in sizes if min(size) > 0])
    for count, percent in ((3, 80.2), (6, 85.8), (9, 87.9)):
        found = [100 * kmeans_anchors(sizes, count, seed=seed)[1] for seed in range(5)]
        assert max(found) == pytest.approx(percent, abs=0.1)
        assert min(found) > percent - 0.7  # some starts end in a poorer optimum
    assert 100 * average_iou(sizes, NINE) == pytest.approx(65.2, abs=0.1)
