"""Boxes in pictures: where the pixels are, that tags stay inside, that odd pictures work."""

import numpy as np
import pytest
from PIL import Image

from yolov3.draw import class_colour, draw_boxes, picture_grid, save_image
from yolov3.errors import UserError

GREY = (100, 100, 100)


def grey_picture(height, width):
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def test_a_box_is_drawn_on_its_own_pixels():
    image = grey_picture(12, 14)  # small enough for a line of one pixel
    drawn = draw_boxes(image, [[2, 3, 9, 10]], [1], names=["", ""])
    expected = image.copy()
    expected[3:10, 2:9] = class_colour(1)
    expected[4:9, 3:8] = GREY
    np.testing.assert_array_equal(drawn, expected)
    assert (image == GREY).all()  # the input is left as it was


def test_what_lies_outside_is_cut_off_or_left_out():
    image = grey_picture(10, 10)
    np.testing.assert_array_equal(draw_boxes(image, [[20, 20, 30, 30], [-9, 2, -1, 5]], [0, 0]), image)
    drawn = draw_boxes(image, [[-5, -5, 1e9, 4]], [0])
    assert (drawn[0] == class_colour(0)).all()
    assert (drawn[3] == class_colour(0)).all()
    assert (drawn[4:] == GREY).all()


@pytest.mark.parametrize("box", [[3, 3, 3, 3], [5, 5, 2, 2], [0, 0, 0, 0], [10, 10, 10, 10]])
def test_boxes_without_area_are_drawn_as_something(box):
    assert (draw_boxes(grey_picture(10, 10), [box], [0]) != GREY).any()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 50, 3), (2000, 3, 3), (7, 9), (1, 1)])
def test_odd_pictures(shape):
    image = np.full(shape, 100, dtype=np.uint8)
    boxes_xyxy = [[0, 0, shape[1], shape[0]]]
    drawn = draw_boxes(image, boxes_xyxy, [0], [0.5], ["name"], truth_boxes_xyxy=boxes_xyxy)
    assert drawn.shape == (*shape[:2], 3)
    assert drawn.dtype == np.uint8
    assert (drawn != 100).any()


def test_no_boxes():
    np.testing.assert_array_equal(draw_boxes(grey_picture(20, 30), np.zeros((0, 4)), []), grey_picture(20, 30))


def test_boxes_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        draw_boxes(grey_picture(20, 30), [[0, 0, np.nan, 4]], [0])


@pytest.mark.parametrize("box", [[0, 0, 30, 20], [150, 100, 200, 120], [170, 0, 200, 120], [0, 60, 200, 120]])
def test_tags_stay_inside_and_are_whole(box):
    """Wherever the box is, the tag covers the same number of pixels: nothing of it is cut off."""
    image = grey_picture(120, 200)

    def tag_area(place):
        with_tag = draw_boxes(image, [place], [2], names=["", "", "WWW"])
        without = draw_boxes(image, [place], [2], names=["", "", ""])
        return (with_tag != without).any(axis=2).sum()

    # Lines that run under the tag have its colour, so a little may be missing from the count.
    assert tag_area(box) >= 0.85 * tag_area([90, 50, 140, 90])


def test_tags_of_two_labels_of_one_box_do_not_cover_each_other():
    image, box = grey_picture(150, 150), [40, 60, 110, 110]
    both = draw_boxes(image, [box, box], [0, 5], [0.9, 0.8], ["circle", "", "", "", "", "red"])
    for label, score, name in ((0, 0.9, "circle"), (5, 0.8, "red")):
        alone = draw_boxes(image, [box], [label], [score], [name] * 6)
        area_alone = (alone == class_colour(label)).all(axis=2).sum()
        outline_alone = 2 * (70 + 50)
        assert (both == class_colour(label)).all(axis=2).sum() >= area_alone - outline_alone


def test_scores_are_written_and_the_surest_box_is_on_top():
    image = grey_picture(10, 10)  # no room for tags
    drawn = draw_boxes(image, [[0, 0, 10, 10], [0, 0, 10, 10]], [0, 1], [0.9, 0.2])
    assert (drawn[0] == class_colour(0)).all()
    image = grey_picture(100, 200)
    boxes_xyxy = [[50, 50, 150, 90]]
    assert (draw_boxes(image, boxes_xyxy, [0], [0.25]) != draw_boxes(image, boxes_xyxy, [0], [0.75])).any()


def test_truth_is_dashed_and_prediction_is_solid():
    image = grey_picture(200, 200)
    true = draw_boxes(image, np.zeros((0, 4)), [], truth_boxes_xyxy=[[40, 50, 160, 150]])
    top = true[50, 40:160]
    assert (top == 255).all(axis=1).any()  # dashes ...
    assert (top == GREY).all(axis=1).any()  # ... and gaps
    solid = draw_boxes(image, [[40, 50, 160, 150]], [0], names=[""])
    assert (solid[149, 40:160] == class_colour(0)).all()
    # Where both coincide, both can be seen.
    both = draw_boxes(image, [[40, 50, 160, 150]], [0], names=[""], truth_boxes_xyxy=[[40, 50, 160, 150]])
    assert (both[149, 40:160] == 255).all(axis=1).any()
    assert (both[149, 40:160] == class_colour(0)).all(axis=1).any()


def test_a_truth_is_named_on_a_white_tag_below_it():
    image, box = grey_picture(200, 200), [40, 50, 160, 150]
    plain = draw_boxes(image, [box], [0], [0.9], ["cat", "dog"], [box])
    named = draw_boxes(image, [box], [0], [0.9], ["cat", "dog"], [box], [1])
    rows, columns = np.nonzero((plain != named).any(axis=2))
    assert (rows.min(), columns.min()) == (150, 40)  # the box ends before row 150
    assert rows.max() < 150 + 20
    assert (named[rows.min(), columns.min() : columns.max() + 1] == 0).all()  # a black border ...
    assert (named[rows.min() + 1, columns.min() + 1 : columns.max()] == 255).all()  # ... around white
    assert (draw_boxes(image, [], [], names=["cat", "dog"], truth_boxes_xyxy=[box], truth_labels=[1]) == 255).any()


def test_a_truths_tag_hides_no_prediction():
    image, box = grey_picture(16, 60), [0, 0, 60, 16]  # with room for one tag
    names = ["a name", "b name"]

    def drawn(count, truth_labels):
        return draw_boxes(
            image, [box][:count], [0][:count], names=names, truth_boxes_xyxy=[box], truth_labels=truth_labels
        )

    assert (drawn(0, [1]) != drawn(0, None)).any()
    np.testing.assert_array_equal(drawn(1, [1]), drawn(1, None))


def test_a_truth_without_room_for_its_name_has_none():
    image, boxes = grey_picture(10, 10), [[1, 1, 9, 9]]
    nameless, named = (
        draw_boxes(image, [], [], names=["a cat"], truth_boxes_xyxy=boxes, truth_labels=labels)
        for labels in (None, [0])
    )
    np.testing.assert_array_equal(nameless, named)


def test_line_width_grows_with_the_picture():
    def line_width(side):
        drawn = draw_boxes(grey_picture(side, side), [[0, side / 2, side, side]], [0], names=[""])
        return int((drawn[side // 2 :, side // 2] == class_colour(0)).all(axis=1).sum()) // 2

    assert [line_width(side) for side in (20, 96, 500, 1000)] == [1, 1, 3, 6]


def test_small_pictures_are_enlarged_by_a_whole_factor():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    drawn = draw_boxes(image, [[10, 5, 20, 15]], [0], names=[""], smallest_side=50)  # 20 -> 60
    assert drawn.shape == (60, 90, 3)
    np.testing.assert_array_equal(drawn[1::3, 1::3][16:], image[16:])  # below the box
    assert (drawn[15, 30:60] == class_colour(0)).all()  # its upper edge
    assert (drawn[44, 30:60] == class_colour(0)).all()  # its lower edge
    assert draw_boxes(image, np.zeros((0, 4)), [], smallest_side=20).shape == (20, 30, 3)


def test_colours_are_fixed_and_differ():
    assert class_colour(0) == (230, 159, 0)
    assert class_colour(7) == ((230 + 255) // 2, (159 + 255) // 2, 127)
    assert class_colour(14) == (115, 79, 0)
    assert len({class_colour(label) for label in range(21)}) == 21
    assert class_colour(79) == class_colour(79)


def test_grid_places_pictures_in_rows():
    images = [np.full((10, 20, 3), value, dtype=np.uint8) for value in (10, 20, 30)]
    grid = picture_grid(images, 2, gap=4)
    assert grid.shape == (4 + 2 * (10 + 4), 4 + 2 * (20 + 4), 3)
    for value, top, left in ((10, 4, 4), (20, 4, 28), (30, 18, 4)):
        assert (grid[top : top + 10, left : left + 20] == value).all()
    assert (grid[18:28, 28:48] == 255).all()  # the fourth cell is empty


def test_grid_centres_pictures_of_different_sizes():
    images = [np.zeros((30, 40, 3), dtype=np.uint8), np.zeros((10, 20, 3), dtype=np.uint8)]
    grid = picture_grid(images, 5, gap=2)
    assert grid.shape == (34, 86, 3)
    assert (grid[12:22, 54:74] == 0).all()
    assert grid[:, 44:].sum() == (34 * 42 - 10 * 20) * 3 * 255
    with pytest.raises(ValueError, match="at least one"):
        picture_grid([], 2)


def test_save_image(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    save_image(tmp_path / "a.png", image)
    save_image(tmp_path / "b.JPG", image)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a.png")), image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.JPG"]


def test_what_cannot_be_saved(tmp_path):
    image = grey_picture(4, 4)
    with pytest.raises(UserError, match=r"\.tzt"):
        save_image(tmp_path / "a.tzt", image)
    with pytest.raises(UserError, match="absent"):
        save_image(tmp_path / "absent" / "a.png", image)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png"):
        save_image(tmp_path / "folder.png", image)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]
