"""The demonstration, with few steps and few pictures: the real one is timed in the benchmarks."""

import os
from pathlib import Path

import pytest

from tests.yolov3.short_runs import FILES
from yolov3 import demo
from yolov3.checkpoint import load_checkpoint
from yolov3.demo import run_demo
from yolov3.image import load_image


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr("yolov3.data.shapes.SPLIT_SIZES", {"train": 8, "val": 4})
    monkeypatch.setattr(demo, "BATCH", 4)


def test_what_the_command_prints_and_leaves(in_tmp_path, succeeds):
    outcome = succeeds("demo", "--steps", 2, "--seed", 5)
    assert outcome.folder == str(Path("runs/demo/exp"))
    assert outcome.lines[-2].startswith("mAP@0.5 0.")
    assert "4 more judge it" in outcome.lines[0]
    assert outcome.errors == []
    assert "%|" in outcome.stderr
    folder = Path(outcome.folder)
    assert sorted(os.listdir(folder)) == FILES
    # What it invites to look at is there.
    for name in ("predictions.png", "curves.png"):
        assert any(str(folder / name) in line for line in outcome.lines)
        assert load_image(folder / name).std() > 10
    assert any(f"yolov3 detect --weights {folder / 'last.npz'}" in line for line in outcome.lines)

    found = load_checkpoint(folder / "last.npz")
    assert found.names == ["circle", "square", "triangle"]
    assert found.training["settings"]["seed"] == 5
    assert succeeds("demo", "--steps", 1).folder == str(Path("runs/demo/exp2"))


def test_its_detector_is_ready_to_use(in_tmp_path, succeeds):
    folder = Path(succeeds("demo", "--steps", 1).folder)
    outcome = succeeds("detect", folder / "predictions.png", "--weights", folder / "last.npz")
    assert outcome.lines[0].startswith(f"{folder / 'predictions.png'}: ")


@pytest.mark.parametrize(("steps", "done"), [(1, 1), (9, 9), (10, 10), (25, 20)])
def test_as_many_steps_as_make_ten_equal_epochs(tmp_path, monkeypatch, steps, done):
    class Stop(Exception):
        pass

    def look(self, folder, bar):
        assert self.settings.epochs == min(steps, 10)
        assert self.total_steps == done == bar.total
        raise Stop

    monkeypatch.setattr("yolov3.train.TrainingRun.run", look)
    with pytest.raises(Stop):
        run_demo(tmp_path, steps, seed=0)


def test_the_same_seed_the_same_demo(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        run_demo(tmp_path / name, 1, seed)
    losses = [load_checkpoint(tmp_path / name / "last.npz").training["rows"][-1]["loss"] for name in "abc"]
    assert losses[0] == losses[1] != losses[2]


def test_an_interrupted_demo_cannot_be_resumed(yolov3, refused, in_tmp_path):
    yolov3("demo", "--steps", "2")
    refused("train", "--resume", "runs/demo/exp", says=["holds no training run to resume"])
