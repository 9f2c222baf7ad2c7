"""``labels.png``: what the labels of a data set look like to the network, on one page.

Four panels: how many boxes each class has, how large they are beside the anchors, where they lie, and how many a
picture has.  Wrong labels mostly show here: a class that is missing or far too frequent, boxes of impossible sizes, or
all in one corner.
"""

import numpy as np

from yolov3.figures import LINE_COLOURS, MARKERS, plain_axes, plain_text, save_figure
from yolov3.fonts import readable
from yolov3.preflight import NetworkBoxes
from yolov3.wording import count_of

FEWEST_LINES = 8  # in the list of classes, so that the bars of two classes are not huge
MOST_CLASSES = 80  # lines that can be read; of more classes the most frequent and the rarest are shown
RAREST = 20  # of them
LONGEST_NAME = 24  # characters
PANELS_HEIGHT = 8.5  # inches, of the panels beside it
BINS = 40  # of the positions, each way


def plot_labels(dataset, anchors, image_size, path):
    """Four panels about a data set's boxes, written to ``path`` as PNG.

    Boxes marked difficult or crowd are no targets and not counted.  Sizes and positions are those in the network's
    input, for pictures that are only letterboxed.

    Parameters
    ----------
    dataset: with ``names`` and ``records``; no picture is read
    anchors: ``{stride: (count, 2)}`` in pixels of the network input
    image_size: (height, width) of the network input, in pixels

    Raises UserError where ``path`` cannot be written.
    """
    from matplotlib.figure import Figure

    boxes = NetworkBoxes(dataset, image_size)
    lines = min(len(dataset.names), MOST_CLASSES + 1)
    paper = max(PANELS_HEIGHT, 1.5 + 0.16 * lines)  # its height in inches
    figure = Figure(figsize=(13, paper), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(1, 2))
    _plot_classes(figure.add_subplot(grid[0]), boxes)
    # Three rows: the other panels keep their size beside a long list of classes, with nothing below them.
    heights = (0.6 * PANELS_HEIGHT, 0.4 * PANELS_HEIGHT, max(paper - PANELS_HEIGHT, 1e-3))
    panels = grid[1].subgridspec(3, 2, height_ratios=heights)
    _plot_sizes(figure.add_subplot(panels[0, :]), boxes, anchors)
    _plot_positions(figure.add_subplot(panels[1, 0]), boxes)
    _plot_counts(figure.add_subplot(panels[1, 1]), boxes)
    height, width = image_size
    count = f"{count_of(len(boxes.cxcywh), 'box')} in {count_of(len(dataset.records), 'picture')}"
    figure.suptitle(f"{count}, as the network sees them at {height}x{width}")
    save_figure(figure, path, tight=False)


def _plot_classes(axes, boxes):
    """A bar per class, the most frequent on top, with its number, name and count."""
    plain_axes(axes)
    names = boxes.dataset.names
    counts = np.bincount(boxes.labels, minlength=len(names))  # (classes,)
    absent = int((counts == 0).sum())
    order = np.argsort(-counts, kind="stable").tolist()
    lines = [(f"{label}  {_short(names[label])}", counts[label], counts[label]) for label in order]  # name, bar, count
    if len(lines) > MOST_CLASSES:
        between = lines[MOST_CLASSES - RAREST : -RAREST]
        rest = (f"({len(between)} classes between)", 0, sum(count for *_, count in between))
        lines = [*lines[: MOST_CLASSES - RAREST], rest, *lines[-RAREST:]]
    texts, bars, counts = zip(*lines, strict=True)
    places = np.arange(len(lines))
    axes.barh(places, bars, color=LINE_COLOURS[0])
    size = 9 if len(lines) <= 30 else 7  # points
    for place, bar, count in zip(places, bars, counts, strict=True):
        note = f" {count:,}" if count else " no box"
        axes.text(bar, place, note, va="center", fontsize=size, weight="normal" if count else "bold")
    axes.set_yticks(places, texts, fontsize=size)
    axes.set_ylim(max(len(lines), FEWEST_LINES) - 0.4, -0.6)
    axes.set_xlim(0, 1.25 * max(1, *bars))  # with room for the counts
    axes.locator_params(axis="x", integer=True)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set(title=f"{count_of(len(names), 'class')}, {absent} without a box", xlabel="boxes")


def _plot_sizes(axes, boxes, anchors):
    """The cloud of box sizes, both axes logarithmic, and the anchors over it."""
    from matplotlib.ticker import LogFormatter, LogLocator

    plain_axes(axes)
    axes.set(title="box sizes and anchors", xlabel="width in pixels", ylabel="height in pixels")
    sizes = np.maximum(boxes.sizes, 0.1)  # (n, 2)
    everything = np.concatenate([sizes, *(np.asarray(group, np.float64) for group in anchors.values())])
    limits = [(0.7 * side.min(), 1.4 * side.max()) for side in everything.T]
    axes.set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1])
    if len(sizes):
        extent = np.log10(limits).reshape(-1)
        options = {"xscale": "log", "yscale": "log", "extent": extent, "gridsize": (80, 34), "mincnt": 1}
        cloud = axes.hexbin(*sizes.T, **options, cmap=_light_to_dark(), bins="log", linewidths=0.2)
        cloud.set_clim(1, max(2, cloud.get_array().max()))
        style = {"ticks": LogLocator(subs=(1, 2, 3, 5)), "format": "{x:,.0f}"}  # whole numbers: boxes are counted
        axes.figure.colorbar(cloud, ax=axes, label="boxes", pad=0.01, fraction=0.04, **style).minorticks_off()
    for index, stride in enumerate(sorted(anchors)):
        group = np.asarray(anchors[stride], np.float64)
        label = f"stride {stride}: " + ", ".join(f"{width:.0f}x{height:.0f}" for width, height in group)
        style = {"marker": MARKERS[index], "color": LINE_COLOURS[1 + index], "edgecolors": "black"}
        axes.scatter(*group.T, s=70, label=label, zorder=3, **style)
    axes.legend(loc="upper left", fontsize="small")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.7)))


def _plot_positions(axes, boxes):
    """How many boxes have their centre where in the network's input."""
    from matplotlib.ticker import MaxNLocator

    width, height = boxes.net_size
    counts, _, _ = np.histogram2d(*boxes.cxcywh[:, 1::-1].T, bins=BINS, range=((0, 1), (0, 1)))  # rows are y
    shown = np.ma.masked_equal(counts, 0)
    image = axes.imshow(shown, cmap=_light_to_dark(), vmin=1, vmax=max(2, counts.max()), extent=(0, width, height, 0))
    axes.figure.colorbar(
        image, ax=axes, label="boxes", fraction=0.04 * height / width, ticks=MaxNLocator(5, integer=True)
    )
    axes.set(title="centres of boxes", xlabel="x in pixels", ylabel="y in pixels")


def _plot_counts(axes, boxes):
    """How many pictures have how many boxes."""
    plain_axes(axes)
    counts = np.bincount(boxes.pictures, minlength=len(boxes.dataset.records))  # boxes of each picture
    step = 1 + counts.max() // 40
    edges = np.arange(0, max(1, counts.max()) + step + 1, step) - 0.5
    axes.hist(counts, edges, color=LINE_COLOURS[0], edgecolor="white", linewidth=0.5)
    note = f"median {np.median(counts):.0f}, most {counts.max()}; none in {count_of((counts == 0).sum(), 'picture')}"
    axes.set(title="boxes per picture", xlabel=f"boxes ({note})", ylabel="pictures")
    axes.locator_params(integer=True)


def _short(name):
    """A class's name in one line of at most LONGEST_NAME characters."""
    name = readable(name)
    return plain_text(name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…")


def _light_to_dark():
    """Colours from light to dark blue in even steps of brightness: seen by everybody, and in grey."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["Blues"](np.linspace(0.25, 1, 256)))
