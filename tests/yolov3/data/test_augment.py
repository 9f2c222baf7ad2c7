"""Augmentation against the original's numbers, Python's own colour conversion, and boxes drawn into pictures."""

import colorsys
import dataclasses
import json
import math
import warnings

import numpy as np
import pytest

from tests.hashing import hash01, hash_image
from yolov3.data.augment import (
    NONE,
    ORIGINAL,
    RECIPE,
    Augmentation,
    Placement,
    augment,
    correct_boxes,
    distort_colours,
    place_anywhere,
    place_image,
)
from yolov3.errors import UserError
from yolov3.image import letterbox

NO_BOXES = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def functions(golden):
    return json.loads((golden / "functions.json").read_text())


def planes_to_picture(values, height, width):
    """Flat golden numbers, colours first, as (height, width, 3)."""
    return np.array(values, dtype=np.float32).reshape(3, height, width).transpose(1, 2, 0)


# --- Colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "strengths"),
    [("distort_h+.1_s1.5_v1.3", (0.1, 1.5, 1.3)), ("distort_h-.05_s.667_v.8", (-0.05, 2 / 3, 0.8))],
)
def test_colours_equal_the_original(functions, key, strengths):
    image = planes_to_picture(functions["distort_in_3x2x3"], 2, 3)
    expected = planes_to_picture(functions[key], 2, 3)
    np.testing.assert_allclose(distort_colours(image, *strengths), expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize("strengths", [(0.1, 1.5, 1.3), (-0.1, 0.7, 0.8), (0.45, 1.0, 1.0), (-0.9, 1.2, 0.5)])
def test_colours_equal_colorsys(strengths):
    hue, saturation, exposure = strengths
    image = (hash_image(50, 9, 3) / 255).astype(np.float32)
    image[0, :6] = [(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    expected = np.empty(image.shape)
    for place in np.ndindex(9, 50):
        h, s, v = colorsys.rgb_to_hsv(*image[place].tolist())
        # The original lets the saturation exceed 1 and clips the colours at the end; colorsys's
        # formula is linear in s, so it does the same.
        expected[place] = np.clip(colorsys.hsv_to_rgb((h + hue) % 1, s * saturation, v * exposure), 0, 1)
    np.testing.assert_allclose(distort_colours(image, *strengths), expected, rtol=0, atol=2e-6)


def test_colours_equal_opencv_on_a_whole_picture():
    cv2 = pytest.importorskip("cv2")
    image = (hash_image(320, 256, 9) / 255).astype(np.float32)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # hue in degrees
    hsv[..., 0] = (hsv[..., 0] + 360 * 0.07) % 360
    hsv[..., 1:] *= 0.8, 0.9
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    np.testing.assert_allclose(distort_colours(image, 0.07, 0.8, 0.9), expected, rtol=0, atol=1e-5)


def test_colours_by_hand():
    red = np.array([[1, 0, 0]], dtype=np.float32)
    np.testing.assert_allclose(distort_colours(red, 1 / 3, 1, 1), [[0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(distort_colours(red, -1 / 3, 1, 0.5), [[0, 0, 0.5]], atol=1e-6)
    np.testing.assert_allclose(distort_colours(red, 0, 0.5, 1), [[1, 0.5, 0.5]], atol=1e-6)
    grey = np.full((2, 3), 0.25, dtype=np.float32)
    np.testing.assert_allclose(distort_colours(grey, 0.3, 5, 2), np.full((2, 3), 0.5), atol=1e-7)


def test_colours_keep_the_picture_they_were_given_and_do_not_warn():
    image = np.zeros((64, 500, 3), dtype=np.float32)
    image[:, :200] = hash_image(200, 64, 1) / 255
    before = image.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distorted = distort_colours(image, 0.1, 1.5, 1.5)
    np.testing.assert_array_equal(image, before)
    assert distorted.dtype == np.float32
    assert distorted.shape == image.shape
    assert np.isfinite(distorted).all()


# --- Placing --------------------------------------------------------------------------------------


def test_place_image_equals_the_original(functions):
    source = np.repeat(np.array(functions["resize_in_1x4x5"], dtype=np.float32).reshape(4, 5, 1), 3, axis=2)
    expected = np.array(functions["place_w6_h4_dx1_dy2_on_7x7_half"], dtype=np.float32).reshape(7, 7)
    canvas = np.full((7, 7, 3), 0.5, dtype=np.float32)
    place_image(canvas, source, left=1, top=2, width=6, height=4)
    for channel in range(3):
        np.testing.assert_allclose(canvas[..., channel], expected, rtol=0, atol=2e-7)


def test_place_image_equals_naive_loops():
    image = hash_image(9, 7, 4)
    canvas = np.zeros((30, 40, 3), dtype=np.float32)
    place_image(canvas, image, left=3, top=2, width=31, height=5)
    padded = np.pad(image / 255, ((0, 1), (0, 1), (0, 0)))
    expected = np.zeros((30, 40, 3))
    for y in range(5):
        for x in range(31):
            source_x, source_y = x / 31 * 9, y / 5 * 7
            i, j = math.floor(source_x + 1e-9), math.floor(source_y + 1e-9)
            dx, dy = source_x - i, source_y - j
            upper = (1 - dx) * padded[j, i] + dx * padded[j, i + 1]
            lower = (1 - dx) * padded[j + 1, i] + dx * padded[j + 1, i + 1]
            expected[2 + y, 3 + x] = (1 - dy) * upper + dy * lower
    np.testing.assert_allclose(canvas, expected, rtol=0, atol=2e-6)


def test_place_anywhere_at_the_letterbox_is_the_letterbox():
    image = hash_image(50, 37, 2)
    boxed, frame = letterbox(image, 48, 48)
    placement = Placement(frame.left, frame.top, frame.new_width, frame.new_height)
    np.testing.assert_allclose(place_anywhere(image, placement, 48, 48), boxed, rtol=0, atol=1e-5)


def test_place_anywhere_equals_scipy_where_the_picture_reaches_over_every_border():
    ndimage = pytest.importorskip("scipy.ndimage")
    image = hash_image(31, 45, 6)
    left, top, width, height = -7.3, -4.6, 91.7, 60.2
    rows = (np.arange(40) - top) * (45 - 1) / (height - 1)
    columns = (np.arange(64) - left) * (31 - 1) / (width - 1)
    grid = np.meshgrid(rows, columns, indexing="ij")
    expected = np.stack([ndimage.map_coordinates(image[..., c] / 255, grid, order=1) for c in range(3)], axis=-1)
    placed = place_anywhere(image, Placement(left, top, width, height), 64, 40)
    np.testing.assert_allclose(placed, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("placement", "columns"),
    [
        (Placement(2.0, 0, 3.0, 4), [2, 3, 4]),
        (Placement(2.4, 0, 3.0, 4), [2, 3, 4]),
        (Placement(2.6, 0, 3.0, 4), [3, 4, 5]),
        (Placement(-1.0, 0, 3.0, 4), [0, 1]),
        (Placement(6.0, 0, 9.0, 4), [6, 7]),
        (Placement(3.2, 0, 1.0, 4), [3]),
        (Placement(-9.0, 0, 3.0, 4), []),
        (Placement(20.0, 0, 3.0, 4), []),
    ],
)
def test_place_anywhere_covers_the_pixels_whose_centres_are_inside(placement, columns):
    canvas = place_anywhere(np.full((5, 6, 3), 255, dtype=np.uint8), placement, net_width=8, net_height=4)
    expected = np.full((4, 8, 3), 0.5)
    expected[:, columns] = 1
    np.testing.assert_array_equal(canvas, expected)


# --- Boxes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "flip"), [("boxes_flip0_dx-.1_dy-.2_sx.8_sy.6", False), ("boxes_flip1", True)])
def test_boxes_equal_the_original(functions, key, flip):
    boxes_cxcywh = np.array([[0.5, 0.5, 0.2, 0.4], [0.1, 0.2, 0.3, 0.3], [0.9, 0.9, 0.5, 0.1]], dtype=np.float32)
    expected = np.array(functions[key]).reshape(3, 4)
    corrected = correct_boxes(boxes_cxcywh, -0.1, -0.2, 0.8, 0.6, flip_horizontally=flip)
    np.testing.assert_allclose(corrected, expected, rtol=0, atol=2e-7)


def test_boxes_flipped_upside_down_by_hand():
    corrected = correct_boxes(np.array([[0.3, 0.2, 0.2, 0.1]]), 0, 0, 1, 1, flip_vertically=True)
    np.testing.assert_allclose(corrected, [[0.3, 0.8, 0.2, 0.1]])


def test_boxes_outside_have_no_side():
    corrected = correct_boxes(np.array([[0.9, 0.5, 0.1, 0.1]]), dx=-0.5, dy=0, sx=1, sy=1)
    assert corrected[0, 2] == 0


# --- The whole ------------------------------------------------------------------------------------


def test_nothing_is_exactly_the_letterbox():
    image = hash_image(101, 50, 3)
    boxes_xyxy = np.array([[10, 5, 60, 45], [0, 0, 101, 50]], dtype=np.float32)
    labels = np.array([4, 2])
    boxed, boxes_cxcywh, kept = augment(image, boxes_xyxy, labels, NONE, np.random.default_rng(0), 64, 48)
    expected, frame = letterbox(image, 64, 48)
    np.testing.assert_array_equal(boxed, expected)
    np.testing.assert_allclose(boxes_cxcywh, frame.to_network(boxes_xyxy), atol=1e-6)
    np.testing.assert_array_equal(kept, labels)


def test_weak_zoom_comes_close_to_the_letterbox():
    image = hash_image(100, 75, 3)
    weak = Augmentation(zoom=1 + 1e-6, aspect=1e-6, shift=1e-7)
    boxed, _, _ = augment(image, *NO_BOXES, weak, np.random.default_rng(0), 64, 64)
    np.testing.assert_allclose(boxed, letterbox(image, 64, 64)[0], atol=1e-3)


@pytest.mark.parametrize(
    "augmentation",
    [
        dataclasses.replace(ORIGINAL, hue=0, saturation=1, exposure=1),
        dataclasses.replace(RECIPE, hue=0, saturation=1, exposure=1),
        Augmentation(horizontal_flip=1),
        Augmentation(vertical_flip=1),
        Augmentation(zoom=2, shift=0.4),
    ],
)
@pytest.mark.parametrize("net", [(160, 160), (160, 96)])
def test_boxes_follow_the_pixels(augmentation, net):
    # Two rectangles of different colours: their boxes must enclose their pixels, to half a pixel for the
    # interpolation and, in the original's placement, up to two for offset and size cut to whole pixels.
    net_width, net_height = net
    colours = np.array([[255, 0, 0], [0, 0, 255]], dtype=np.uint8)
    boxes_xyxy = np.array([[20, 10, 90, 60], [120, 70, 190, 140]], dtype=np.float32)
    image = np.zeros((150, 200, 3), dtype=np.uint8)
    for (left, top, right, bottom), colour in zip(boxes_xyxy.astype(int), colours, strict=True):
        image[top:bottom, left:right] = colour
    kept_boxes = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        boxed, boxes_cxcywh, labels = augment(image, boxes_xyxy, np.array([0, 1]), augmentation, rng, *net)
        assert boxed.shape == (net_height, net_width, 3)
        assert boxed.flags.c_contiguous
        for (centre_x, centre_y, width, height), label in zip(boxes_cxcywh, labels, strict=True):
            rows, columns = np.nonzero((np.abs(boxed - colours[label] / 255) < 0.4).all(axis=2))
            assert columns.min() == pytest.approx((centre_x - width / 2) * net_width, abs=2.1)
            assert columns.max() + 1 == pytest.approx((centre_x + width / 2) * net_width, abs=2.1)
            assert rows.min() == pytest.approx((centre_y - height / 2) * net_height, abs=2.1)
            assert rows.max() + 1 == pytest.approx((centre_y + height / 2) * net_height, abs=2.1)
            kept_boxes += 1
    assert kept_boxes >= 12


def test_jitter_shows_the_whole_picture_and_fills_one_side():
    image = np.full((60, 90, 3), 255, dtype=np.uint8)
    whole = np.array([[0, 0, 90, 60]], dtype=np.float32)
    for net_width, net_height in [(96, 96), (128, 96), (64, 160)]:
        ratios = []
        for seed in range(60):
            rng = np.random.default_rng(seed)
            _, boxes, _ = augment(image, whole, np.zeros(1, int), Augmentation(jitter=0.3), rng, net_width, net_height)
            centre_x, centre_y, width, height = boxes[0].astype(float)
            assert max(width, height) == pytest.approx(1, abs=1e-6)
            assert -1e-6 < centre_x - width / 2 < centre_x + width / 2 < 1 + 1e-6
            assert -1e-6 < centre_y - height / 2 < centre_y + height / 2 < 1 + 1e-6
            ratios.append(width * net_width / (height * net_height))
        assert 1.5 * 0.7 / 1.3 < min(ratios) < 1.2
        assert 1.9 < max(ratios) < 1.5 * 1.3 / 0.7


def test_zoom_aspect_and_shift_stay_in_their_ranges():
    image = np.full((100, 100, 3), 255, dtype=np.uint8)
    middle = np.array([[40, 40, 60, 60]], dtype=np.float32)
    settings = Augmentation(zoom=1.25, aspect=0.2, shift=0.1)
    boxes = np.concatenate(
        [augment(image, middle, np.zeros(1, int), settings, np.random.default_rng(s), 96, 96)[1] for s in range(300)]
    ).astype(float)
    zoom, ratio = np.sqrt(boxes[:, 2] * boxes[:, 3]) / 0.2, boxes[:, 2] / boxes[:, 3]
    for values, low, high in [(zoom, 1 / 1.25, 1.25), (ratio, 1 / 1.2, 1.2), (boxes[:, :2], 0.4, 0.6)]:
        assert low - 1e-5 <= values.min() < low * 1.03
        assert high / 1.03 < values.max() <= high + 1e-5
        assert 0.4 < (values > math.sqrt(low * high)).mean() < 0.6  # as often larger as smaller


def test_boxes_mostly_outside_are_dropped():
    image = hash_image(100, 100, 1)
    # The whole picture, whose visible part tells the shift, and small boxes all over it.
    small = [[x, y, x + 20, y + 20] for x in range(0, 81, 4) for y in range(0, 81, 16)]
    boxes_xyxy = np.array([[0, 0, 100, 100], *small], dtype=np.float32)
    labels = np.arange(len(boxes_xyxy))
    outcomes = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        _, boxes_cxcywh, kept = augment(image, boxes_xyxy, labels, Augmentation(shift=0.4), rng, 100, 100)
        assert kept[0] == 0
        centre, size = boxes_cxcywh[0, :2].astype(float), boxes_cxcywh[0, 2:].astype(float)
        shift = np.where(centre > 0.5, 1 - size, size - 1)
        edges = np.clip(boxes_xyxy.reshape(-1, 2, 2) / 100 + shift, 0, 1)  # (n, corner, axis)
        share = np.prod(edges[:, 1] - edges[:, 0], axis=1) / 0.04
        np.testing.assert_array_equal(kept, labels[share >= 0.25])
        np.testing.assert_allclose(boxes_cxcywh[:, 2] * boxes_cxcywh[:, 3], 0.04 * share[kept], rtol=1e-4)
        outcomes.append(share >= 0.25)
    assert 0.2 < np.mean(outcomes) < 0.9


def test_boxes_too_small_for_the_input_are_dropped():
    image = hash_image(100, 100, 1)
    boxes_xyxy = np.array([[10, 10, 10.09, 50], [10, 10, 10.11, 50], [10, 10, 50, 10.09]], dtype=np.float32)
    _, _, labels = augment(image, boxes_xyxy, np.arange(3), NONE, np.random.default_rng(0), 64, 64)
    assert labels.tolist() == [1]


def test_border_changes_with_the_picture():
    image = np.full((10, 100, 3), 102, dtype=np.uint8)  # 0.4
    factors = []
    for seed in range(100):
        settings = Augmentation(exposure=1.5)
        canvas, _, _ = augment(image, *NO_BOXES, settings, np.random.default_rng(seed), 32, 32)
        factors.append(canvas[0, 0, 0] / 0.5)
        assert canvas[16, 16, 0] == pytest.approx(0.4 * factors[-1], rel=1e-5)
    assert 1 / 1.5 <= min(factors) < 0.7
    assert 1.4 < max(factors) <= 1.5


@pytest.mark.parametrize("augmentation", [ORIGINAL, RECIPE, Augmentation(shift=1, zoom=4)])
@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (10, 20000), (640, 480)])
def test_every_picture_size_survives(augmentation, size):
    image = hash01(np.arange(size[0] * size[1] * 3), 1).reshape(size[1], size[0], 3)
    image = (image * 256).astype(np.uint8)
    for seed in range(3):
        canvas, boxes, labels = augment(image, *NO_BOXES, augmentation, np.random.default_rng(seed), 64, 48)
        assert canvas.shape == (48, 64, 3)
        assert canvas.dtype == np.float32
        assert boxes.shape == (0, 4)
        assert boxes.dtype == np.float32
        assert labels.shape == (0,)
        assert 0 <= canvas.min() <= canvas.max() <= 1


def test_the_same_generator_gives_the_same_view():
    image = hash_image(80, 60, 1)
    boxes = np.array([[10, 10, 50, 50]], dtype=np.float32), np.array([1])
    views = [augment(image, *boxes, RECIPE, np.random.default_rng(seed), 64, 64) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(views[0][0], views[1][0])
    np.testing.assert_array_equal(views[0][1], views[1][1])
    assert not np.array_equal(views[0][0], views[2][0])


@pytest.mark.parametrize(
    "settings",
    [
        {"saturation": 0.5},
        {"exposure": 0},
        {"zoom": math.inf},
        {"hue": -0.1},
        {"horizontal_flip": 2},
        {"shift": math.nan},
        {"jitter": 0.3, "zoom": 1.25},
    ],
)
def test_settings_out_of_range(settings):
    with pytest.raises(UserError, match=f"augmentation.*{next(iter(settings))}"):
        Augmentation(**settings)
