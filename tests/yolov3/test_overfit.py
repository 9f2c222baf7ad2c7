"""``yolov3 overfit``: what can be learned is, and what cannot ends with exit code 1 and a picture to look at."""

import os
from pathlib import Path

import numpy as np
import pytest

from yolov3.data.shapes import ShapesDataset
from yolov3.image import load_image
from yolov3.overfit import one_batch

SMALL = ("--imgsz", 96, "--batch", 1)


def test_a_picture_is_learned(in_tmp_path, succeeds, voc):
    outcome = succeeds("overfit", "--data", voc, *SMALL, "--steps", 150)
    result, folder = outcome.lines
    assert folder == str(Path("runs/overfit/exp"))
    assert result.startswith("loss ")
    assert result.endswith(": the pipeline can learn")
    assert " steps on 1 picture, mAP@0.5 on them " in result
    before, after = result.removeprefix("loss ").split(" in ")[0].split(" -> ")
    assert float(after) < float(before) / 3
    assert os.listdir(folder) == ["predictions.png"]
    assert load_image(Path(folder, "predictions.png")).std() > 10
    assert outcome.errors == []


def test_too_few_steps_say_what_to_try(in_tmp_path, yolov3, voc):
    outcome = yolov3("overfit", "--data", voc, *SMALL, "--steps", 2)
    assert outcome.code == 1
    (sentence,) = outcome.errors
    picture = Path("runs/overfit/exp/predictions.png")
    for words in ("yolov3 overfit: loss ", "in 2 steps", "below 0.9", picture, "--steps", "--lr"):
        assert str(words) in sentence
    assert picture.is_file()
    assert outcome.lines == []


def test_what_is_wrong_with_the_labels_is_said(in_tmp_path, yolov3, voc):
    outcome = yolov3("overfit", "--data", voc, "--imgsz", 32, "--batch", 6, "--steps", 1)
    assert "lose their place" in outcome.errors[-1] or "fit no anchor" in outcome.errors[-1]


def test_wrong_options(in_tmp_path, refused, voc):
    refused("overfit", "--data", voc, "--lr", 0, says=["positive number"])
    refused("overfit", "--data", voc, "--model", "yolov9", says=["unknown model 'yolov9'"])
    refused("overfit", "--data", "absent", says=["absent"])
    refused("overfit", "--data", voc, *SMALL, "--lr", 1e30, "--steps", 9, says=["in step", "--lr"])
    assert not Path("runs/overfit/exp").exists()


def test_a_batch_has_something_to_learn():
    dataset = ShapesDataset("train", size=6)
    for index in (0, 2, 3):
        dataset.records[index].difficult[:] = True
    part = one_batch(dataset, 2, seed=0)
    assert len(part) == 2
    assert set(part.indices) <= {1, 4, 5}
    assert set(one_batch(dataset, 9, seed=0).indices) == {1, 4, 5}
    for number, index in enumerate(part.indices):
        assert part.records[number] is dataset.records[index]
        np.testing.assert_array_equal(part.load_image(number), dataset.load_image(index))
    assert len({tuple(one_batch(dataset, 1, seed).indices) for seed in range(20)}) == 3


@pytest.mark.parametrize("data", ["shapes-overlap"])
def test_several_labels_for_a_box(in_tmp_path, succeeds, monkeypatch, data):
    monkeypatch.setattr("yolov3.data.shapes.SPLIT_SIZES", {"train": 3, "val": 3})
    assert succeeds("overfit", "--data", data, *SMALL, "--steps", 200).lines[0].endswith("can learn")
