"""What all chapters share: one style for figures, small drawings of arrays, and where real data may be found.

Colours are Okabe and Ito's, which people with any kind of colour vision can tell apart; nothing is said in colour
alone: lines differ in dashes and markers too, and numbers stand in the cells.
"""

import os
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from yolov3.draw import OKABE_ITO

ORANGE, SKY, GREEN, YELLOW, VERMILION, PURPLE, BLUE = (tuple(c / 255 for c in colour) for colour in OKABE_ITO)
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
SEQUENTIAL, DIVERGING = "cividis", "PuOr"  # colour maps that stay readable for colour-blind people and in grey
FOLDER = Path(__file__).parent


def use_style():
    """One look for every figure of the book; call it once at the top of a chapter."""
    plt.rcParams.update(
        {
            "figure.figsize": (7, 3.5),
            "figure.dpi": 80,
            "savefig.dpi": 80,
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=COLOURS, linestyle=(*LINE_STYLES, "-", "--")),
            "image.cmap": SEQUENTIAL,
            "image.interpolation": "nearest",
            "legend.frameon": False,
        }
    )
    np.set_printoptions(precision=3, suppress=True, linewidth=100)


def show_grid(axes, values, title="", form="{:g}", colours=None, limits=None):
    """Draw a small array (rows, columns) as squares with its numbers in them.

    colours: an array of the same shape that decides the colours in place of the values; limits: (lowest, highest).
    """
    values = np.asarray(values)
    shade = values if colours is None else np.asarray(colours)
    low, high = limits or (shade.min(), max(shade.max(), shade.min() + 1e-9))
    axes.imshow(shade, cmap=SEQUENTIAL, vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(values):
        light = (shade[row, column] - low) / (high - low) > 0.6
        axes.text(column, row, form.format(value), ha="center", va="center", color="black" if light else "white")
    axes.set(title=title, xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_image(axes, image, title=""):
    """Draw a picture (height, width, 3), uint8 or 0 to 1, without ticks."""
    axes.imshow(np.clip(image, 0, 255 if np.asarray(image).dtype == np.uint8 else 1))
    axes.set(title=title, xticks=[], yticks=[])


def shared_data(name):
    """The folder ``../shared/data/NAME`` with real pictures, or None, said aloud, where it is absent.

    The book runs without it: a generated data set takes its place, and the text says so.
    """
    folder = FOLDER.parent.parent / "shared" / "data" / name
    if folder.is_dir() and not os.environ.get("YOLOV3_BOOK_NO_DATA"):  # the variable shows how it reads without
        return folder
    print(f"The real data ({name}) are not here: a generated set takes their place.")
    return None
