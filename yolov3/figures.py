"""What all figures share: colours, markers, fonts, axes, and the way to a PNG file.

Every curve has its own colour, line style and marker, so the figures can be read in grey.  They are made as objects,
without pyplot and its global state, and need no window system.
"""

from yolov3.draw import OKABE_ITO
from yolov3.fonts import other_fonts, readable
from yolov3.runs import write_file

LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# The dark ones first, and no yellow: as a thin line on white it cannot be seen.
LINE_COLOURS = [tuple(channel / 255 for channel in OKABE_ITO[index]) for index in (6, 4, 2, 5, 0, 1)]


def new_figure(width, height, rows=1, **options):
    """A figure of ``width`` x ``height`` inches with ``rows`` panels one above the other, and the panels.

    ``options`` are those of :meth:`matplotlib.figure.Figure.subplots`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    panels = figure.subplots(rows, squeeze=False, **options)[:, 0]
    for axes in panels:
        plain_axes(axes)
    return figure, panels


def plain_axes(axes):
    """Make axes quiet: a light grid behind everything, no frame above and to the right."""
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plot_line(axes, x, y, index, **options):
    """One curve in the style of number ``index``."""
    colour, line_style = LINE_COLOURS[index % len(LINE_COLOURS)], LINE_STYLES[index % len(LINE_STYLES)]
    axes.plot(x, y, color=colour, linestyle=line_style, linewidth=1.5, markersize=4, **options)


def plain_text(name):
    """A class's name for Matplotlib, which takes ``$...$`` for a formula and leaves ``_...`` out of legends.

    Characters that no font has become numbers (:func:`yolov3.fonts.readable`).
    """
    return (" " if name.startswith("_") else "") + readable(name).replace("$", r"\$")


def save_figure(figure, path, tight=True):
    """Write a figure to ``path`` as PNG, whole or not at all.  UserError where that cannot be written.

    ``tight`` makes the paper as large as what is drawn needs, for which everything is drawn twice.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    FigureCanvasAgg(figure)
    if others := other_fonts():
        for text in figure.findobj(Text):
            text.set_fontfamily(["DejaVu Sans", *others])  # the first is Matplotlib's own
    bounds = "tight" if tight else None
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=120, bbox_inches=bounds))
