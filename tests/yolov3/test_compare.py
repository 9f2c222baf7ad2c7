"""The comparison of the backbones: how it is measured, and what reaches the table, the CSV file and the figure."""

import csv

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from minidl import nn
from yolov3 import compare
from yolov3.blocks import DarknetNetwork
from yolov3.compare import Measurement, comparison_table, measure_backbones, plot_comparison, write_csv
from yolov3.errors import UserError

# The paper's Table 2 (notes D1): Top-1, Top-5, Bn ops, BFLOP/s, FPS.
PAPER = {
    "Darknet-19": (74.1, 91.8, 7.29, 1246, 171),
    "ResNet-101": (77.1, 93.7, 19.7, 1039, 53),
    "ResNet-152": (77.6, 93.8, 29.4, 1090, 37),
    "Darknet-53": (77.2, 93.8, 18.7, 1457, 78),
}
NAMES = ["darknet19", "resnet101", "resnet152", "darknet53"]


def measurements(size=(256, 256), seconds=((0.1, 0.1, 0.9), (0.5,) * 3, (1.0,) * 3, (0.25,) * 3)):
    """Round numbers: 10, 2, 1 and 4 frames per second; 70, 40, 30 and 80 BFLOP/s."""
    operations = (7 * 10**9, 20 * 10**9, 30 * 10**9, 20 * 10**9)
    rows = zip(NAMES, operations, seconds, strict=True)
    return [Measurement(name, size, count, tuple(runs)) for name, count, runs in rows]


class Stub(DarknetNetwork):
    """A network of one 1x1 convolution, which writes down when it runs."""

    def __init__(self, name, width, diary):
        self.name, self.diary = name, diary
        self.conv = nn.Conv2d(3, width, 1)

    def forward(self, images):
        self.diary.append((self.name, self.training, images.shape))
        return self.conv(images)


@pytest.fixture
def diary(monkeypatch):
    """Stubs take the places of the backbones; returns the list of their runs."""
    runs = []
    for index, name in enumerate(NAMES):
        stub = Stub(name, index + 1, runs)
        monkeypatch.setitem(compare.BACKBONES, name, lambda rng, stub=stub: stub)
    return runs


# -------------------------------------------------------------------------------------- measuring


def test_networks_take_turns_in_evaluation_mode(diary):
    reports = []
    found = measure_backbones(3, (32, 64), lambda: reports.append(len(diary)))
    counting, timed = diary[:4], diary[4:]
    assert [name for name, _, _ in counting] == NAMES
    assert [name for name, _, _ in timed] == [name for name in NAMES for _ in range(2)] * 3  # one without a clock
    assert {(training, shape) for _, training, shape in diary} == {(False, (1, 32, 64, 3))}
    assert reports == [1, 2, 3, 4, *range(6, 29, 2)]
    assert [each.name for each in found] == NAMES
    assert [each.operations for each in found] == [2 * 3 * width * 32 * 64 for width in (1, 2, 3, 4)]
    assert all(len(each.seconds) == 3 and min(each.seconds) > 0 for each in found)
    assert {each.image_size for each in found} == {(32, 64)}


def test_the_clock_runs_while_the_second_run_of_a_turn_does(diary, monkeypatch):
    # The time is the number of runs so far: each timed run must take one, the first of each turn none.
    monkeypatch.setattr(compare.time, "perf_counter", lambda: len(diary))
    assert {each.seconds for each in measure_backbones(2, (32, 32))} == {(1, 1)}


def test_frames_and_operations_per_second():
    found = measurements()
    assert [each.fps for each in found] == pytest.approx([10, 2, 1, 4])  # medians: the run of 0.9 s changes nothing
    assert [each.bflops for each in found] == pytest.approx([70, 40, 30, 80])


# ------------------------------------------------------------------------------------------ table


def test_table_has_the_figures_of_the_paper_and_ours():
    lines = comparison_table(measurements()).splitlines()
    rows = {words[0]: [float(word) for word in words[1:]] for words in map(str.split, lines[2:6])}
    ours = ((7, 70, 10), (20, 40, 2), (30, 30, 1), (20, 80, 4))
    assert rows == {title: [*paper, *our] for (title, paper), our in zip(PAPER.items(), ours, strict=True)}
    assert len({len(line) for line in lines[:6]}) == 1  # columns are aligned
    assert "256x256" in lines[6]
    assert "median of 3" in lines[6]


def test_what_the_table_says_of_the_statements_of_the_paper():
    text = comparison_table(measurements())
    assert "0.46 times as fast as Darknet-19 in the paper, 0.40 times here" in text  # 78 / 171, 4 / 10
    assert "1.47 times as fast as ResNet-101 in the paper, 2.00 times here" in text  # 78 / 53, 4 / 2
    assert "2.11 times as fast as ResNet-152 in the paper, 4.00 times here" in text  # 78 / 37, 4 / 1
    assert "1.17 times the best of the others in the paper, 1.14 times here" in text  # 1457 / 1246, 80 / 70
    assert "Counted: 7.00 Bn ops for Darknet-19" in text
    assert "20.00 for Darknet-53, which the paper prints as 18.7" in text
    assert "Unsteady" not in text


def test_other_picture_sizes_than_the_papers_are_pointed_out():
    text = comparison_table(measurements((64, 96)))
    assert "64x96" in text
    assert "The paper's figures are for 256x256 pictures." in text
    assert "Counted" not in text


def test_unsteady_networks_are_named():
    seconds = ((0.1, 0.1, 0.1), (0.5, 0.7, 0.7), (1.0, 1.2, 1.2), (0.2, 0.9, 0.2))
    unsteady = [line for line in comparison_table(measurements(seconds=seconds)).splitlines() if "Unsteady" in line]
    assert unsteady == ["Unsteady, do not trust: ResNet-101 (median above 1.25 times the best run)."]


# ------------------------------------------------------------------------------------------ files


def test_csv_file(tmp_path):
    write_csv(measurements((64, 96)), tmp_path / "backbones.csv")
    with open(tmp_path / "backbones.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    paper = ("top_1", "top_5", "paper_bn_ops", "paper_bflops", "paper_fps")
    assert {row["network"]: tuple(float(row[key]) for key in paper) for row in rows} == PAPER
    assert [int(row["operations"]) for row in rows] == [7 * 10**9, 20 * 10**9, 30 * 10**9, 20 * 10**9]
    assert [float(row["seconds"]) for row in rows] == [0.1, 0.5, 1, 0.25]
    assert [float(row["fps"]) for row in rows] == [10, 2, 1, 4]
    assert [float(row["bflops"]) for row in rows] == [70, 40, 30, 80]
    assert {(row["height"], row["width"]) for row in rows} == {("64", "96")}


@pytest.fixture
def figures(monkeypatch):
    """The figures that get saved, to look at what is in them."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (saved.append(figure), save(figure, *a, **k)))
    return saved


def test_figure(tmp_path, figures):
    plot_comparison(measurements(), tmp_path / "backbones.png")
    with Image.open(tmp_path / "backbones.png") as image:
        assert (np.array(image).std(axis=(0, 1)) > 0).any()
    frames, operations = figures[0].axes
    for axes, paper, ours in (
        (frames, [171 / 37, 53 / 37, 1, 78 / 37], [10, 2, 1, 4]),
        (operations, [1246 / 1090, 1039 / 1090, 1, 1457 / 1090], [70 / 30, 40 / 30, 1, 80 / 30]),
    ):
        assert [[bar.get_width() for bar in bars] for bars in axes.containers] == [
            pytest.approx(paper),
            pytest.approx(ours),
        ]
        hatches = [{bar.get_hatch() for bar in bars} for bars in axes.containers]
        assert hatches == [{None}, {"//"}]  # the bars differ not in colour alone
    assert [text.get_text() for text in frames.texts] == ["171", "53", "37", "78", "10.0", "2.0", "1.0", "4.0"]
    labels = [label.get_text().splitlines()[0] for label in frames.get_yticklabels()]
    assert labels == list(PAPER)
    title = figures[0].get_suptitle()
    assert "2.1 times as fast as ResNet-152 in the paper, 4.0 times here" in title
    assert "1.17 times the best of the others in the paper, 1.14 times here" in title


def test_everything_at_once(tmp_path, diary, capsys):
    text = compare.compare_backbones(tmp_path, 1, (32, 32))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbones.csv", "backbones.png"]
    assert all(title in text for title in PAPER)
    assert "8/8" in capsys.readouterr().err  # the progress bar ends complete
    with pytest.raises(UserError, match="cannot be written"):
        compare.compare_backbones(tmp_path / "absent", 1, (32, 32))
