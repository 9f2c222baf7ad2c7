"""Figures of a training run and of an evaluation, as PNG files."""

import math

import numpy as np

from yolov3.figures import MARKERS, new_figure, plain_text, plot_line, save_figure
from yolov3.voc_metrics import mean_precision

LOSS_TERMS = {
    "loss": "total",
    "centre": "centre",
    "size": "size",
    "object": "object",
    "no_object": "no object",
    "classes": "classes",
}
MOST_CURVES = 10  # that can be told from one another; of more classes only the EXTREMES best and worst are named
EXTREMES = 3


def plot_training_curves(rows, path):
    """Loss, mAP, matched targets and learning rate over a run, one panel each, written to ``path`` as PNG.

    ``rows`` are the lines of ``results.csv``, dicts of numbers or of their texts.  The horizontal axis is
    ``step``, or ``epoch`` where there is none.  Drawn are ``loss`` and its five terms (logarithmic;
    :class:`yolov3.loss.LossTerms`), ``mAP50`` (0 to 1), ``matched_8``, ... (predictions of that stride that had an
    object to learn) below ``boxes`` (of all batches), and ``learning_rate``; a row may lack any of them or leave it
    empty, and values that are not finite are left out.

    ValueError without rows; UserError where ``path`` cannot be written.
    """
    if not rows:
        raise ValueError("there are no rows to plot")
    horizontal = "step" if "step" in rows[0] else "epoch"
    # Fixed margins: to find out what room the texts need would double the time, and this is drawn again and again.
    space = {"height_ratios": (3, 3, 2, 1), "left": 0.13, "right": 0.93, "bottom": 0.06, "top": 0.93, "hspace": 0.28}
    figure, (loss_axes, map_axes, matched_axes, rate_axes) = new_figure(7, 10, rows=4, sharex=True, gridspec_kw=space)
    for index, (key, label) in enumerate(LOSS_TERMS.items()):
        _plot_column(loss_axes, rows, horizontal, key, index, label)
    loss_axes.set(ylabel="loss", yscale="log")
    _legend_above(loss_axes, columns=len(LOSS_TERMS) // 2)
    steps, values = _column(rows, horizontal, "mAP50")
    plot_line(map_axes, steps, values, 0, marker="o")
    if values:
        style = {"textcoords": "offset points", "va": "center"}  # behind the curve's end, where no curve is
        map_axes.annotate(f"{values[-1]:.3f}", (steps[-1], values[-1]), (6, 0), **style)
    # A little more than 0 to 1, so that markers at the ends are seen whole.
    map_axes.set(ylabel="mAP at IoU 0.5", ylim=(-0.02, 1.05))
    _plot_matched(matched_axes, rows, horizontal)
    plot_line(rate_axes, *_column(rows, horizontal, "learning_rate"), 0)
    rate_axes.set(ylabel="learning rate", xlabel="training step" if horizontal == "step" else "epoch")
    rate_axes.set_ylim(bottom=0)
    rate_axes.locator_params(axis="x", integer=True)
    figure.align_ylabels()
    save_figure(figure, path, tight=False)


def _plot_matched(axes, rows, horizontal):
    """How many predictions of each stride had an object to learn in an epoch, and how many boxes there were."""
    strides = sorted({int(key.removeprefix("matched_")) for row in rows for key in row if key.startswith("matched_")})
    for index, stride in enumerate(strides):
        _plot_column(axes, rows, horizontal, f"matched_{stride}", index, f"stride {stride}")
    axes.plot(*_column(rows, horizontal, "boxes"), color="0.4", linewidth=1, label="all boxes", zorder=1)
    axes.set(ylabel="matched")
    axes.set_ylim(bottom=0)
    _legend_above(axes, columns=len(strides) + 1)


def _plot_column(axes, rows, horizontal, key, index, label):
    places, values = _column(rows, horizontal, key)
    plot_line(axes, places, values, index, marker=MARKERS[index], markevery=max(1, len(values) // 10), label=label)


def _legend_above(axes, columns):
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderaxespad=0.2)


def plot_precision_recall(result, names, path, thresholds=""):
    """Precision against recall of every class, and their mean, written to ``path`` as PNG.

    ``result`` is a :class:`~yolov3.voc_metrics.VocResult`: ``curves[i].recall`` and ``.precision``, from the
    surest detection down, and ``class_ap[i]``, which the legend states.  ``names[i]`` is the class's name.
    A class without objects has no curve; of many classes only the best and worst are named.  The mean is
    :func:`~yolov3.voc_metrics.mean_precision`.  ``thresholds`` says with which ones it was measured, in words, and is
    printed on the figure.  UserError where ``path`` cannot be written.
    """
    figure, (axes,) = new_figure(6, 5)
    curves = [
        (ap, f"{plain_text(name)}  AP {ap:.3f}", curve.recall, curve.precision)
        for curve, ap, name in zip(result.curves, result.class_ap, names, strict=True)
        if not math.isnan(ap)
    ]
    _plot_classes(axes, curves)
    title = "no class has objects"
    if curves:
        title = f"mean of the classes' AP: {result.mean_ap:.3f}"
        _plot_mean(axes, *mean_precision(result), f"mean  AP {result.mean_ap:.3f}")
    axes.set(xlabel="recall (part of the objects that is found)", ylabel="precision (part of the finds that is right)")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    _title(axes, title, thresholds)
    _legend_beside(axes)
    save_figure(figure, path)


def plot_f1(curves, names, path, thresholds=""):
    """F1 of every class against the least score of a detection, and their mean, written to ``path`` as PNG.

    ``curves`` is a :class:`~yolov3.voc_metrics.F1Curves`; the highest mean is marked with its score.  A class without
    objects has no curve; of many classes only the best and worst are named.  ``thresholds`` as for
    :func:`plot_precision_recall`.  UserError where ``path`` cannot be written.
    """
    figure, (axes,) = new_figure(6, 5)
    classes = [
        (f1.max(), f"{plain_text(name)}  {_best_f1(curves.confidences, f1)}", curves.confidences, f1)
        for f1, name in zip(curves.class_f1, names, strict=True)
        if not np.isnan(f1).any()
    ]
    _plot_classes(axes, classes)
    confidence, f1 = curves.best()
    if not classes:
        title = "no class has objects"
    elif f1 == 0:
        title = "no detection is right" if curves.detections else "there are no detections"
    else:
        title = f"best mean of the classes' F1: {f1:.3f}, at a least score of {confidence:.2f}"
        axes.axvline(confidence, color="black", linewidth=1, linestyle=":")
    if classes:
        _plot_mean(axes, curves.confidences, curves.mean_f1, f"mean  best {f1:.3f}" if f1 else "mean  always 0")
    axes.set(xlabel="least score of a detection that is kept", ylabel="F1 (harmonic mean of precision and recall)")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    _title(axes, title, thresholds)
    _legend_beside(axes)
    save_figure(figure, path)


def _best_f1(confidences, f1):
    """Where a class's F1 is highest, in words."""
    return f"best {f1.max():.3f} at {confidences[f1.argmax()]:.2f}" if f1.any() else "always 0"


def _plot_classes(axes, curves):
    """One curve per class, of ``(its score, label, x, y)``, each in its own style.

    Of more than MOST_CURVES only the EXTREMES best and as many worst, named best first; the others thin and grey below.
    """
    named, others = list(range(len(curves))), []
    if len(curves) > MOST_CURVES:
        order = sorted(named, key=lambda index: -curves[index][0])  # equal ones in the classes' order
        named, others = order[:EXTREMES] + order[-EXTREMES:], order[EXTREMES:-EXTREMES]
    for index, (_, label, x, y) in enumerate(curves[each] for each in named):
        # About a dozen markers, or they hide the curve; each curve's in places of their own, where two coincide.
        every = max(1, len(x) // 12)
        marker = {"marker": MARKERS[index % len(MARKERS)], "markevery": (index * every // 5 % every, every)}
        plot_line(axes, x, y, index, label=label, **marker)
    for index, (_, _, x, y) in enumerate(curves[each] for each in others):
        label = "_" if index else f"the {len(others)} other classes"  # Matplotlib leaves _ out of legends
        axes.plot(x, y, color="0.75", linewidth=0.6, zorder=1, label=label)


def _plot_mean(axes, x, y, label):
    """The curve that counts, over all others."""
    axes.plot(x, y, color="black", linewidth=3, zorder=3, label=label)


def plot_confusion_matrix(matrix, names, path, thresholds=""):
    """Which class is taken for which, written to ``path`` as PNG.

    ``matrix`` is that of :func:`yolov3.errors_by_kind.confusion_matrix`, ``(classes + 1, classes + 1)`` counts with
    the truth down, the detections across and the background last.  A cell is the darker the larger its share of its
    row, and says its count.  ``thresholds`` as for :func:`plot_precision_recall`.  UserError where ``path`` cannot be
    written.
    """
    labels = [*map(plain_text, names), "background"]
    side = max(4.5, 0.32 * len(labels) + 1.5)  # inches
    figure, (axes,) = new_figure(side + 1, side)
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
    save_figure(figure, path)


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


def _column(rows, horizontal, key):
    """The places and values of the rows in which ``key`` has a finite value: two lists of equal length."""
    places, values = [], []
    for row in rows:
        if row.get(key) not in (None, "") and math.isfinite(value := float(row[key])):
            places.append(float(row[horizontal]))
            values.append(value)
    return places, values
