"""Curves: which numbers reach the axes, and that the files are whole pictures."""

import sys

import numpy as np
import pytest
from PIL import Image

from yolov3 import plots
from yolov3.errors import UserError
from yolov3.voc_metrics import F1Curves, PrecisionRecallCurve, VocResult


@pytest.fixture
def figures(monkeypatch):
    """The figures that get saved, to look at what is in them."""
    saved, save = [], plots.save_figure

    def remember(figure, path, **options):
        saved.append(figure)
        save(figure, path, **options)

    monkeypatch.setattr(plots, "save_figure", remember)
    return saved


def curves_of(axes):
    return {line.get_label(): np.column_stack(line.get_data()).tolist() for line in axes.get_lines()}


def picture(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        return np.array(image)


ROWS = [
    {"step": 0, "loss": 100.0, "centre": 20.0, "object": 70.0, "classes": 10.0, "learning_rate": 0.0},
    {"step": 10, "loss": 10.0, "centre": 2.0, "object": 7.0, "classes": 1.0, "learning_rate": 0.005, "mAP50": 0.25},
    {"step": 20, "loss": 1.0, "centre": 0.2, "object": 0.7, "classes": 0.1, "learning_rate": 0.001, "mAP50": 0.75},
]
ROWS[1] |= {"boxes": 12, "matched_8": 4, "matched_16": 0, "matched_32": 7}
ROWS[2] |= {"boxes": 13, "matched_8": 5, "matched_16": 1, "matched_32": 7}


def test_training_curves_show_the_rows(tmp_path, figures):
    plots.plot_training_curves(ROWS, tmp_path / "curves.png")
    assert (picture(tmp_path / "curves.png").std(axis=(0, 1)) > 0).any()
    loss_axes, map_axes, matched_axes, rate_axes = figures[0].axes
    losses = curves_of(loss_axes)
    assert losses["total"] == [[0, 100], [10, 10], [20, 1]]
    assert losses["object"] == [[0, 70], [10, 7], [20, 0.7]]
    assert set(losses) == {"total", "centre", "size", "object", "no object", "classes"}
    assert [*curves_of(map_axes).values()] == [[[10, 0.25], [20, 0.75]]]
    assert [*curves_of(rate_axes).values()] == [[[0, 0], [10, 0.005], [20, 0.001]]]
    assert curves_of(matched_axes) == {
        "stride 8": [[10, 4], [20, 5]],
        "stride 16": [[10, 0], [20, 1]],
        "stride 32": [[10, 7], [20, 7]],
        "all boxes": [[10, 12], [20, 13]],
    }
    assert [axes.get_ylabel() for axes in figures[0].axes] == ["loss", "mAP at IoU 0.5", "matched", "learning rate"]
    assert rate_axes.get_xlabel() == "training step"
    # No two curves differ in colour alone.
    for axes in (loss_axes, matched_axes):
        styles = [line.get_marker() for line in axes.get_lines()]
        assert len(set(styles)) == len(styles)


def test_rows_read_from_a_csv_file(tmp_path, figures):
    rows = [
        {"epoch": "1", "loss": "5.5", "mAP50": ""},
        {"epoch": "2", "loss": "nan", "mAP50": "0.5"},
        {"epoch": "3", "loss": "inf"},
        {"epoch": "4", "loss": "2.5", "mAP50": None},
    ]
    plots.plot_training_curves(rows, tmp_path / "curves.png")
    loss_axes, map_axes, _, rate_axes = figures[0].axes
    assert curves_of(loss_axes)["total"] == [[1, 5.5], [4, 2.5]]
    assert [*curves_of(map_axes).values()] == [[[2, 0.5]]]
    assert rate_axes.get_xlabel() == "epoch"


@pytest.mark.parametrize("values", [(0.1, 0.5, 0.9), (0.9, 0.9, 0.1), (0.5,), (0.0, 1.0)])
def test_the_last_map_stands_inside_the_figure_clear_of_the_curve(tmp_path, figures, values):
    rows = [{"epoch": 1 + index, "mAP50": value} for index, value in enumerate(values)]
    plots.plot_training_curves(rows, tmp_path / "curves.png")
    map_axes = figures[0].axes[1]
    (text,) = map_axes.texts
    assert text.get_text() == f"{values[-1]:.3f}"
    extent = text.get_window_extent()
    (line,) = map_axes.get_lines()
    last_x = map_axes.transData.transform(line.get_xydata())[:, 0].max()
    assert last_x + 4 <= extent.x0  # pixels: half a marker
    assert extent.x1 < figures[0].bbox.x1


@pytest.mark.parametrize("rows", [[{"step": 0}], [{"step": 3, "loss": float("nan")}]])
def test_rows_with_nothing_to_draw_still_make_a_picture(tmp_path, rows):
    plots.plot_training_curves(rows, tmp_path / "curves.png")
    assert picture(tmp_path / "curves.png").size


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no rows"):
        plots.plot_training_curves([], tmp_path / "curves.png")


def example_result(class_count):
    curve = PrecisionRecallCurve(np.array([0.9, 0.8]), np.array([1.0, 0.5]), np.array([0.5, 0.5]))  # one of two found
    nothing_found = PrecisionRecallCurve(np.zeros(0), np.zeros(0), np.zeros(0))
    absent = PrecisionRecallCurve(np.array([0.9]), np.array([0.0]), np.array([np.nan]))
    curves = (curve, nothing_found, absent, *[curve] * (class_count - 3))
    class_ap = np.array([0.5, 0.0, np.nan, *[0.5] * (class_count - 3)])
    return VocResult(0.25, class_ap, np.where(np.isnan(class_ap), 0, 2), curves)


def test_precision_recall_shows_every_class_with_objects(tmp_path, figures):
    plots.plot_precision_recall(example_result(3), ["cat", "dog", "cow"], tmp_path / "pr.png")
    assert picture(tmp_path / "pr.png").size
    (axes,) = figures[0].axes
    curves = curves_of(axes)
    mean = dict(curves.pop("mean  AP 0.250"))
    assert curves == {"cat  AP 0.500": [[0.5, 1.0], [0.5, 0.5]], "dog  AP 0.000": []}
    assert [mean[0], mean[0.5], mean[0.501], mean[1]] == [0.5, 0.5, 0, 0]  # of 1 and 0 up to recall 0.5
    assert "recall" in axes.get_xlabel()
    assert "precision" in axes.get_ylabel()
    assert "0.250" in axes.get_title()


def test_precision_recall_of_many_classes(tmp_path, figures):
    result = example_result(80)
    result.class_ap[[7, 70, 71]] = 0.9, 0.8, 0.1
    plots.plot_precision_recall(result, [f"class {i}" for i in range(80)], tmp_path / "pr.png")
    (axes,) = figures[0].axes
    assert legend_of(axes) == [
        *("class 7  AP 0.900", "class 70  AP 0.800", "class 0  AP 0.500"),
        *("class 79  AP 0.500", "class 71  AP 0.100", "class 1  AP 0.000"),
        *("the 73 other classes", "mean  AP 0.250"),
    ]
    *named, mean = [line for line in axes.get_lines() if line.get_color() != "0.75"]
    assert len({(line.get_linestyle(), line.get_marker()) for line in named}) == 6  # not by colour alone
    others = [line for line in axes.get_lines() if line.get_color() == "0.75"]
    assert len(others) == 73
    assert all(line.get_linewidth() < named[0].get_linewidth() < mean.get_linewidth() for line in others)
    assert all(line.get_zorder() < named[0].get_zorder() < mean.get_zorder() for line in others)


def test_precision_recall_of_ten_classes_names_them_all(tmp_path, figures):
    plots.plot_precision_recall(example_result(11), [f"class {i}" for i in range(11)], tmp_path / "pr.png")
    assert len(legend_of(figures[0].axes[0])) == 11  # one class has no objects; and the mean


def test_precision_recall_where_no_class_has_objects(tmp_path, figures):
    nothing = PrecisionRecallCurve(np.zeros(0), np.zeros(0), np.zeros(0))
    result = VocResult(np.nan, np.array([np.nan]), np.zeros(1, int), (nothing,))
    plots.plot_precision_recall(result, ["cat"], tmp_path / "pr.png")
    assert figures[0].axes[0].get_title() == "no class has objects"


def legend_of(axes):
    return [text.get_text().strip() for text in axes.get_legend().get_texts()]


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


THRESHOLDS = "right from IoU 0.5; score above 0.01"


def test_precision_recall_says_its_thresholds(tmp_path, figures):
    plots.plot_precision_recall(example_result(3), ["__cat__", "dog", "cow"], tmp_path / "pr.png", THRESHOLDS)
    assert texts_of(figures[0].axes[0]) == [THRESHOLDS]
    assert legend_of(figures[0].axes[0]) == ["__cat__  AP 0.500", "dog  AP 0.000", "mean  AP 0.250"]


def test_f1_shows_every_class_with_objects_and_the_best_mean(tmp_path, figures):
    class_f1 = np.array([[0.5, 0.9, 0.0], [0.1, 0.3, 0.2], [np.nan] * 3])
    curves = F1Curves(np.array([0, 0.5, 1]), class_f1, np.array([0.3, 0.6, 0.1]), 9)
    plots.plot_f1(curves, ["cat", "$dog$", "cow"], tmp_path / "f1.png", THRESHOLDS)
    assert picture(tmp_path / "f1.png").size
    (axes,) = figures[0].axes
    lines = {label: line for label, line in curves_of(axes).items() if not label.startswith("_")}
    assert lines == {
        "cat  best 0.900 at 0.50": [[0, 0.5], [0.5, 0.9], [1, 0]],
        r"\$dog\$  best 0.300 at 0.50": [[0, 0.1], [0.5, 0.3], [1, 0.2]],
        "mean  best 0.600": [[0, 0.3], [0.5, 0.6], [1, 0.1]],
    }
    assert "0.600" in axes.get_title()
    assert "0.50" in axes.get_title()
    assert texts_of(axes) == [THRESHOLDS]


def test_f1_where_no_class_has_objects(tmp_path, figures):
    nothing = np.full((1, 3), np.nan)
    plots.plot_f1(F1Curves(np.array([0, 0.5, 1]), nothing, nothing[0], 0), ["cat"], tmp_path / "f1.png")
    assert figures[0].axes[0].get_title() == "no class has objects"


@pytest.mark.parametrize(("detections", "title"), [(0, "there are no detections"), (5, "no detection is right")])
def test_f1_without_a_right_detection_claims_no_best_score(tmp_path, figures, detections, title):
    zeros = np.zeros((2, 3))
    plots.plot_f1(F1Curves(np.array([0, 0.5, 1]), zeros, zeros[0], detections), ["cat", "dog"], tmp_path / "f1.png")
    (axes,) = figures[0].axes
    assert axes.get_title() == title
    assert legend_of(axes) == ["cat  always 0", "dog  always 0", "mean  always 0"]
    assert len(axes.get_lines()) == 3  # none that marks a best score


def test_f1_of_many_classes_names_the_best_and_worst(tmp_path, figures):
    class_f1 = np.linspace(0.1, 0.9, 80)[:, None] * [0.5, 1, 0]
    curves = F1Curves(np.array([0, 0.5, 1]), class_f1, class_f1.mean(axis=0), 80)
    plots.plot_f1(curves, [f"class {i}" for i in range(80)], tmp_path / "f1.png")
    first, *_, worst, others, mean = legend_of(figures[0].axes[0])
    assert (first, worst) == ("class 79  best 0.900 at 0.50", "class 0  best 0.100 at 0.50")
    assert (others, mean) == ("the 74 other classes", "mean  best 0.500")


@pytest.mark.parametrize("class_count", [1, 2, 30])
def test_a_confusion_matrix_says_its_counts_and_thresholds(tmp_path, figures, class_count):
    matrix = np.zeros((class_count + 1, class_count + 1), int)
    matrix[0, 0], matrix[0, -1], matrix[-1, 0] = 30, 10, 7
    names = [f"class {index}" for index in range(class_count)]
    plots.plot_confusion_matrix(matrix, names, tmp_path / "matrix.png", THRESHOLDS)
    axes = figures[0].axes[0]
    *counts, thresholds = texts_of(axes)
    assert sorted(counts) == ["10", "30", "7"]
    assert thresholds == THRESHOLDS
    for axis in (axes.xaxis, axes.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == [*names, "background"]
    shares = axes.images[0].get_array()
    assert shares[0, 0] == 0.75  # of its row
    assert shares[0, -1] == 0.25
    # A class further down is further down in the picture, and a larger share is darker, in grey too.
    assert axes.yaxis.get_inverted()
    grey = axes.images[0].get_cmap()(np.linspace(0, 1, 9))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) < -0.04).all()


def test_the_small_print_stands_clear_of_the_title(tmp_path, figures):
    for class_count in (3, 30):
        names = [f"class {index}" for index in range(class_count)]
        matrix = np.eye(class_count + 1, dtype=int)[:, ::-1]
        plots.plot_confusion_matrix(matrix, names, tmp_path / "matrix.png", THRESHOLDS)
        axes = figures[-1].axes[0]
        small_print = next(text for text in axes.texts if text.get_text() == THRESHOLDS)
        assert small_print.get_window_extent().y1 <= axes.title.get_window_extent().y0


def test_nothing_is_left_where_a_plot_cannot_be_written(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "absent" / "a.png", tmp_path / "folder.png"):
        with pytest.raises(UserError, match="cannot be written"):
            plots.plot_training_curves(ROWS, path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_the_same_rows_give_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        plots.plot_training_curves(ROWS, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_pyplot_is_never_imported(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    plots.plot_training_curves(ROWS, tmp_path / "curves.png")
    assert "matplotlib.pyplot" not in sys.modules
