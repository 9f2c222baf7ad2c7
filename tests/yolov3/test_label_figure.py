"""``labels.png``: which numbers reach its panels, whatever the classes are called and however many there are."""

import warnings
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from yolov3 import label_figure
from yolov3.anchors import PUBLISHED_ANCHORS
from yolov3.data.records import Record
from yolov3.errors import UserError
from yolov3.image import load_image
from yolov3.label_figure import plot_labels

ANCHORS = {16: ((20, 40),), 8: ((5, 5), (10, 8))}


def record(boxes_xyxy, labels, size=(100, 50), difficult=()):
    count = len(labels)
    flags = np.isin(np.arange(count), difficult)
    boxes_xyxy = np.array(boxes_xyxy, np.float32).reshape(-1, 4)
    return Record(Path("p.png"), "p", "p.xml", *size, boxes_xyxy, np.array(labels, int), flags, np.zeros(count, bool))


def data(names, *records):
    return SimpleNamespace(names=list(names), records=list(records))


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Function that draws labels.png and returns its panels by title; warnings are errors."""
    saved, save = [], label_figure.save_figure

    def remember(figure, path, **options):
        saved.append(figure)
        save(figure, path, **options)

    monkeypatch.setattr(label_figure, "save_figure", remember)

    def run(dataset, anchors=ANCHORS, image_size=(64, 128)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plot_labels(dataset, anchors, image_size, tmp_path / "labels.png")
        assert load_image(tmp_path / "labels.png").std() > 10
        return {axes.get_title(): axes for axes in saved[-1].axes if axes.get_title()} | {
            "page": saved[-1].get_suptitle()
        }

    return run


def texts_of(axes):
    return [text.get_text().strip() for text in axes.texts]


def names_of(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


# A picture of 100x50 fills the network's 128x64: the factor is 1.28.
TWO = (
    record([(0, 0, 10, 10), (50, 25, 100, 50), (0, 0, 99, 49)], [2, 2, 0], difficult=[2]),
    record([(0, 0, 10, 10)], [0]),
    record([], []),
)


def test_the_panels_show_the_boxes(draw):
    panels = draw(data(["cat", "dog", "cow"], *TWO))
    assert panels["page"] == "3 boxes in 3 pictures, as the network sees them at 64x128"
    classes = panels["3 classes, 1 without a box"]
    assert names_of(classes) == ["2  cow", "0  cat", "1  dog"]
    assert [bar.get_width() for bar in classes.patches] == [2, 1, 0]
    assert texts_of(classes) == ["2", "1", "no box"]
    counts = panels["boxes per picture"]
    assert [bar.get_height() for bar in counts.patches] == [1, 1, 1]
    assert counts.get_xlabel() == "boxes (median 1, most 2; none in 1 picture)"


def test_sizes_and_anchors_are_those_of_the_network_input(draw):
    axes = draw(data(["cat", "dog", "cow"], *TWO))["box sizes and anchors"]
    cloud, fine, coarse = axes.collections
    assert sorted(cloud.get_array().tolist()) == [1, 2]  # 12.8x12.8 twice, 64x32 once
    centres = np.log10([(12.8, 12.8), (64, 32)])
    np.testing.assert_allclose(sorted(cloud.get_offsets().tolist()), centres, atol=0.03)
    np.testing.assert_array_equal(fine.get_offsets(), [(5, 5), (10, 8)])
    np.testing.assert_array_equal(coarse.get_offsets(), [(20, 40)])
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["stride 8: 5x5, 10x8", "stride 16: 20x40"]
    # Not by colour alone.
    assert not np.array_equal(fine.get_paths()[0].vertices, coarse.get_paths()[0].vertices)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


@pytest.mark.parametrize(
    ("most", "ticks"),
    [(1, ["1", "2"]), (3, ["1", "2", "3"]), (12, ["1", "2", "3", "5", "10"])],
)
def test_counts_are_whole_numbers_beside_their_colours(draw, most, ticks):
    page = draw(data(["cat"], record([(0, 0, 10, 10)] * most + [(0, 0, 90, 40)], [0] * (most + 1))))
    (bar,) = (
        axes
        for axes in page["box sizes and anchors"].figure.axes
        if axes.get_label() == "<colorbar>" and axes.get_yscale() == "log"
    )
    lowest, highest = bar.get_ylim()
    assert [
        label.get_text()
        for minor in (False, True)
        for place, label in zip(bar.get_yticks(minor=minor), bar.get_yticklabels(minor=minor), strict=True)
        if 0.99 * lowest <= place <= 1.01 * highest
    ] == ticks


def test_one_box_in_one_picture(draw):
    assert draw(data(["cat"], record([(0, 0, 9, 9)], [0])))["page"].startswith("1 box in 1 picture, ")


def test_centres_lie_where_the_letterbox_puts_them(draw):
    # A square picture in the middle of 128x64: a box at its upper left corner begins at x 32.
    axes = draw(data(["cat"], record([(0, 0, 2, 2)], [0], size=(100, 100))))["centres of boxes"]
    (image,) = axes.images
    rows, columns = np.nonzero(image.get_array().filled(0))
    assert image.get_extent() == [0, 128, 64, 0]  # y grows downwards
    assert (rows.tolist(), columns.tolist()) == ([0], [int(32.64 / 128 * label_figure.BINS)])


def test_names_of_any_kind(draw):
    names = ["кошка", "赤血球", "__x__", "$cost$ of $x_1$", "two\nlines", "so long a name that nobody reads to its end"]
    panels = draw(data(names, record([(0, 0, 10, 10)] * 6, range(6))))
    shown = names_of(panels["6 classes, 0 without a box"])
    assert shown[0] == "0  кошка"
    assert shown[4] == "4  two lines"
    assert shown[5] == "5  so long a name that nob…"


@pytest.mark.parametrize("count", [80, 1200])
def test_many_classes(draw, count):
    boxes = [(0, 0, 10, 10)] * 50
    axes = draw(data([f"thing {i}" for i in range(count)], record(boxes, range(50))))[
        f"{count:,} classes, {count - 50} without a box"
    ]
    shown = names_of(axes)
    if count == 80:
        assert len(shown) == 80
    else:
        assert len(shown) == 81
        assert shown[60] == "(1120 classes between)"
        assert shown[59] == "59  thing 59"
        assert shown[-1] == "1199  thing 1199"
    # Each line has its own place in the picture.
    extents = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(above.y0 >= below.y1 - 1.5 for above, below in pairwise(extents))


def test_no_boxes_at_all(draw):
    panels = draw(data(["cat"], record([], [])), PUBLISHED_ANCHORS)
    assert "1 class, 1 without a box" in panels


def test_check_data_shows_the_labels_if_asked_to(in_tmp_path, succeeds, refused, voc):
    succeeds("check-data", "--data", voc)
    assert list(in_tmp_path.iterdir()) == []
    outcome = succeeds("check-data", "--data", voc, "--pictures", "--imgsz", 96)
    assert outcome.folder == str(Path("runs/check-data/exp"))
    folder = Path(outcome.folder)
    names = [f"{kind}_{split}.png" for kind in ("labels", "pictures") for split in ("train", "val")]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert load_image(folder / "pictures_train.png").shape == (2 * 294 + 6, 4 * 294 + 6, 3)  # 6 pictures, 3 times 96
    refused("check-data", "--data", voc, "--pictures", "--imgsz", 100, says=["multiple of 32"])
    refused("check-data", "--data", voc, "--imgsz", 96, says=["--imgsz is for --pictures"])
    refused("check-data", "--data", "nowhere", "--pictures", says=["nowhere"])
    assert list(folder.parent.iterdir()) == [folder]  # no empty one of those that were refused


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        plot_labels(data(["cat"], *TWO[1:]), ANCHORS, (64, 128), tmp_path / "absent" / "labels.png")
