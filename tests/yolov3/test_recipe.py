"""The recipe's choices in whole runs: schedules, several sizes, mosaics, averaged weights, early stopping."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minidl.serialize import load, save
from tests.yolov3.short_runs import rows_of, same_arrays, stopping_in_epoch
from yolov3 import training_log
from yolov3.checkpoint import load_checkpoint
from yolov3.data.shapes import ShapesDataset
from yolov3.errors import UserError
from yolov3.progress import progress_bar
from yolov3.train import TrainingRun, rate_schedule
from yolov3.train_settings import TrainSettings

ALL = ("--multi-scale", "--ema", "0.9", "--augment", "mosaic", "--schedule", "steps", "--burn-in", 2, "--freeze", 1)
OPTIONS = ("--imgsz", 64, "--epochs", 3, "--batch", 2, *ALL)  # 3 steps an epoch


def test_a_run_with_everything_resumes_exactly(in_tmp_path, monkeypatch, yolov3, succeeds, voc):
    whole = Path(succeeds("train", "--data", voc, *OPTIONS).folder)
    with monkeypatch.context() as patch:
        stopping_in_epoch(patch, 2)
        yolov3("train", "--data", voc, *OPTIONS, "--project", "stopped", "--save-every", 0)
    half = load_checkpoint("stopped/exp/last.npz")
    assert half.training["part"]["steps"] == 1
    resumed = Path(succeeds("train", "--resume", "stopped/exp").folder)
    assert rows_of(resumed) == rows_of(whole)
    for name in ("last.npz", "best.npz"):
        assert same_arrays(resumed / name, whole / name)


def test_a_checkpoint_holds_the_average_and_what_is_trained(in_tmp_path, succeeds, voc):
    options = ("--imgsz", 64, "--epochs", 1, "--batch", 2, "--seed", 3)
    plain = load_checkpoint(Path(succeeds("train", "--data", voc, *options).folder, "last.npz"))
    averaged = load_checkpoint(Path(succeeds("train", "--data", voc, *options, "--ema", "0.5").folder, "last.npz"))
    assert plain.trained == {}
    for path, array in plain.model.state_dict().items():
        np.testing.assert_array_equal(averaged.trained[path], array)
        if not path.endswith("running_mean"):
            assert not np.array_equal(averaged.model.state_dict()[path], array)


def test_a_run_with_an_average_needs_the_weights_behind_it(in_tmp_path, refused, succeeds, voc):
    folder = Path(succeeds("train", "--data", voc, "--imgsz", 64, "--epochs", 1, "--batch", 2, "--ema", "0.5").folder)
    arrays, settings = load(folder / "last.npz")
    save(folder / "last.npz", {name: array for name, array in arrays.items() if "trained" not in name}, settings)
    refused("train", "--resume", folder, says=["holds no training run to resume"])


def test_schedules():
    rates = rate_schedule(TrainSettings(learning_rate=1.0, schedule="steps", burn_in=10), 100)
    assert [round(rates(step), 9) for step in (1, 5, 10, 79, 80, 89, 90, 100)] == [0.1, 0.5, 1, 1, 0.1, 0.1, 0.01, 0.01]
    rates = rate_schedule(TrainSettings(learning_rate=1.0, burn_in=0), 100)
    assert rates(1) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 100)) / 2)
    assert rates(100) == pytest.approx(0.01)
    assert rate_schedule(TrainSettings(learning_rate=1.0, burn_in=500), 100)(20) > 0.9  # at most a fifth of the steps


@pytest.mark.parametrize(("patience", "ends_after"), [(0, 12), (3, 7), (4, 12), (1, 3)])
def test_patience(monkeypatch, tmp_path, patience, ends_after):
    scores = [0.1, 0.3, 0.3, 0.4, 0.2, 0.4, 0.1, 0.5, 0.2, 0.3, 0.1, 0.45]

    def validate(run):
        score = scores[run.epoch - 1]
        return SimpleNamespace(detections=[], voc=SimpleNamespace(mean_ap=score), coco=SimpleNamespace(ap=score / 2))

    monkeypatch.setattr(TrainingRun, "_validate", validate)
    monkeypatch.setattr(training_log, "prediction_grid", lambda *arguments: None)
    dataset = ShapesDataset("train", size=2)
    settings = TrainSettings(image_size=(32, 32), epochs=12, batch=2, anchors="published", patience=patience)
    run = TrainingRun(settings, dataset, dataset, {})
    with progress_bar(run.total_steps, "step") as bar:
        run.run(tmp_path, bar)
        assert run.epoch == ends_after
        assert run.stopped_early == (ends_after < 12)
        checkpoint = load_checkpoint(tmp_path / "last.npz")
        again = TrainingRun(settings, dataset, dataset, {}, model=checkpoint.model)
        again.resume(checkpoint)
        assert again.run(tmp_path, bar) is None


def test_with_patience_every_epoch_is_validated(monkeypatch, tmp_path):
    same = SimpleNamespace(detections=[], voc=SimpleNamespace(mean_ap=0.5), coco=SimpleNamespace(ap=0.2))
    monkeypatch.setattr(TrainingRun, "_validate", lambda run: same)
    monkeypatch.setattr(training_log, "prediction_grid", lambda *arguments: None)
    dataset = ShapesDataset("train", size=2)
    settings = TrainSettings(image_size=(32, 32), epochs=60, batch=2, anchors="published", patience=2)
    run = TrainingRun(settings, dataset, dataset, {})
    with progress_bar(run.total_steps, "step") as bar:
        evaluation = run.run(tmp_path, bar)
    assert run.epoch == 3  # without patience it would validate every three epochs
    assert evaluation is same


@pytest.mark.parametrize("name", ["recipe", "mosaic", "original", "none"])
def test_pictures_are_shown_upside_down_only_if_asked_for(name):
    any_way = TrainSettings(augmentation=name, any_way_up=True).variation
    assert any_way.vertical_flip == (0.5 if name in ("recipe", "mosaic") else 0)
    assert TrainSettings(augmentation=name).variation == replace(any_way, vertical_flip=0)


def test_the_command_says_what_may_not_be_meant(in_tmp_path, succeeds, voc):
    run = ("train", "--data", voc, "--imgsz", 32, "--epochs", 1, "--batch", 7, "--freeze", 1, "--local-batchnorm")
    said = " ".join(succeeds(*run).errors)
    assert "--freeze 1: the backbone learns in none of the 1 epochs" in said
    assert "a batch of 7 shows the 6 pictures there are more than once" in said
    assert "--freeze without --weights: the backbone keeps its first, random numbers in these epochs" in said
    assert "--local-batchnorm changes nothing in a single process" in said


def test_the_command_says_that_it_stopped_early(in_tmp_path, succeeds, voc):
    outcome = succeeds(
        "train",
        "--data",
        voc,
        "--imgsz",
        32,
        "--epochs",
        9,
        "--batch",
        6,
        "--lr",
        "1e-9",
        "--momentum",
        0,
        "--patience",
        2,
    )
    assert any("stopped after 3 epochs: none of the last 2" in line for line in outcome.errors)
    assert [row["epoch"] for row in rows_of(outcome.folder)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ema": 1.0}, "ema must be at least 0 and below 1"),
        ({"burn_in": -1}, "burn_in"),
        ({"epochs": 10**400}, "epochs must be at most 1000000000000000000, not 1000"),
        ({"freeze": -1}, "freeze"),
        ({"patience": -2}, "patience"),
        ({"schedule": "linear"}, "unknown schedule 'linear': choose one of cosine, steps"),
    ],
)
def test_settings_that_cannot_be(values, says):
    with pytest.raises(UserError, match=says):
        TrainSettings(**values)
