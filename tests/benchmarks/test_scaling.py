"""The scaling benchmark: what it computes from times, and that it runs to the end."""

import csv

import numpy as np
import pytest
from PIL import Image

from minidl import get_num_threads, set_num_threads
from tests.benchmarks import scaling
from tests.benchmarks.scaling import Point


@pytest.fixture(autouse=True)
def threads_as_before():
    before = get_num_threads()
    yield
    set_num_threads(before)


def test_growth_is_per_operation():
    points = [Point(1, 64, 2, 100, (2.0, 1.0, 3.0)), Point(1, 128, 2, 400, (12.0, 8.0, 10.0))]
    assert scaling.growth_per_operation(points) == ([1.0, 1.25], [1.0, 2.0])  # 10 s to 2 s, 8 s to 1 s; 4 to 1
    assert "from 64 to 128 pixels the time per operation grows by 1.25 (best times: 2.00)" in scaling.verdict(points)
    lines = [line.split() for line in scaling.table(points).splitlines()]
    assert lines[2] == ["1", "128", "2", "10.0000", "8.0000", "10.0000", "0.0", "1.25", "2.00"]
    assert lines[1][-1] == "unsteady"


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_thread_counts(most, counts):
    assert scaling.thread_counts(most) == counts


def test_the_script_writes_table_figure_and_numbers(tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    arguments = ["--model", "yolov3-nano", "--imgsz", "64", "--batches", "3", "1", "--sizes", "64", "32"]
    scaling.main([*arguments, "--threads", "2", "--repeat", "2", "--out", str(folder)])
    assert get_num_threads() == 2
    with (folder / "scaling.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    settings = [(row["varied"], row["batch"], row["size"], row["threads"]) for row in rows]
    assert settings == [
        ("batch", "1", "64", "2"),
        ("batch", "3", "64", "2"),
        ("image size", "1", "32", "2"),
        ("image size", "1", "64", "2"),
        ("threads", "1", "64", "1"),
        ("threads", "1", "64", "2"),
    ]
    assert int(rows[1]["operations"]) == 3 * int(rows[0]["operations"]) == 12 * int(rows[2]["operations"])
    assert all(float(row["median_seconds"]) >= float(row["best_seconds"]) > 0 for row in rows)
    with Image.open(folder / "scaling.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10  # something is drawn
    assert "from 32 to 64 pixels the time per operation grows by" in capsys.readouterr().out


def test_a_size_that_cannot_be_ends_with_a_sentence():
    with pytest.raises(SystemExit, match="multiple of 32, not 100"):
        scaling.main(["--sizes", "64", "100"])
