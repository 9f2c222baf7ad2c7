"""A run killed at any moment goes on from its last checkpoint, and ends as if it had never been interrupted."""

import os
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest

from minidl.serialize import load
from tests.conftest import PROJECT
from tests.yolov3.killing import finish, kill_after, start
from tests.yolov3.short_runs import FILES, rows_of, same_arrays, without_times
from yolov3.checkpoint import load_checkpoint, save_checkpoint
from yolov3.resume import load_run

# 3 steps an epoch; a checkpoint after every step, so that about half of the time one is being written.
OPTIONS = ("--imgsz", 64, "--batch", 2, "--epochs", 3, "--save-every", 0, "--seed", 3, "--ema", 0.9)


def progress(path):
    """The settings in a checkpoint, without the times."""
    _, settings = load(path)
    settings["training"]["rows"] = [without_times(row) for row in settings["training"]["rows"]]
    return settings


def assert_same_run(folder, other):
    """Weights, statistics, optimiser, progress and tables are the same to the last bit."""
    assert rows_of(folder) == rows_of(other)
    for name in ("last.npz", "best.npz"):
        assert same_arrays(folder / name, other / name)
        assert progress(folder / name) == progress(other / name)
    assert sorted(os.listdir(folder)) == sorted(os.listdir(other)) == FILES  # nothing half written is left


@pytest.fixture(scope="module")
def whole(tmp_path_factory, voc):
    """The folder of a run that was not interrupted."""
    project = tmp_path_factory.mktemp("whole")
    finish(start("--data", voc, *OPTIONS, "--project", project))
    return project / "exp"


def kill_and_resume(voc, project, whole, seed, kills):
    """Kill a run ``kills`` times at random moments, resume it each time, and compare the end."""
    rng, killed, folder = random.Random(seed), 0, project / "exp"
    begin = ("--data", voc, *OPTIONS, "--project", project)
    arguments = begin
    while killed < kills:
        was_running = kill_after(start(*arguments), rng.uniform(0, 1.2))
        killed += was_running
        if (folder / "last.npz").exists():
            load_checkpoint(folder / "last.npz")  # whole, whenever the process died
            arguments = ("--resume", folder, "--save-every", 0)
        if not was_running or not (folder / "last.npz").exists():  # too late to be killed, or before the first step
            if was_running:
                shutil.rmtree(folder)
                continue
            assert_same_run(folder, whole)
            shutil.rmtree(folder)
            arguments = begin
    if (folder / "last.npz").exists():
        finish(start("--resume", folder))
        assert_same_run(folder, whole)


def test_killed_at_random_moments(tmp_path, voc, whole):
    kill_and_resume(voc, tmp_path, whole, seed=0, kills=3)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 7))
def test_killed_thirty_times(tmp_path, voc, whole, seed):
    kill_and_resume(voc, tmp_path, whole, seed, kills=5)


# --- while a checkpoint is being written ---------------------------------------------------------

# Saves two checkpoints of a run, with step_count 1 and 2, and dies as it calls a function while it writes a third.
DYING = """
import os, signal, sys, zipfile
from pathlib import Path
from yolov3.checkpoint import load_checkpoint
from yolov3.resume import save_last
module, function, count = {"os": os, "zip": zipfile.ZipFile}[sys.argv[3]], sys.argv[4], int(sys.argv[5])
checkpoint = load_checkpoint(sys.argv[1])
original = getattr(module, function)
calls = 0
def die(*arguments, **options):
    global calls
    calls += 1
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
for step in (1, 2, 3):
    if step == 3:
        setattr(module, function, die)
    checkpoint.optimizer["step_count"] = step + 0 * next(iter(checkpoint.model.state_dict().values())).sum()
    save_last(Path(sys.argv[2]), checkpoint)
"""
MOMENTS = [("zip", "open", 5), ("zip", "close", 1), ("os", "fsync", 1), ("os", "link", 1), ("os", "replace", 1)]
MOMENTS += [("os", "replace", 2), ("os", "fsync", 2)]


@pytest.mark.skipif(os.name != "posix", reason="this system has no SIGKILL")
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: "-".join(map(str, moment)))
def test_killed_while_a_checkpoint_is_written(tmp_path, checkpoint, moment):
    command = [sys.executable, "-c", DYING, checkpoint, tmp_path, *map(str, moment)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    found, path, remark = load_run(tmp_path)
    assert remark is None
    assert path == tmp_path / "last.npz"
    replaced = moment == ("os", "fsync", 2)  # of the folder, after the rename
    assert found.optimizer["step_count"] == (3 if replaced else 2)
    for name, array in load_checkpoint(checkpoint).model.state_dict().items():
        np.testing.assert_array_equal(found.model.state_dict()[name], array)
    assert load_checkpoint(tmp_path / "previous.npz").optimizer["step_count"] in (1, 2)


# --- a full disk --------------------------------------------------------------------------------


def test_a_full_disk_within_an_epoch(tmp_path, voc, whole, yolov3, succeeds):
    """The fifth checkpoint cannot be written; when there is room again, the run goes on from the fourth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yolov3.checkpoint.save", failing_save(5))
        outcome = yolov3("train", "--data", voc, *OPTIONS, "--project", tmp_path)
    assert outcome.code == 1
    folder = tmp_path / "exp"
    assert outcome.errors[-1].endswith(
        "last.npz cannot be written (No space left on device): make room there, or choose another folder; "
        f"go on from the last checkpoint with: yolov3 train --resume {folder}"
    )
    assert not [name for name in os.listdir(folder) if name.startswith(".")]
    succeeds("train", "--resume", folder, "--save-every", 0)
    assert_same_run(folder, whole)


def failing_save(number):
    """A stand-in for ``minidl.serialize.save`` that writes half of a file and then has no room, in one of its calls."""
    from minidl import serialize

    calls = []

    def save(path, arrays, settings=None, keep=None):
        calls.append(path)
        if len(calls) != number:
            return serialize.save(path, arrays, settings, keep)

        def write(file):
            file.write(bytes(1000))
            raise OSError(28, "No space left on device")

        return serialize.write_atomically(path, write, keep)

    return save


# --- a damaged checkpoint -----------------------------------------------------------------------


@pytest.fixture
def two_checkpoints(tmp_path, voc, yolov3):
    """The folder of a run that stopped when its fourth checkpoint could not be written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yolov3.checkpoint.save", failing_save(4))
        yolov3("train", "--data", voc, *OPTIONS, "--project", tmp_path)
    return tmp_path / "exp"


def damage(path, how):
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "empty" else path.read_bytes()[:-9])


@pytest.mark.parametrize(("how", "says"), [("missing", "no such checkpoint"), ("empty", "is damaged or not")])
def test_the_one_before_takes_the_place_of_a_damaged_checkpoint(two_checkpoints, how, says):
    damage(two_checkpoints / "last.npz", how)
    for run in (two_checkpoints, two_checkpoints / "last.npz"):
        found, path, remark = load_run(run)
        assert path == two_checkpoints / "last.npz"
        assert found.optimizer["step_count"] == 1
        if run == two_checkpoints:
            assert f"{path}" in remark
            assert says in remark
            assert remark.endswith(": going on from the checkpoint before it (epochs 0, steps 1)")
        else:  # it has a good one again
            assert remark is None


def test_a_run_goes_on_behind_a_damaged_checkpoint(two_checkpoints, succeeds, whole):
    damage(two_checkpoints / "last.npz", "cut")
    outcome = succeeds("train", "--resume", two_checkpoints)
    assert "is damaged or not a checkpoint" in outcome.errors[0]
    assert_same_run(two_checkpoints, whole)


def test_both_damaged(two_checkpoints, refused):
    for name in ("last.npz", "previous.npz"):
        (two_checkpoints / name).write_bytes(b"nothing")
    says = [two_checkpoints / "last.npz", "is damaged", "previous.npz", "start a new run"]
    refused("train", "--resume", two_checkpoints, says=says)


def test_a_checkpoint_stands_for_any_step(tmp_path, two_checkpoints):
    found = load_checkpoint(two_checkpoints / "last.npz")
    save_checkpoint(tmp_path / "again.npz", found)
    assert load(tmp_path / "again.npz")[1] == load(two_checkpoints / "last.npz")[1]
    assert found.training["part"]["steps"] == 2
    assert found.optimizer["step_count"] == 2
