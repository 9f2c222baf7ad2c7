"""Training: what a run writes, that it repeats exactly, how it fails, and that it learns."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import PROJECT
from tests.yolov3.short_runs import FILES, SHORT, rows_of, same_arrays
from tests.yolov3.tiny_data import shapes_for_voc, write_voc
from yolov3 import resume, train, training_log
from yolov3.checkpoint import load_checkpoint, save_checkpoint
from yolov3.data.augment import NONE
from yolov3.data.dataset import Dataset
from yolov3.data.report import Report
from yolov3.data.shapes import ShapesDataset
from yolov3.errors import UserError
from yolov3.evaluate import evaluate
from yolov3.image import load_image
from yolov3.learner import Learner
from yolov3.progress import progress_bar
from yolov3.train import TrainingRun
from yolov3.train_settings import TrainSettings
from yolov3.training_log import TrainingLog

# --- what a run writes --------------------------------------------------------------------------


def test_files_and_lines_of_a_run(in_tmp_path, succeeds, voc):
    outcome = succeeds("train", "--data", voc, *SHORT)
    assert outcome.folder == str(Path("runs/train/exp"))
    folder = Path(outcome.folder)
    assert sorted(os.listdir(folder)) == FILES
    assert outcome.lines[0].split() == ["class", "objects", "AP@0.5", "AP@[.5:.95]"]
    assert [line.split()[0] for line in outcome.lines[1:-2]] == ["circle", "square", "triangle", "all"]
    assert outcome.lines[-2].startswith("mAP@0.5 0.")
    assert outcome.errors == [f"yolov3-nano: 339,360 parameters, 6 pictures, results in {folder}"]
    assert "%|" in outcome.stderr
    assert not any("%|" in line for line in outcome.lines)

    first, last = rows_of(folder)
    assert [first["epoch"], first["step"], last["epoch"], last["step"]] == ["1", "3", "2", "6"]
    terms = [float(last[name]) for name in ("centre", "size", "object", "no_object", "classes")]
    assert float(last["loss"]) == pytest.approx(sum(terms), rel=1e-4)
    assert float(last["learning_rate"]) == pytest.approx(3e-5)  # 1 % of 0.003 in the last step
    assert 0 <= float(last["mAP50_95"]) <= float(last["mAP50"]) <= 1
    for name in ("curves.png", "predictions.png"):
        assert load_image(folder / name).std() > 10

    found = load_checkpoint(folder / "last.npz")
    assert (found.preset, found.lateral, found.image_size) == ("yolov3-nano", "concat", (64, 64))
    assert found.names == ["circle", "square", "triangle"]
    assert (found.training["epoch"], len(found.training["rows"])) == (2, 2)
    assert found.optimizer["step_count"] == 6


def test_runs_are_numbered(in_tmp_path, succeeds, voc):
    short = ("train", "--data", voc, "--imgsz", 64, "--epochs", 1, "--batch", 6)
    assert [succeeds(*short).folder for _ in range(2)] == [str(Path("runs/train", name)) for name in ("exp", "exp2")]


@pytest.mark.parametrize(
    "options",
    [
        ("--optimizer", "sgd", "--lr", "0.001"),
        ("--augment", "original"),
        ("--augment", "none", "--anchors", "published"),
        ("--lateral", "add"),
        ("--model", "yolov3-tiny"),
        ("--imgsz", "64x96", "--ignore-thres", "0.5"),
    ],
)
def test_choices(in_tmp_path, succeeds, voc, options):
    outcome = succeeds("train", "--data", voc, "--imgsz", 64, "--epochs", 1, "--batch", 4, *options)
    found = load_checkpoint(Path(outcome.folder, "last.npz"))
    settings, chosen = found.training["settings"], dict(zip(options[::2], options[1::2], strict=True))
    assert settings["optimizer"] == chosen.get("--optimizer", "adam")
    assert settings["augmentation"] == chosen.get("--augment", "recipe")
    assert settings["anchors"] == chosen.get("--anchors", "band")
    assert settings["ignore_threshold"] == float(chosen.get("--ignore-thres", 0.7))
    assert found.lateral == chosen.get("--lateral", "concat")
    assert found.preset == chosen.get("--model", "yolov3-nano")
    assert found.image_size == ((64, 96) if "--imgsz" in chosen else (64, 64))


def test_generated_shapes_need_no_file(in_tmp_path, succeeds, monkeypatch):
    monkeypatch.setattr("yolov3.data.shapes.SPLIT_SIZES", {"train": 8, "val": 3})
    for data, classes in (("shapes", 3), ("shapes-overlap", 6)):
        outcome = succeeds("train", "--data", data, "--imgsz", 64, "--epochs", 1)
        assert len(load_checkpoint(Path(outcome.folder, "last.npz")).names) == classes


def test_what_will_not_be_learned_is_said_before(in_tmp_path, succeeds, tmp_path):
    pictures = {name: (image, names, boxes) for name, (image, names, boxes) in shapes_for_voc(4).items()}
    image, names, boxes = pictures["p0"]
    pictures["p0"] = (image, [*names, "square"], [*boxes, (5, 40, 90, 42)])  # thin
    data = write_voc(tmp_path / "voc", pictures, {"trainval": ["p0", "p1", "p2"], "test": ["p3"]})
    outcome = succeeds("train", "--data", data, "--imgsz", 64, "--epochs", 1, "--batch", 3)
    thin, tiny, *_, start = outcome.errors
    assert "1 of " in thin
    assert "boxes fit no anchor at 64x64" in thin
    assert "have a side below 2 pixels at 64x64 (the thinnest: 56.7x1.33 pixels in " in tiny
    assert start.startswith("yolov3-nano")


# --- the same again -----------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run(in_tmp_path, succeeds, voc):
    one, same, other = (Path(succeeds("train", "--data", voc, *SHORT, "--seed", seed).folder) for seed in (7, 7, 8))
    assert rows_of(one) == rows_of(same)
    assert same_arrays(one / "last.npz", same / "last.npz")
    assert rows_of(one)[0]["loss"] != rows_of(other)[0]["loss"]


# --- when it goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [2, 6])  # it diverges within the first epoch, or in its only step
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_rate_that_is_far_too_high(in_tmp_path, yolov3, voc, batch):
    options = ("--imgsz", 64, "--epochs", 50, "--batch", batch, "--lr", "1e30")
    outcome = yolov3("train", "--data", voc, *options)
    assert outcome.code == 1
    start, sentence = outcome.errors
    assert start.startswith("yolov3-nano")
    assert "--lr" in sentence
    assert "1e+30" in sentence
    assert set(os.listdir("runs/train/exp")) <= {"labels.png", "train_batch.png", "results.csv", "curves.png"}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("step", [4, 6])  # the first and the last of the second epoch
def test_the_last_good_checkpoint_stays(in_tmp_path, yolov3, voc, monkeypatch, step):
    take_step = Learner.step

    def explode(self, batch, number):
        terms = take_step(self, batch, number)
        if number == step:
            for parameter in self.model.parameters():
                parameter.data *= np.float32(1e20)
        return terms

    monkeypatch.setattr(Learner, "step", explode)
    outcome = yolov3("train", "--data", voc, "--imgsz", 64, "--epochs", 50, "--batch", 2)
    assert outcome.code == 1
    assert "--lr" in outcome.errors[-1]
    assert str(Path("runs/train/exp")) in outcome.errors[-1]
    found = load_checkpoint("runs/train/exp/last.npz")
    assert found.training["epoch"] == 1
    assert all(np.abs(weight.data).max() < 100 for weight in found.model.parameters())


FULL_DISK = """
import resource, sys
from yolov3.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
main(sys.argv[2:])
"""


@pytest.mark.parametrize("limit", [0, 20_000, 4_000_000])
def test_a_full_disk_leaves_the_old_checkpoint(half_run, voc, limit):
    pytest.importorskip("resource", reason="this system has no limits on file sizes")
    folder = half_run(voc)
    before, names = (folder / "last.npz").read_bytes(), sorted(os.listdir(folder))
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(limit), "train", "--resume", str(folder)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    sentence = done.stderr.rsplit("\n", 2)[-2]
    assert sentence.startswith("yolov3 train: ")
    assert "cannot be written (File too large)" in sentence
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr
    assert (folder / "last.npz").read_bytes() == before
    assert load_checkpoint(folder / "last.npz").training["epoch"] == 1
    assert sorted(os.listdir(folder)) == names


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "yolov9"}, "unknown model 'yolov9': choose one of yolov3, "),
        ({"image_size": (100, 64)}, "multiple of 32, not 100: use 96 or 128"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch": -1}, "batch must be at least 1, not -1"),
        ({"learning_rate": 0.0}, "positive number, not 0"),
        ({"learning_rate": float("nan")}, "positive number, not nan"),
        ({"learning_rate": float("inf")}, "positive number, not inf"),
        ({"optimizer": "adamw"}, "unknown optimizer 'adamw': choose one of adam, sgd"),
        ({"anchors": "mine"}, "unknown anchors 'mine': choose one of band, published"),
        ({"augmentation": "all"}, "unknown augmentation 'all': choose one of none, recipe, original"),
        ({"lateral": "sum"}, "unknown lateral 'sum': choose one of concat, add"),
    ],
)
def test_settings_are_checked(changes, says):
    with pytest.raises(UserError, match=says):
        TrainSettings(**changes)


# --- the schedule of a run ----------------------------------------------------------------------


@pytest.fixture
def rehearse(monkeypatch, tmp_path):
    """Function that runs ``epochs`` without training; the mAPs are given.  Returns the run and what happened."""

    def run(epochs, maps, batch=2, pictures=4):
        happened = SimpleNamespace(validated=[], clean_from=[])
        maps = iter(maps)

        def evaluate_nothing(*arguments, **options):
            happened.validated.append(run.epoch)
            return SimpleNamespace(voc=SimpleNamespace(mean_ap=next(maps)), coco=SimpleNamespace(ap=0.0), detections=[])

        def one_empty_batch(epoch, start=0, clean_from=None):
            happened.clean_from.append(clean_from)
            yield SimpleNamespace(images=None)

        monkeypatch.setattr(train, "evaluate", evaluate_nothing)
        for name in ("prediction_grid", "plot_training_curves"):
            monkeypatch.setattr(training_log, name, lambda *arguments: None)
        monkeypatch.setattr(TrainingLog, "batch", lambda self, batch: None)
        monkeypatch.setattr(Learner, "check_output", lambda self, batch, step: None)
        monkeypatch.setattr(Learner, "step", lambda self, batch, step: {"loss": 1.0})
        settings = TrainSettings(image_size=(64, 64), epochs=epochs, batch=batch, anchors="published")
        dataset = ShapesDataset("train", size=pictures)
        run = TrainingRun(settings, dataset, dataset, {})
        run.batches.epoch = one_empty_batch
        with progress_bar(run.total_steps, "step") as bar:
            run.run(tmp_path, bar)
        return run, happened

    return run


def test_about_twenty_validations_and_one_at_the_end(rehearse):
    assert rehearse(3, [0.1] * 3)[1].validated == [1, 2, 3]
    assert rehearse(45, [0.1] * 23)[1].validated == [*range(2, 45, 2), 45]


def test_best_is_the_best_and_last_the_last(rehearse, tmp_path):
    rehearse(4, [0.1, 0.5, 0.3, 0.5])
    assert load_checkpoint(tmp_path / "best.npz").training["epoch"] == 2
    assert load_checkpoint(tmp_path / "last.npz").training["epoch"] == 4
    assert load_checkpoint(tmp_path / "last.npz").training["best"] == 0.5


def test_the_best_is_never_newer_in_name_only(rehearse, tmp_path, monkeypatch):
    """If the machine stops between the two files, ``last`` must not promise a ``best`` that was never written."""
    saved = []

    def save(path, made, keep=None):
        saved.append(path.name)
        save_checkpoint(path, made, keep)

    monkeypatch.setattr(train, "save_checkpoint", save)
    monkeypatch.setattr(resume, "save_checkpoint", save)
    rehearse(1, [0.2])
    assert saved == ["best.npz", "last.npz"]


def test_the_last_twentieth_of_the_steps_is_clean(rehearse):
    _, happened = rehearse(4, [0.1] * 4, batch=1, pictures=10)  # 40 steps: clean from the 38th, counted from 0
    assert happened.clean_from == [38, 28, 18, 8]
    assert TrainSettings(augmentation="none").variation == NONE


# --- it learns ----------------------------------------------------------------------------------


def test_one_picture_can_be_learned_by_heart(tmp_path):
    shapes = ShapesDataset("train", size=8)
    index = max(range(8), key=lambda index: len(shapes.records[index].labels))
    image, record = shapes.load_image(index), shapes.records[index]
    assert len(record.labels) >= 3

    class OnePicture(Dataset):
        def load_image(self, index):
            return image

    once = OnePicture(shapes.names, [record], Report())
    often = dataclasses.replace(once, records=[record] * 100)
    settings = TrainSettings(
        image_size=(96, 96), epochs=1, batch=1, learning_rate=5e-3, anchors="published", augmentation="none"
    )
    run = TrainingRun(settings, often, once, {})
    with progress_bar(run.total_steps, "step") as bar:
        evaluation = run.run(tmp_path, bar)
    assert evaluation.voc.mean_ap == 1.0
    assert evaluation.coco.ap > 0.5
    # And the checkpoint knows it too.
    again = evaluate(load_checkpoint(tmp_path / "last.npz").model, once, (96, 96))
    assert again.voc.mean_ap == 1.0
    (found,) = again.detections
    surest = found.scores > 0.5
    assert sorted(found.labels[surest]) == sorted(record.labels)
