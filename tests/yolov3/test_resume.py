"""Going on where a run stopped, and starting from the weights of another."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from minidl.serialize import load
from tests.yolov3.short_runs import SHORT, rows_of, same_arrays, stopping_in_epoch, without_times
from tests.yolov3.tiny_data import shapes_for_voc, write_voc
from yolov3.checkpoint import load_checkpoint


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(in_tmp_path, succeeds, yolov3, voc, optimizer):
    options = ("--data", voc, "--imgsz", 64, "--epochs", 3, "--batch", 2, "--optimizer", optimizer, "--lr", "0.001")
    whole = Path(succeeds("train", *options).folder)
    with pytest.MonkeyPatch.context() as patch:
        stopping_in_epoch(patch, 3)
        outcome = yolov3("train", *options, "--name", "stopped")
    assert outcome.code == 130
    stopped = Path("runs/train/stopped")
    going_on = f"go on from the last checkpoint with: yolov3 train --resume {stopped}"
    assert outcome.errors[-1] == f"yolov3 train: stopped; {going_on}"
    assert len(rows_of(stopped)) == 2
    assert load_checkpoint(stopped / "last.npz").training["epoch"] == 2

    outcome = succeeds("train", "--resume", stopped)
    assert outcome.folder == str(stopped)
    assert rows_of(stopped) == rows_of(whole)
    for name in ("last.npz", "best.npz"):
        assert same_arrays(stopped / name, whole / name)
    settings = [load(folder / "last.npz")[1] for folder in (stopped, whole)]
    for each in settings:
        each["training"]["rows"] = [without_times(row) for row in each["training"]["rows"]]
    assert settings[0] == settings[1]
    assert sorted(os.listdir("runs/train")) == ["exp", "stopped"]  # no new folder


def test_a_finished_run_says_so(in_tmp_path, succeeds, voc):
    folder = succeeds("train", "--data", voc, *SHORT).folder
    before = Path(folder, "last.npz").read_bytes()
    for run in (folder, Path(folder, "last.npz")):
        outcome = succeeds("train", "--resume", run)
        assert outcome.errors[-1] == "this run is complete: 2 epochs"
        assert outcome.lines == [folder]
    assert Path(folder, "last.npz").read_bytes() == before


def test_what_cannot_be_resumed(in_tmp_path, refused, checkpoint):
    Path("empty").mkdir()
    refused("train", "--resume", "absent", says=["absent: there is no such checkpoint"])
    refused("train", "--resume", "x" * 5000, says=["xxx"])
    refused("train", "--resume", "empty", says=[Path("empty/last.npz"), "there is no such checkpoint"])
    refused("train", "--resume", checkpoint, says=[checkpoint, "no training run to resume"])
    assert os.listdir() == ["empty"]


@pytest.fixture
def own_voc(tmp_path):
    """A VOC folder like ``voc`` that may be changed."""
    pictures = shapes_for_voc(8)
    lists = {"trainval": list(pictures)[:6], "test": list(pictures)[6:]}
    return write_voc(tmp_path / "voc", pictures, lists)


def test_resuming_with_data_that_has_changed(half_run, own_voc, refused):
    folder = half_run(own_voc)
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    listed, annotation = own_voc / "ImageSets/Main/trainval.txt", own_voc / "Annotations/p0.xml"

    pictures = listed.read_text()
    listed.write_text("p0\np1\n")
    refused("train", "--resume", folder, says=["changed"])
    listed.write_text(pictures)

    annotation.write_text(annotation.read_text().replace("<name>circle<", "<name>ball<"))
    refused("train", "--resume", folder, says=["ball", "circle"])
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before

    (own_voc / "Annotations").rename(own_voc / "away")
    refused("train", "--resume", folder, says=[own_voc, "where they lie now, say with --data"])


@pytest.mark.parametrize(("picture", "part"), [("p1", "training"), ("p7", "validation")])
def test_resuming_with_other_boxes(half_run, own_voc, refused, picture, part):
    folder = half_run(own_voc)
    annotation = own_voc / "Annotations" / f"{picture}.xml"
    text = annotation.read_text()
    left = re.search("<xmin>([0-9.]+)<", text)[1]
    annotation.write_text(text.replace(f"<xmin>{left}<", f"<xmin>{float(left) + 1}<", 1))
    refused("train", "--resume", folder, says=["the data changed", f"its {part} part has other pictures or boxes"])


def test_resuming_where_the_data_has_moved(half_run, own_voc, succeeds):
    folder = half_run(own_voc)
    moved = own_voc.rename(own_voc.with_name("elsewhere"))
    succeeds("train", "--resume", folder, "--data", moved)
    after = load_checkpoint(folder / "last.npz").training
    assert (after["epoch"], after["data"]["data"]) == (2, str(moved))
    assert succeeds("train", "--resume", folder).errors[-1] == "this run is complete: 2 epochs"


def test_a_resumed_run_has_its_own_folder_and_settings(half_run, own_voc, refused):
    folder = half_run(own_voc)
    for option in (("--project", "other"), ("--name", "other"), ("--epochs", 5), ("--any-way-up",)):
        refused("train", "--resume", folder, *option, says=[f"leave out {option[0]}"])


def test_going_back_to_the_best_checkpoint_is_said(half_run, own_voc, succeeds):
    folder = half_run(own_voc)
    best, last = folder / "best.npz", folder / "last.npz"
    assert f"going on from {best}: {last} will be replaced" in succeeds("train", "--resume", best).errors


def test_a_resumed_run_keeps_its_anchors(half_run, own_voc, succeeds):
    folder = half_run(own_voc)
    arrays, settings = load(folder / "last.npz")
    settings["anchors"]["8"] = [[9, 9], [10, 10], [11, 12]]  # as if the boxes had been other ones
    from minidl.serialize import save

    save(folder / "last.npz", arrays, settings)
    succeeds("train", "--resume", folder)
    np.testing.assert_array_equal(load_checkpoint(folder / "last.npz").model.anchors[2], [[9, 9], [10, 10], [11, 12]])


# --- fine-tuning --------------------------------------------------------------------------------


def test_fine_tuning_starts_from_the_weights(in_tmp_path, succeeds, voc):
    first = ("train", "--data", voc, "--imgsz", "64x96", "--epochs", 1, "--batch", 2)
    start = Path(succeeds(*first, "--lateral", "add").folder, "last.npz")
    tiny_steps = ("--epochs", 1, "--batch", 6, "--lr", "1e-12", "--seed", 5)
    tuned = Path(succeeds("train", "--data", voc, "--weights", start, *tiny_steps).folder, "last.npz")
    before, after = load_checkpoint(start), load_checkpoint(tuned)
    assert (after.preset, after.lateral, after.image_size) == ("yolov3-nano", "add", (64, 96))
    for anchors, expected in zip(after.model.anchors, before.model.anchors, strict=True):
        np.testing.assert_array_equal(anchors, expected)
    for (name, weight), expected in zip(after.model.named_parameters(), before.model.parameters(), strict=True):
        np.testing.assert_allclose(weight.data, expected.data, atol=1e-9, err_msg=name)
    assert after.training["epoch"] == 1


def test_weights_that_do_not_fit(in_tmp_path, refused, voc, checkpoint):
    train = ("train", *SHORT, "--data", voc, "--weights")
    refused(*train, checkpoint, "--model", "yolov3-tiny", says=[checkpoint, "yolov3-nano", "--model"])
    refused(*train, "absent.npz", says=["absent.npz"])
    assert not Path("runs").exists()
