"""Where the time of a program with threads goes: measuring, a table and a figure."""

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, replace

from yolov3.draw import OKABE_ITO
from yolov3.runs import write_file

REST = "waiting, the rest"
WAYS = ("one after another", "with threads")
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "++", "oo")
SMALLEST_LABEL = 0.04  # of the figure's width: narrower parts bear no number


class Stopwatch:
    """Seconds by stage: ``here`` in the thread that made the stopwatch, ``beside`` in all others."""

    def __init__(self):
        self.here, self.beside = defaultdict(float), defaultdict(float)
        self._main, self._lock, self._local = threading.current_thread(), threading.Lock(), threading.local()

    def timed(self, stage, function):
        """``function`` with its time counted to ``stage``, without what stages inside it take."""

        def call(*arguments, **options):
            inside = self._local.__dict__.setdefault("inside", [])  # seconds of inner stages, for each open stage
            inside.append(0.0)
            begin = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                spent = time.perf_counter() - begin
                own = spent - inside.pop()
                if inside:
                    inside[-1] += spent
                with self._lock:
                    (self.here if threading.current_thread() is self._main else self.beside)[stage] += own

        return call


@dataclass(frozen=True)
class Profile:
    """Seconds: ``wall`` of the whole, ``here`` and ``beside`` by stage as in :class:`Stopwatch`.

    ``core``: the stages that the whole is there for, the network's; ``stages``: all, in the order to show.
    """

    name: str
    core: tuple
    stages: list
    wall: float
    here: dict
    beside: dict

    def divided_by(self, count):
        """The profile of one of ``count`` equal parts."""
        here, beside = ({stage: value / count for stage, value in each.items()} for each in (self.here, self.beside))
        return replace(self, wall=self.wall / count, here=here, beside=beside)

    def __add__(self, other):
        here, beside = (
            {stage: a.get(stage, 0) + b.get(stage, 0) for stage in self.stages}
            for a, b in ((self.here, other.here), (self.beside, other.beside))
        )
        return replace(self, wall=self.wall + other.wall, here=here, beside=beside)

    def parts(self):
        """``{stage: seconds}`` that add up to ``wall``; what no stage accounts for is the last."""
        parts = {stage: self.here.get(stage, 0.0) for stage in self.stages}
        return parts | {REST: self.wall - sum(parts.values())}

    def core_seconds(self):
        return sum(self.here.get(stage, 0.0) for stage in self.core)

    def outside(self):
        """The share of the whole in which the main thread is not in the core."""
        return 1 - self.core_seconds() / self.wall


def table(serial, threaded):
    """Two profiles of the same work as lines of text, in milliseconds and shares of each whole."""
    lines = [serial.name, f"  {'':<20}{WAYS[0]:>20}{WAYS[1]:>20}{'beside, meanwhile':>20}"]
    parts, threaded_parts = serial.parts(), threaded.parts()
    for stage in parts:
        beside = threaded.beside.get(stage, 0.0)
        line = f"  {stage:<20}{_cell(parts[stage], serial.wall)}{_cell(threaded_parts[stage], threaded.wall)}"
        lines.append(line + (f"{1e3 * beside:>20.1f}" if beside else ""))
    lines.append(f"  {'whole':<20}{_cell(serial.wall, serial.wall)}{_cell(threaded.wall, threaded.wall)}")
    core = " + ".join(serial.core)
    lines.append(
        f"  outside of {core}: {serial.outside():.1%} one after another, {threaded.outside():.1%} with threads"
    )
    # Threads that work beside the network make it slower: measured by its time alone, less is won than it seems.
    alone = 1 - serial.core_seconds() / threaded.wall
    gain = 1 - threaded.wall / serial.wall
    lines.append(f"  by the time of {core} alone: {alone:.1%} with threads; these make the whole {gain:.1%} shorter")
    return "\n".join(lines)


def _cell(seconds, wall):
    return f"{1e3 * seconds:>11.1f}{seconds / wall:>8.1%} "


def figure(pairs, path):
    """Draw pairs of profiles (one after another, with threads) as stacked bars, a panel for each pair, to ``path``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(10, 3.2 * len(pairs)), layout="constrained")
    for axes, (serial, threaded) in zip(drawing.subplots(len(pairs), squeeze=False)[:, 0], pairs, strict=True):
        stages = [*serial.stages, REST]
        widest = max(serial.wall, threaded.wall)
        bars = (serial.parts(), threaded.parts(), threaded.beside)
        for row, (parts, height) in enumerate(zip(bars, (0.7, 0.7, 0.35), strict=True)):
            _draw_bar(axes, row, height, parts, stages, widest)
        labels = (
            f"{WAYS[0]}\n{serial.outside():.1%} outside",
            f"{WAYS[1]}\n{threaded.outside():.1%} outside",
            "beside it,\nin other threads",
        )
        axes.set_yticks(range(len(bars)), labels)
        axes.invert_yaxis()
        name, unit = serial.name.rsplit(": ", 1)
        axes.set(title=name, xlabel=f"{unit} (the numbers in the bars as well)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    FigureCanvasAgg(drawing)
    write_file(path, lambda file: drawing.savefig(file, format="png", dpi=150))


def _draw_bar(axes, row, height, parts, stages, widest):
    left = 0.0
    for index, stage in enumerate(stages):
        width = 1e3 * parts.get(stage, 0.0)
        colour = tuple(channel / 255 for channel in OKABE_ITO[index]) if index < len(OKABE_ITO) else "0.7"
        axes.barh(
            row,
            width,
            height,
            left,
            color=colour if stage != REST else "0.85",
            hatch=HATCHES[index],
            edgecolor="white",
            label=stage if row == 0 else None,
        )
        if width > SMALLEST_LABEL * 1e3 * widest:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            axes.text(left + width / 2, row, f"{width:.0f}", ha="center", va="center", fontsize="small", bbox=box)
        left += width
