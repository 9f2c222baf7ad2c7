"""Figures of a training run and of an evaluation, as PNG files.

Every curve has its own colour, line style and marker, so the pictures can be read in grey.  Figures are
made as objects, without pyplot and its global state, and need no window system.
"""

import math

import numpy as np

from yolov3.draw import OKABE_ITO
from yolov3.runs import write_file

LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# The dark ones first, and no yellow: as a thin line on white it cannot be seen.
LINE_COLOURS = [tuple(channel / 255 for channel in OKABE_ITO[index]) for index in (6, 4, 2, 5, 0, 1)]
LOSS_TERMS = {
    "loss": "total",
    "centre": "centre",
    "size": "size",
    "object": "object",
    "no_object": "no object",
    "classes": "classes",
}


def plot_training_curves(rows, path):
    """Loss, mAP and learning rate over a run, one panel each, written to ``path`` as PNG.

    ``rows`` are the lines of ``results.csv``, dicts of numbers or of their texts.  The horizontal axis is
    ``step``, or ``epoch`` where there is none.  Drawn are ``loss`` and its five terms (logarithmic;
    :class:`yolov3.loss.LossTerms`), ``mAP50`` (0 to 1) and ``learning_rate``; a row may lack any of them or leave
    it empty, and values that are not finite are left out.

    ValueError without rows; UserError where ``path`` cannot be written.
    """
    if not rows:
        raise ValueError("there are no rows to plot")
    horizontal = "step" if "step" in rows[0] else "epoch"
    figure, (loss_axes, map_axes, rate_axes) = _new_figure(
        7, 8, rows=3, sharex=True, gridspec_kw={"height_ratios": (3, 3, 1)}
    )
    for index, (key, label) in enumerate(LOSS_TERMS.items()):
        steps, values = _column(rows, horizontal, key)
        style = {"marker": MARKERS[index], "markevery": max(1, len(values) // 10), "label": label}
        _plot(loss_axes, steps, values, index, **style)
    loss_axes.set(ylabel="loss", yscale="log")
    if loss_axes.get_legend_handles_labels()[0]:
        loss_axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(LOSS_TERMS) // 2, frameon=False)
    steps, values = _column(rows, horizontal, "mAP50")
    _plot(map_axes, steps, values, 0, marker="o")
    if values:
        map_axes.annotate(f"{values[-1]:.3f}", (steps[-1], values[-1]), (0, 6), textcoords="offset points", ha="right")
    # A little more than 0 to 1, so that markers at the ends are seen whole.
    map_axes.set(ylabel="mAP at IoU 0.5", ylim=(-0.02, 1.05))
    _plot(rate_axes, *_column(rows, horizontal, "learning_rate"), 0)
    rate_axes.set(ylabel="learning rate", xlabel="training step" if horizontal == "step" else "epoch")
    rate_axes.set_ylim(bottom=0)
    figure.align_ylabels()
    _save(figure, path)


def plot_precision_recall(result, names, path, thresholds=""):
    """Precision against recall of every class, written to ``path`` as PNG.

    ``result`` is a :class:`~yolov3.voc_metrics.VocResult`: ``curves[i].recall`` and ``.precision``, from the
    surest detection down, and ``class_ap[i]``, which the legend states.  ``names[i]`` is the class's name.
    A class without objects has no curve.  ``thresholds`` says with which ones it was measured, in words, and is
    printed on the figure.  UserError where ``path`` cannot be written.
    """
    figure, (axes,) = _new_figure(6, 5)
    for index, (curve, ap, name) in enumerate(zip(result.curves, result.class_ap, names, strict=True)):
        if math.isnan(ap):
            continue
        style = {"marker": MARKERS[index % len(MARKERS)], "label": f"{_plain(name)}  AP {ap:.3f}"}
        # About a dozen markers, or they hide the curve.
        _plot(axes, curve.recall, curve.precision, index, markevery=max(1, len(curve.recall) // 12), **style)
    axes.set(xlabel="recall (part of the objects that is found)", ylabel="precision (part of the finds that is right)")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    _title(axes, f"mean of the classes' AP: {result.mean_ap:.3f}", thresholds)
    _legend_beside(axes)
    _save(figure, path)


def plot_f1(curves, names, path, thresholds=""):
    """F1 of every class against the least score of a detection, and their mean, written to ``path`` as PNG.

    ``curves`` is a :class:`~yolov3.voc_metrics.F1Curves`; the highest mean is marked with its score.  A class without
    objects has no curve.  ``thresholds`` as for :func:`plot_precision_recall`.  UserError where ``path`` cannot be
    written.
    """
    figure, (axes,) = _new_figure(6, 5)
    for index, (f1, name) in enumerate(zip(curves.class_f1, names, strict=True)):
        if np.isnan(f1).any():
            continue
        label = f"{_plain(name)}  best {f1.max():.3f} at {curves.confidences[f1.argmax()]:.2f}"
        # The markers of two curves in different places, where the curves themselves may lie on each other.
        every = (17 * index % 80, 80)
        _plot(axes, curves.confidences, f1, index, marker=MARKERS[index % len(MARKERS)], markevery=every, label=label)
    title = "no class has objects"
    if not np.isnan(curves.mean_f1).any():
        confidence, f1 = curves.best()
        title = f"best mean of the classes' F1: {f1:.3f}, at a least score of {confidence:.2f}"
        mean = {"color": "black", "linewidth": 3, "zorder": 3, "label": f"mean  best {f1:.3f}"}  # over all others
        axes.plot(curves.confidences, curves.mean_f1, **mean)
        axes.axvline(confidence, color="black", linewidth=1, linestyle=":")
    axes.set(xlabel="least score of a detection that is kept", ylabel="F1 (harmonic mean of precision and recall)")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    _title(axes, title, thresholds)
    _legend_beside(axes)
    _save(figure, path)


def plot_confusion_matrix(matrix, names, path, thresholds=""):
    """Which class is taken for which, written to ``path`` as PNG.

    ``matrix`` is that of :func:`yolov3.errors_by_kind.confusion_matrix`, ``(classes + 1, classes + 1)`` counts with
    the truth down, the detections across and the background last.  A cell is the darker the larger its share of its
    row, and says its count.  ``thresholds`` as for :func:`plot_precision_recall`.  UserError where ``path`` cannot be
    written.
    """
    labels = [*map(_plain, names), "background"]
    side = max(4.5, 0.32 * len(labels) + 1.5)  # inches
    figure, (axes,) = _new_figure(side + 1, side)
    axes.grid(False)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # From white to dark blue in even steps of brightness: seen by everybody, and in grey.
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label="share of its row")
    for row, column in np.argwhere(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        size = 9 if len(labels) <= 12 else 6  # points
        axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=size)
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=90 if len(labels) > 5 or max(map(len, labels)) > len("background") else 0)
    axes.set_yticks(places, labels)
    for line in (axes.axhline, axes.axvline):
        line(len(names) - 0.5, color="black", linewidth=1)  # before the background
    axes.set_xlabel("detected as  (background: objects not found)")
    axes.set_ylabel("really is  (background: nothing there, or found already)")
    _title(axes, "objects by what they are and what they are detected as", thresholds)
    _save(figure, path)


def _title(axes, title, thresholds):
    """A title, and in small print below it the thresholds."""
    axes.set_title(title, pad=22 if thresholds else 6)
    style = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": "small"}
    axes.annotate(thresholds, (0.5, 1), (0, 6), xycoords="axes fraction", **style)


def _legend_beside(axes):
    """A legend, where there are curves, beside them: with many classes it would cover them."""
    count = len(axes.get_legend_handles_labels()[0])
    if count:
        columns = 1 + count // 25
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize="small", ncols=columns, frameon=False)


def _plain(name):
    """A class's name for Matplotlib, which takes ``$...$`` for a formula and leaves ``_...`` out of legends."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _plot(axes, x, y, index, **options):
    """One curve in the style of number ``index``."""
    colour, line_style = LINE_COLOURS[index % len(LINE_COLOURS)], LINE_STYLES[index % len(LINE_STYLES)]
    axes.plot(x, y, color=colour, linestyle=line_style, linewidth=1.5, markersize=4, **options)


def _column(rows, horizontal, key):
    """The places and values of the rows in which ``key`` has a finite value: two lists of equal length."""
    places, values = [], []
    for row in rows:
        if row.get(key) not in (None, "") and math.isfinite(value := float(row[key])):
            places.append(float(row[horizontal]))
            values.append(value)
    return places, values


def _new_figure(width, height, rows=1, **options):
    """A figure of ``width`` x ``height`` inches with ``rows`` panels one above the other, and the panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    panels = figure.subplots(rows, squeeze=False, **options)[:, 0]
    for axes in panels:
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure, path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=120, bbox_inches="tight"))
