"""Pascal VOC's AP: cases worked by hand, an oracle in loops, and figures of third-party evaluators."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from yolov3.metrics import PictureDetections, PictureTruth
from yolov3.voc_metrics import f1_curves, mean_precision, voc_average_precision

BOX, SHIFTED, FAR = (0, 0, 10, 10), (0, 0, 10, 20), (50, 50, 60, 60)  # IoU of the first two: 100 / 200


def detections(*rows, label=0):
    """From ``(score, box)`` pairs of one class."""
    return PictureDetections([box for _, box in rows], [score for score, _ in rows], [label] * len(rows))


def truth(*boxes, **flags):
    return PictureTruth(boxes, [0] * len(boxes), **flags)


def ap(found, truths, **options):
    return voc_average_precision(found, truths, 1, **options).mean_ap


# ------------------------------------------------------------------------------------------------ by hand


def test_everything_found_and_nothing_found():
    assert ap([detections((0.9, BOX))], [truth(BOX)]) == 1.0
    assert ap([detections((0.9, FAR))], [truth(BOX)]) == 0.0
    assert ap([detections()], [truth(BOX)]) == 0.0


def test_overlap_equal_to_the_threshold_counts():
    found, truths = [detections((0.9, SHIFTED))], [truth(BOX)]
    assert ap(found, truths, iou_threshold=0.5) == 1.0
    assert ap(found, truths, iou_threshold=0.51) == 0.0


def test_area_and_eleven_points_by_hand():
    # From the surest down: right, wrong, right; three objects, so recall 1/3, 1/3, 2/3; precision 1, 1/2, 2/3.
    found = [detections((0.9, BOX), (0.8, (80, 80, 90, 90)), (0.7, FAR))]
    truths = [truth(BOX, FAR, (200, 200, 210, 210))]
    result = voc_average_precision(found, truths, 1)
    assert result.mean_ap == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert result.truth_counts.tolist() == [3]
    curve = result.curves[0]
    np.testing.assert_allclose(curve.scores, [0.9, 0.8, 0.7])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 2 / 3])
    # Recalls 0, .1, .2, .3 have precision 1; .4, .5, .6 have 2/3; from .7 on 0.
    assert ap(found, truths, method="11pt") == pytest.approx((4 + 3 * 2 / 3) / 11)


def test_second_detection_of_an_object_is_wrong():
    result = voc_average_precision([detections((0.6, BOX), (0.9, BOX))], [truth(BOX, FAR)], 1)
    np.testing.assert_allclose(result.curves[0].precision, [1, 1 / 2])
    assert result.mean_ap == 0.5


def test_best_object_is_chosen_even_when_it_is_taken():
    # Both detections overlap BOX best; the second could have had SHIFTED, but VOC does not look further.
    result = voc_average_precision([detections((0.9, BOX), (0.8, BOX))], [truth(BOX, SHIFTED)], 1)
    np.testing.assert_allclose(result.curves[0].recall, [0.5, 0.5])


def test_equal_scores_keep_their_order():
    right_first = [detections((0.5, BOX), (0.5, FAR))]
    wrong_first = [detections((0.5, FAR), (0.5, BOX))]
    assert ap(right_first, [truth(BOX)]) == 1.0
    assert ap(wrong_first, [truth(BOX)]) == 0.5


def test_difficult_objects_neither_help_nor_harm():
    found, truths = [detections((0.9, BOX), (0.8, BOX), (0.7, FAR))], [truth(BOX, FAR, difficult=[True, False])]
    result = voc_average_precision(found, truths, 1)
    assert result.mean_ap == 1.0
    assert result.truth_counts.tolist() == [1]
    assert len(result.curves[0].scores) == 1
    # Asked for: right, wrong (taken), right.
    assert ap(found, truths, count_difficult=True) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_crowd_boxes_are_always_ignored():
    found, truths = [detections((0.9, BOX), (0.7, FAR))], [truth(BOX, FAR, crowd=[True, False])]
    assert ap(found, truths) == 1.0
    assert ap(found, truths, count_difficult=True) == 1.0


def test_the_extra_pixel():
    # 4x4 against 4x8 pixels: 0.5. With one added to each side 25 / 45.
    found, truths = [detections((0.9, (0, 0, 4, 8)))], [truth((0, 0, 4, 4))]
    assert ap(found, truths, iou_threshold=0.55) == 0.0
    assert ap(found, truths, iou_threshold=0.55, plus_one=True) == 1.0


def test_classes_and_pictures_are_kept_apart():
    found = [detections((0.9, BOX), label=1), detections((0.8, BOX))]
    truths = [truth(BOX), truth(FAR)]
    result = voc_average_precision(found, truths, 3)
    np.testing.assert_array_equal(result.class_ap, [0, np.nan, np.nan])
    assert result.mean_ap == 0
    assert np.isnan(result.curves[1].recall).all()


def test_nothing_at_all_is_nan():
    assert np.isnan(voc_average_precision([], [], 2).mean_ap)
    assert np.isnan(voc_average_precision([detections()], [truth()], 2).class_ap).all()


# --------------------------------------------------------------------------------------------- wrong input


def test_wrong_input():
    with pytest.raises(ValueError, match="12pt"):
        ap([], [], method="12pt")
    with pytest.raises(ValueError, match="2 pictures"):
        ap([detections()] * 2, [truth()])
    with pytest.raises(ValueError, match="detections of picture 1"):
        ap([detections(), detections((0.5, BOX), label=1)], [truth()] * 2)


# ------------------------------------------------------------------------------------------ oracle in loops


def loop_voc_ap(found, truths, label, threshold, method, plus_one, count_difficult):
    """The rules one detection at a time, with no array in sight."""
    one = 1 if plus_one else 0

    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0]) + one
        height = min(a[3], b[3]) - max(a[1], b[1]) + one
        if width <= 0 or height <= 0:
            return 0.0
        areas = [(box[2] - box[0] + one) * (box[3] - box[1] + one) for box in (a, b)]
        return width * height / (areas[0] + areas[1] - width * height)

    everything = [
        (score, picture, box)
        for picture, one_found in enumerate(found)
        for score, box, its_label in zip(one_found.scores, one_found.boxes_xyxy, one_found.labels, strict=True)
        if its_label == label
    ]
    everything.sort(key=lambda row: -row[0])
    skipped = [t.crowd if count_difficult else t.crowd | t.difficult for t in truths]
    wanted = sum(
        int(its_label == label and not skip)
        for t, skips in zip(truths, skipped, strict=True)
        for its_label, skip in zip(t.labels, skips, strict=True)
    )
    taken, right, wrong, points = set(), 0, 0, []
    for _, picture, box in everything:
        best, best_overlap = None, -1.0
        for index, other in enumerate(truths[picture].boxes_xyxy):
            if truths[picture].labels[index] == label and overlap(box, other) > best_overlap:
                best, best_overlap = index, overlap(box, other)
        if best_overlap >= threshold and skipped[picture][best]:
            continue
        if best_overlap >= threshold and (picture, best) not in taken:
            taken.add((picture, best))
            right += 1
        else:
            wrong += 1
        points.append((right / wanted if wanted else 0.0, right / (right + wrong)))
    if not wanted:
        return float("nan")
    if method == "11pt":
        return sum(max([p for r, p in points if r >= i * 0.1], default=0.0) for i in range(11)) / 11
    recalls = sorted({r for r, _ in points})
    area, previous = 0.0, 0.0
    for recall in recalls:
        area += (recall - previous) * max(p for r, p in points if r >= recall)
        previous = recall
    return area


def random_pictures(seed, pictures=12, classes=3):
    """Small whole-number boxes and few different scores, so that equal overlaps and scores are common."""
    generator = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(pictures):
        n, m = generator.integers(0, 12), generator.integers(0, 6)
        corners = generator.integers(0, 6, (n + m, 2))
        boxes = np.concatenate([corners, corners + generator.integers(1, 8, (n + m, 2))], axis=1)
        labels = generator.integers(0, classes, n + m)
        found.append(PictureDetections(boxes[:n], generator.integers(0, 6, n) / 5, labels[:n]))
        truths.append(
            PictureTruth(boxes[n:], labels[n:], difficult=generator.random(m) < 0.2, crowd=generator.random(m) < 0.1)
        )
    return found, truths


@pytest.mark.parametrize("method", ["all", "11pt"])
@pytest.mark.parametrize("plus_one", [False, True])
@pytest.mark.parametrize("count_difficult", [False, True])
def test_equal_to_the_loops(method, plus_one, count_difficult):
    for seed in range(6):
        found, truths = random_pictures(seed)
        for threshold in (0.3, 0.5, 0.75):
            result = voc_average_precision(found, truths, 4, threshold, method, plus_one, count_difficult)
            expected = [
                loop_voc_ap(found, truths, label, threshold, method, plus_one, count_difficult) for label in range(4)
            ]
            np.testing.assert_allclose(result.class_ap, expected, atol=1e-12)
            assert result.mean_ap == pytest.approx(np.nanmean(expected), abs=1e-12)


# ---------------------------------------------------------------------------------- third-party evaluators

VARIANTS = [
    ("plus1_all", True, "all"),
    ("plus1_11pt", True, "11pt"),
    ("plain_all", False, "all"),
    ("plain_11pt", False, "11pt"),
]


@pytest.mark.parametrize(("name", "plus_one", "method"), VARIANTS)
def test_padilla(golden, name, plus_one, method):
    data = json.loads((golden / "map_check.json").read_text())
    found = [detections(*((row[0], row[1:]) for row in picture["detections"])) for picture in data["pictures"]]
    truths = [truth(*picture["truths"]) for picture in data["pictures"]]
    for threshold, expected in zip(data["iou"], data["expected"][name], strict=True):
        value = ap(found, truths, iou_threshold=threshold, plus_one=plus_one, method=method)
        assert value == pytest.approx(expected, abs=1e-9)


def read_rows(path):
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def read_detections(rows, class_of):
    """Rows of ``class score left top right bottom``."""
    return PictureDetections(
        [list(map(float, row[2:])) for row in rows], [float(row[1]) for row in rows], [class_of(row[0]) for row in rows]
    )


def test_golden_copy_of_padilla_is_what_the_files_say(shared, golden):
    folder = shared / "data/map_check/padilla"
    data = json.loads((golden / "map_check.json").read_text())
    expected = json.loads((shared / "data/map_check/expected.json").read_text())["padilla"]
    assert {name: expected[name] for name, _, _ in VARIANTS} == data["expected"]
    for picture, path in zip(data["pictures"], sorted((folder / "gts").iterdir()), strict=True):
        for key, parent in (("truths", "gts"), ("detections", "dets")):
            rows = np.array([list(map(float, row[1:])) for row in read_rows(folder / parent / path.name)])
            rows[:, -2:] += rows[:, -4:-2]  # x y w h -> corners
            np.testing.assert_allclose(picture[key], rows)


@pytest.mark.parametrize("name", ["plus1_all", "plain_all", "plus1_11pt"])
def test_cartucho(shared, name):
    folder = shared / "data/map_check/cartucho/input"
    classes = {}
    found, truths = [], []
    for path in sorted((folder / "ground-truth").iterdir()):
        rows = read_rows(path)
        labels = [classes.setdefault(row[0], len(classes)) for row in rows]
        truths.append(PictureTruth([list(map(float, row[1:5])) for row in rows], labels))
        rows = read_rows(folder / "detection-results" / path.name)
        found.append(read_detections(rows, lambda word: classes.setdefault(word, len(classes))))
    expected = json.loads((shared / "data/map_check/expected.json").read_text())["cartucho"]
    pixel, method = name.split("_")
    result = voc_average_precision(found, truths, len(classes), method=method, plus_one=pixel == "plus1")
    assert len(truths) == expected["images"]
    assert result.truth_counts.sum() == expected["gt"]
    assert (result.truth_counts > 0).sum() == expected["classes"]
    # The tool prints two digits after the point, the independent evaluator four.
    tolerance = 5e-3 if name == "plus1_all" else 5.1e-5
    assert 100 * result.mean_ap == pytest.approx(expected[f"{name}_mAP50_percent"], abs=tolerance)


@pytest.fixture(scope="module")
def voc100(shared):
    folder = shared / "data/map_check/voc100"
    names = (folder / "voc.names").read_text().split()
    found, truths = [], []
    for path in sorted((folder / "gts").iterdir()):
        objects = ElementTree.parse(path).getroot().findall("object")
        sides = ("xmin", "ymin", "xmax", "ymax")
        truths.append(
            PictureTruth(
                [[float(item.findtext(f"bndbox/{side}")) for side in sides] for item in objects],
                [names.index(item.findtext("name")) for item in objects],
                difficult=[item.findtext("difficult") == "1" for item in objects],
            )
        )
        found.append(read_detections(read_rows(folder / "dets" / f"{path.stem}.txt"), int))
    expected = json.loads((shared / "data/map_check/expected.json").read_text())["voc100"]
    return found, truths, expected


@pytest.mark.parametrize(("name", "plus_one", "method"), VARIANTS)
def test_voc100(voc100, name, plus_one, method):
    found, truths, expected = voc100
    for threshold, value in expected["difficult_counted"][name].items():
        result = voc_average_precision(found, truths, 20, float(threshold), method, plus_one, count_difficult=True)
        assert result.truth_counts.sum() == expected["gt"]
        assert result.mean_ap == pytest.approx(value, abs=5.1e-7)


def test_voc100_without_difficult_objects_asks_for_fewer(voc100):
    found, truths, expected = voc100
    result = voc_average_precision(found, truths, 20)
    assert result.truth_counts.sum() == expected["gt"] - expected["difficult"]
    oracle = [loop_voc_ap(found, truths, label, 0.5, "all", False, False) for label in range(20)]
    np.testing.assert_allclose(result.class_ap, oracle, atol=1e-12)


# ------------------------------------------------------------------------------------------------------ F1


def test_f1_by_hand():
    # From the surest: right, wrong, right of two objects.  F1 = 2 right / (kept + objects).
    found = detections((0.95, BOX), (0.65, (90, 90, 99, 99)), (0.35, FAR))
    curves = f1_curves(voc_average_precision([found], [truth(BOX, FAR)], 2), points=11)
    kept_three, kept_two, kept_one = 2 * 2 / (3 + 2), 2 * 1 / (2 + 2), 2 * 1 / (1 + 2)
    # Least scores 0, .1, .2, .3 | .4, .5, .6 | .7, .8, .9 | 1
    expected = [kept_three] * 4 + [kept_two] * 3 + [kept_one] * 3 + [0]
    np.testing.assert_allclose(curves.confidences, np.arange(11) / 10)
    np.testing.assert_allclose(curves.class_f1[0], expected)
    assert np.isnan(curves.class_f1[1]).all()  # no objects
    np.testing.assert_allclose(curves.mean_f1, expected)
    assert curves.best() == (0, pytest.approx(0.8))
    assert curves.detections == 3


def test_f1_is_meant_over_the_classes_with_objects():
    found = PictureDetections([BOX, FAR], [0.8, 0.4], [0, 1])
    curves = f1_curves(voc_average_precision([found], [PictureTruth([BOX, FAR], [0, 1])], 3), points=11)
    # Class 0 is right down to a least score of .8, class 1 down to .4.
    np.testing.assert_allclose(curves.mean_f1, [1] * 5 + [0.5] * 4 + [0] * 2)
    assert curves.best() == (0, 1)


def test_f1_of_equal_scores_keeps_all_or_none():
    found = detections((0.5, BOX), (0.5, (90, 90, 99, 99)))
    curves = f1_curves(voc_average_precision([found], [truth(BOX)], 1), points=3)
    np.testing.assert_allclose(curves.class_f1, [[2 / 3, 2 / 3, 0]])


def test_f1_without_any_detection_or_object():
    nothing = PictureDetections([], [], [])
    assert (f1_curves(voc_average_precision([nothing], [truth(BOX)], 1)).mean_f1 == 0).all()
    assert np.isnan(f1_curves(voc_average_precision([nothing], [PictureTruth([], [])], 1)).mean_f1).all()


# --------------------------------------------------------------------------------------- mean of the curves


def test_mean_precision_by_hand():
    # Class 0, right, wrong, right of three objects: precision 1 up to recall 1/3, 2/3 up to 2/3, then 0.
    # Class 1: its one object is found.  Class 2 has detections but no objects, and is left out.
    found = detections((0.9, BOX), (0.8, (80, 80, 90, 90)), (0.7, FAR))
    other = PictureDetections([BOX, FAR], [0.9, 0.8], [1, 2])
    truths = [truth(BOX, FAR, (200, 200, 210, 210)), PictureTruth([BOX], [1])]
    recalls, precision = mean_precision(voc_average_precision([found, other], truths, 3), points=11)
    np.testing.assert_allclose(recalls, np.arange(11) / 10)
    np.testing.assert_allclose(precision, [1] * 4 + [5 / 6] * 3 + [1 / 2] * 4)


def test_the_area_below_the_mean_precision_is_the_mean_ap(voc100):
    found, truths, _ = voc100
    result = voc_average_precision(found, truths, 20)
    _, precision = mean_precision(result, points=20001)
    assert precision[1:].mean() == pytest.approx(result.mean_ap, abs=1e-3)


def test_mean_precision_without_any_detection_or_object():
    nothing = PictureDetections([], [], [])
    assert (mean_precision(voc_average_precision([nothing], [truth(BOX)], 1))[1] == 0).all()
    assert np.isnan(mean_precision(voc_average_precision([nothing], [PictureTruth([], [])], 1))[1]).all()
