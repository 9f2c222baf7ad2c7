"""What several tests of data sets need."""

import pytest

from tests.yolov3.data.small_sets import NAMES, record
from yolov3.data.dataset import Dataset
from yolov3.data.report import Report


@pytest.fixture
def small(tmp_path):
    """Two splits: a picture with an ordinary, a difficult and a crowd box, one with nothing, one with a box."""
    boxes_xyxy = [(10, 5, 30, 15), (0, 0, 40, 20), (1.5, 2.25, 7.1, 8)]
    train = [
        record(tmp_path / "in" / "a #1=50%.JPG", (40, 20), boxes_xyxy, [1, 0, 1], [1], [2], [123.5, 800, 9]),
        record(tmp_path / "in" / "empty ü.png"),
    ]
    val = [record(tmp_path / "in" / "b.gif", (30, 60), [(3, 6, 15, 30)], [0])]
    return {"train": Dataset(NAMES, train, Report()), "val": Dataset(NAMES, val, Report())}
