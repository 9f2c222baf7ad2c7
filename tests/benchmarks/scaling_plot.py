"""The figure of :mod:`tests.benchmarks.scaling`: three panels, readable in grey and by the colour-blind."""

from yolov3.figures import LINE_COLOURS
from yolov3.runs import write_file

MEDIAN, BEST, REFERENCE = LINE_COLOURS[0], LINE_COLOURS[1], "0.35"


def plot_scaling(panels, name, goal, path):
    """Write the PNG.

    ``panels``: ``{"batch", "image size", "threads": points}`` (:class:`tests.benchmarks.scaling.Point`); ``name``: of
    the network; ``goal``: most growth of the time per operation over the image sizes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    by_batch, by_size, by_threads = figure.subplots(1, 3)
    figure.suptitle(f"Forward pass of {name}, fused, float32")
    _draw_batches(by_batch, panels["batch"])
    _draw_sizes(by_size, panels["image size"], goal)
    _draw_threads(by_threads, panels["threads"])
    for axes in (by_batch, by_size, by_threads):
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right")
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=120))


def _draw_batches(axes, points):
    batches = [each.batch for each in points]
    per_picture = [[1e3 * time / each.batch for time in (each.median, each.best)] for each in points]
    _draw_curves(axes, batches, per_picture)
    axes.set_title(f"Batch: time per picture\n{points[0].size} pixels, {_threads(points[0].threads)}", fontsize=11)
    axes.set_xlabel("pictures at once")
    axes.set_ylabel("milliseconds per picture")


def _draw_sizes(axes, points, goal):
    sizes = [each.size for each in points]
    picoseconds = [[1e12 * time / each.operations for time in (each.median, each.best)] for each in points]
    _draw_curves(axes, sizes, picoseconds)
    axes.axhline(goal * picoseconds[0][0], color=REFERENCE, linestyle=":", label=f"goal: {goal} times the first median")
    axes.set_title(f"Image size: time per operation\nbatch 1, {_threads(points[0].threads)}", fontsize=11)
    axes.set_xlabel("height and width in pixels")
    axes.set_ylabel("picoseconds per operation")


def _draw_threads(axes, points):
    counts = [each.threads for each in points]
    speeds = [[points[0].median / each.median, points[0].best / each.best] for each in points]
    _draw_curves(axes, counts, speeds)
    axes.plot(counts, counts, color=REFERENCE, linestyle=":", label="if all work were shared")
    axes.set_title(f"Threads: times as fast as one\nbatch 1, {points[0].size} pixels", fontsize=11)
    axes.set_xlabel("threads")
    axes.set_ylabel("speed relative to one thread")


def _draw_curves(axes, places, pairs):
    """Median and best of each place, which is marked on the horizontal axis."""
    medians, bests = zip(*pairs, strict=True)
    axes.plot(places, medians, "-o", color=MEDIAN, label="median")
    axes.plot(places, bests, "--s", color=BEST, markerfacecolor="white", label="best")
    axes.set_xticks(places, [str(place) for place in places])


def _threads(count):
    return f"{count} thread{'s' if count > 1 else ''}"
