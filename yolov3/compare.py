"""Table 2 of the paper made alive (notes D): the backbones' operations counted, and their speed on this machine."""

import csv
import io
import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from minidl import Tensor, get_num_threads, no_grad, one_blas_thread
from minidl.device import to_cpu, to_device
from minidl.nn import layer_table
from yolov3.backbones import BACKBONES
from yolov3.devices import computing_in, enough_memory, image_type
from yolov3.draw import OKABE_ITO
from yolov3.progress import progress_bar
from yolov3.runs import write_file, write_text
from yolov3.wording import count_of

PAPER_SIZE = (256, 256)
UNSTEADY = 1.25  # a median so many times the best: the machine was not ours alone
ORANGE, BLUE = ([channel / 255 for channel in OKABE_ITO[index]] for index in (0, 6))


@dataclass(frozen=True)
class PaperRow:
    """A row of Table 2: title, accuracy on ImageNet in percent, billions of operations, BFLOP/s and FPS (Titan X)."""

    title: str
    top_1: float
    top_5: float
    billions: float
    bflops: int
    fps: int


# Accuracy is the paper's: the networks here have random weights.
TABLE_2 = {
    "darknet19": PaperRow("Darknet-19", 74.1, 91.8, 7.29, 1246, 171),
    "resnet101": PaperRow("ResNet-101", 77.1, 93.7, 19.7, 1039, 53),
    "resnet152": PaperRow("ResNet-152", 77.6, 93.8, 29.4, 1090, 37),
    "darknet53": PaperRow("Darknet-53", 77.2, 93.8, 18.7, 1457, 78),
}


@dataclass(frozen=True)
class Measurement:
    """One backbone on this machine.

    name: in TABLE_2; image_size: (height, width); operations: of one picture, multiplications and additions counted
    apart; seconds: of every timed run; device, precision: where and how it ran.
    """

    name: str
    image_size: tuple[int, int]
    operations: int
    seconds: tuple[float, ...]
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def paper(self):
        """The network's row of Table 2."""
        return TABLE_2[self.name]

    @property
    def fps(self):
        """Frames per second, by the median run."""
        return 1 / median(self.seconds)

    @property
    def bflops(self):
        """Billions of operations per second: operations x frames per second (notes D3)."""
        return self.operations / 1e9 * self.fps


def compare_backbones(folder, repeat=10, image_size=PAPER_SIZE, device="cpu", precision="fp32"):
    """Measure the four backbones with a progress bar; leave backbones.csv and backbones.png in ``folder``.

    ``image_size``: (height, width), multiples of 32; ``device``, ``precision``: of
    :func:`yolov3.devices.choose_device`.  Returns the table as text.  Raises UserError where the folder cannot be
    written to or the memory does not suffice.
    """
    with progress_bar(len(TABLE_2) * (1 + repeat), "run") as bar:
        measurements = measure_backbones(repeat, image_size, bar.update, device, precision)
    write_csv(measurements, folder / "backbones.csv")
    plot_comparison(measurements, folder / "backbones.png")
    return comparison_table(measurements)


def measure_backbones(repeat, image_size=PAPER_SIZE, report=lambda: None, device="cpu", precision="fp32"):
    """A :class:`Measurement` with ``repeat`` runs for every network of Table 2: batch 1, evaluation mode.

    The networks take turns, so that a machine that is busy for a while is busy for all of them.  Before each timed
    run goes one without a clock: caches then hold the network's own numbers, not its predecessor's.  ``report`` is
    called ``1 + repeat`` times per network.
    """
    rng = np.random.default_rng(0)  # the speed does not depend on the numbers
    images = rng.random((1, *image_size, 3), dtype=np.float32).astype(image_type(precision), copy=False)
    networks, operations = {}, {}
    with enough_memory(device, 1, image_size):
        for name in TABLE_2:
            network = BACKBONES[name](rng=rng).eval()
            operations[name] = sum(row.operations for row in layer_table(network, (*image_size, 3)))
            networks[name] = network.to(device)
            report()
        images = Tensor(to_device(images, device))
        seconds = {name: [] for name in TABLE_2}
        with one_blas_thread, no_grad(), computing_in(precision):
            for _ in range(repeat):
                for name, network in networks.items():
                    to_cpu(network(images).data)  # which waits for the GPU
                    begin = time.perf_counter()
                    to_cpu(network(images).data)
                    seconds[name].append(time.perf_counter() - begin)
                    report()
    return [
        Measurement(name, tuple(image_size), operations[name], tuple(seconds[name]), device, precision)
        for name in TABLE_2
    ]


def comparison_table(measurements):
    """The paper's figures beside ours, and below them which of the paper's statements hold here: lines of text."""
    lines = [
        f"{'':26}  {' paper: Titan X ':-^26}  {' here ':-^26}",
        f"{'network':12}{'Top-1':>7}{'Top-5':>7}" + f"  {'Bn ops':>9}{'BFLOP/s':>9}{'FPS':>8}" * 2,
    ]
    for each in measurements:
        paper = each.paper
        lines.append(
            f"{paper.title:12}{paper.top_1:7.1f}{paper.top_5:7.1f}"
            f"  {paper.billions:9}{paper.bflops:9}{paper.fps:8}"
            f"  {each.operations / 1e9:9.2f}{each.bflops:9.1f}{each.fps:8.2f}"
        )
    return "\n".join([*lines, f"here: {_setting(measurements)}", "", *_findings(measurements)])


def _setting(measurements):
    """How it was measured, in a few words."""
    first = measurements[0]
    height, width = first.image_size
    where = count_of(get_num_threads(), "thread")
    if first.device != "cpu":
        where = f"{first.device} in {first.precision}"
    return f"{height}x{width}, batch 1, {where}, median of {len(first.seconds)}"


def _findings(measurements):
    """Sentences that compare what the paper says of Darknet-53 (notes D2) with what was measured."""
    by_name = {each.name: each for each in measurements}
    darknet53 = by_name["darknet53"]
    for name in ("darknet19", "resnet101", "resnet152"):
        paper, here = _fps_ratios(darknet53, by_name[name])
        yield f"Darknet-53 runs {paper:.2f} times as fast as {TABLE_2[name].title} in the paper, {here:.2f} times here."
    paper, here = _bflops_ratios(measurements)
    yield f"In BFLOP/s, Darknet-53 is {paper:.2f} times the best of the others in the paper, {here:.2f} times here."
    if darknet53.image_size == PAPER_SIZE:
        counted = [f"{by_name[name].operations / 1e9:.2f}" for name in ("darknet19", "darknet53")]
        yield f"Counted: {counted[0]} Bn ops for Darknet-19, which the notes' scan shows as 1.29;"
        yield f"{counted[1]} for Darknet-53, which the paper prints as 18.7."
    else:
        yield "The paper's figures are for 256x256 pictures."
    unsteady = [each.paper.title for each in measurements if 1 / each.fps > UNSTEADY * min(each.seconds)]
    if unsteady:
        yield f"Unsteady, do not trust: {', '.join(unsteady)} (median above {UNSTEADY} times the best run)."


def _fps_ratios(one, other):
    """How many times as fast one network is as another: in the paper, here."""
    return one.paper.fps / other.paper.fps, one.fps / other.fps


def _bflops_ratios(measurements):
    """BFLOP/s of Darknet-53, as a multiple of the best of the others': in the paper, here."""
    others = [each for each in measurements if each.name != "darknet53"]
    (darknet53,) = (each for each in measurements if each.name == "darknet53")
    paper = darknet53.paper.bflops / max(each.paper.bflops for each in others)
    return paper, darknet53.bflops / max(each.bflops for each in others)


def write_csv(measurements, path):
    """The table as a CSV file, a row per network.  Raises UserError where ``path`` cannot be written."""
    rows = [_csv_row(each) for each in measurements]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _csv_row(measurement):
    paper, (height, width) = measurement.paper, measurement.image_size
    return {
        "network": paper.title,
        "top_1": paper.top_1,
        "top_5": paper.top_5,
        "paper_bn_ops": paper.billions,
        "paper_bflops": paper.bflops,
        "paper_fps": paper.fps,
        "height": height,
        "width": width,
        "operations": measurement.operations,
        "seconds": f"{median(measurement.seconds):.6g}",
        "bflops": f"{measurement.bflops:.6g}",
        "fps": f"{measurement.fps:.6g}",
    }


def plot_comparison(measurements, path):
    """Two panels of bars, frames per second and BFLOP/s, relative to ResNet-152: the paper's and ours, as PNG.

    A Titan X and a laptop differ a hundredfold, but how their networks compare with one another can stand side by
    side.  UserError where ``path`` cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    _bars(panels[0], measurements, "fps")
    _bars(panels[1], measurements, "bflops")
    panels[0].set(title="frames per second")
    panels[1].set(title="billions of operations per second (BFLOP/s)")
    panels[0].set_yticks(range(len(measurements)), [_label(each) for each in measurements])
    panels[0].invert_yaxis()  # the first row on top, as in the table
    figure.suptitle(_figure_title(measurements))
    names = ["paper: Titan X, 256x256", f"here: {_setting(measurements)}"]
    figure.legend(panels[0].containers, names, loc="outside lower center", ncols=2, frameon=False)
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=120))


def _label(measurement):
    paper = measurement.paper
    return f"{paper.title}\n{measurement.operations / 1e9:.2f} Bn ops\nTop-1 {paper.top_1} % (paper)"


def _figure_title(measurements):
    """What the figure shows, in one sentence."""
    by_name = {each.name: each for each in measurements}
    fps_paper, fps_here = _fps_ratios(by_name["darknet53"], by_name["resnet152"])
    paper, here = _bflops_ratios(measurements)
    return (
        f"Darknet-53 runs {fps_paper:.1f} times as fast as ResNet-152 in the paper, {fps_here:.1f} times here;\n"
        f"its BFLOP/s are {paper:.2f} times the best of the others in the paper, {here:.2f} times here"
    )


def _bars(axes, measurements, unit):
    """A pair of bars per network: lengths relative to ResNet-152, absolute figures as text."""
    published = {each.name: getattr(each.paper, unit) for each in measurements}
    ours = {each.name: getattr(each, unit) for each in measurements}
    styles = ({"color": BLUE}, {"facecolor": ORANGE, "edgecolor": "black", "hatch": "//"})  # not by colour alone
    for numbers, offset, style in zip((published, ours), (-0.2, 0.2), styles, strict=True):
        places = [index + offset for index in range(len(numbers))]
        bars = axes.barh(places, [number / numbers["resnet152"] for number in numbers.values()], 0.38, **style)
        texts = [f"{number:,.0f}" if number >= 20 else f"{number:.1f}" for number in numbers.values()]
        axes.bar_label(bars, texts, padding=3)
    axes.set_xlabel("relative to ResNet-152")
    axes.margins(x=0.15)  # room for the texts
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
