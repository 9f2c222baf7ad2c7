"""The detector that comes with the program: it is small, it finds cells, and it is as good as its page says."""

import os
import re

import numpy as np
import pytest

from tests.conftest import PROJECT
from yolov3.boxes import iou_xyxy
from yolov3.checkpoint import PACKAGED, load_checkpoint
from yolov3.data.dataset import open_dataset
from yolov3.detect import Detector
from yolov3.evaluate import evaluate

FOLDER = PROJECT / "yolov3" / "pretrained"
PAGE = (FOLDER / "README.md").read_text()
# What the data set's authors marked in the photo, xmin ymin xmax ymax; at the right border they left out two cells.
RED_CELLS = [
    *([20, 255, 137, 355], [116, 329, 223, 430], [5, 361, 112, 462], [210, 255, 321, 388], [496, 139, 603, 240]),
    *([551, 1, 640, 101], [494, 245, 602, 361], [543, 344, 640, 467], [1, 94, 108, 210], [131, 1, 241, 95]),
    *([117, 170, 226, 288], [386, 318, 494, 458]),
]
WHITE_CELL = [204, 12, 391, 226]
PLATELETS = [[349, 194, 400, 246], [355, 350, 394, 385]]  # and a third at the lower border


def test_it_takes_two_megabytes_at_most():
    assert os.path.getsize(PACKAGED["blood-cells"]) <= 2_000_000
    assert f"{os.path.getsize(PACKAGED['blood-cells']):,} bytes" in PAGE


def test_it_finds_the_cells_of_a_photo():
    found = Detector("blood-cells")(FOLDER / "blood-cells.jpg")
    boxes = {
        name: np.array([each.box_xyxy for each in found if each.name == name]) for name in ("RBC", "WBC", "Platelets")
    }
    assert len(boxes["WBC"]) == 1
    assert iou_xyxy(boxes["WBC"], np.array([WHITE_CELL], float)).max() > 0.8
    assert len(boxes["Platelets"]) <= 3
    for name, truths, least in (("Platelets", PLATELETS, 0.6), ("RBC", RED_CELLS, 0.5)):
        overlaps = iou_xyxy(boxes[name][:, None], np.array(truths, float)[None])  # (found, marked)
        assert (overlaps.max(axis=0) > least).all(), name


def test_the_command_knows_it_by_name_wherever_it_is_called(in_tmp_path, succeeds):
    outcome = succeeds("detect", "--weights", "blood-cells", FOLDER / "blood-cells.jpg")
    assert any("1 WBC" in line for line in outcome.lines + outcome.errors)


def test_a_file_of_that_name_comes_first(in_tmp_path, checkpoint, refused):
    (in_tmp_path / "blood-cells").write_bytes(checkpoint.read_bytes())
    assert load_checkpoint("blood-cells").names == ["circle", "square", "triangle"]
    (in_tmp_path / "blood-cells").write_bytes(b"no checkpoint")
    refused("detect", "--weights", "blood-cells", FOLDER / "blood-cells.jpg", says=["blood-cells"])


def test_it_is_as_good_as_its_page_says(shared):
    detector, test_set = load_checkpoint("blood-cells"), open_dataset(shared / "data" / "bccd", "val")
    found = evaluate(detector.model, test_set, detector.image_size)
    stated = [float(number) for number in re.findall(r"0?\.\d{3}", PAGE.split("test pictures |")[1].split("\n")[0])]
    classes = dict(zip(test_set.names, found.voc.class_ap, strict=True))
    ours = [found.voc.mean_ap, *(classes[name] for name in ("RBC", "WBC", "Platelets")), found.coco.ap]
    assert ours == pytest.approx(stated, abs=0.002)
