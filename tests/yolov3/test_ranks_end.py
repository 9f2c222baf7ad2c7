"""``mpiexec -n 2 yolov3 train``, with real processes: one result, one message, and always a good checkpoint."""

import os
import signal
import sys
import time

import numpy as np
import pytest

from minidl.serialize import load
from tests.mpi import ended, start_ranks
from tests.yolov3.conftest import without_bars
from tests.yolov3.short_runs import rows_of, same_arrays, stopping_in_epoch
from tests.yolov3.tiny_data import shapes_for_voc, write_voc
from yolov3.checkpoint import load_checkpoint

pytestmark = pytest.mark.skipif(os.name != "posix", reason="this system has no SIGKILL")

# 3 steps; a checkpoint after every step.  Gradient descent multiplies rounding less than Adam.
OPTIONS = ("--imgsz", 64, "--batch", 2, "--epochs", 1, "--save-every", 0, "--optimizer", "sgd", "--lr", 1e-3)
FAULTY = 3  # step: by then the checkpoint of the first step is written, and perhaps that of the second
RESUME = "; go on from the last checkpoint with: mpiexec -n 2 yolov3 train --resume "


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A VOC folder with 6 pictures to train on, and 2 for validation."""
    folder = tmp_path_factory.mktemp("data") / "voc"
    return write_voc(folder, shapes_for_voc(8), {"train": [f"p{i}" for i in range(6)], "val": ["p6", "p7"]})


def start(fault, rank, *arguments, step=FAULTY):
    """Start ``yolov3 train`` in two processes, with a fault in one of them."""
    return start_ranks(2, "-m", "tests.yolov3.faulty_rank", fault, rank, step, "train", *arguments)


@pytest.fixture(scope="module")
def together(tmp_path_factory, data):
    """(folder, stdout, stderr) of a run in two processes to which nothing happened."""
    project = tmp_path_factory.mktemp("together")
    code, output, errors = ended(
        start_ranks(2, "-m", "yolov3", "train", "--data", data, *OPTIONS, "--project", project)
    )
    assert code == 0, errors
    return project / "exp", output, errors


@pytest.fixture
def fails(tmp_path, data):
    """Function ``fails(fault, rank)``: the lines of stderr that are no progress, of a run that ends with an error."""

    def run(fault, rank, step=FAULTY):
        begin = time.monotonic()
        arguments = "--data", data, *OPTIONS, "--project", tmp_path
        code, _, errors = ended(start(fault, rank, *arguments, step=step))
        assert code != 0
        assert time.monotonic() - begin < 30
        lines = without_bars(errors)
        launcher = next((i for i, line in enumerate(lines) if line.startswith(("====", "----"))), len(lines))
        return [line for line in lines[:launcher] if " parameters, " not in line]

    return run


def weights(folder):
    arrays, _ = load(folder / "last.npz")
    return np.concatenate([array.reshape(-1) for name, array in arrays.items() if name.startswith("model/")])


def assert_nearly_same_run(folder, other):
    """Rows of results.csv and weights agree to what rounding can do in so many steps."""
    for row, expected in zip(rows_of(folder), rows_of(other), strict=True):
        for name in ("epoch", "step", "boxes", "matched_8", "matched_16", "matched_32"):
            assert row[name] == expected[name]
        for name in ("loss", "centre", "size", "object", "no_object", "classes"):
            assert float(row[name]) == pytest.approx(float(expected[name]), rel=1e-3)
    own, expected = weights(folder), weights(other)
    assert np.linalg.norm(own - expected) <= 1e-4 * np.linalg.norm(expected)


# --- all is well -------------------------------------------------------------------------------


def test_two_processes_write_what_one_does(tmp_path, together, data, succeeds):
    folder, output, errors = together
    alone = succeeds("train", "--data", data, *OPTIONS, "--project", tmp_path)
    assert sorted(os.listdir(folder)) == sorted(os.listdir(alone.folder))
    assert_nearly_same_run(folder, tmp_path / "exp")
    lines = output.splitlines()
    assert lines[-1] == str(folder)
    assert len(lines) == len(alone.lines)
    assert len(without_bars(errors)) == len(alone.errors)  # nothing is said twice
    assert os.listdir(folder.parent) == ["exp"]


def test_a_run_begun_alone_goes_on_in_two_processes(tmp_path, together, data, yolov3, monkeypatch):
    with monkeypatch.context() as patch:
        stopping_in_epoch(patch, 1)
        assert yolov3("train", "--data", data, *OPTIONS, "--project", tmp_path).code == 130
    code, _, errors = ended(start("none", 0, "--resume", tmp_path / "exp"))
    assert code == 0, errors
    assert_nearly_same_run(tmp_path / "exp", together[0])


# --- one of them dies --------------------------------------------------------------------------


def test_the_first_is_killed_and_two_go_on(tmp_path, together, fails):
    """To the last bit: as many processes add in the same order."""
    (line,) = fails("killed", 0)
    assert line.startswith("yolov3 train: rank 0 of 2 (process ")
    assert "ended without a word, as one does that is killed" in line
    assert line.endswith(f"{RESUME}{tmp_path / 'exp'}")
    code, _, errors = ended(start("none", 0, "--resume", tmp_path / "exp", "--save-every", 0))
    assert code == 0, errors
    assert rows_of(tmp_path / "exp") == rows_of(together[0])
    assert same_arrays(tmp_path / "exp" / "last.npz", together[0] / "last.npz")


def test_the_other_is_killed_and_one_goes_on_alone(tmp_path, together, fails, succeeds):
    (line,) = fails("killed", 1)
    assert line.startswith("yolov3 train: rank 1 of 2 (process ")
    assert line.endswith(f"{RESUME}{tmp_path / 'exp'}")
    succeeds("train", "--resume", tmp_path / "exp")
    assert_nearly_same_run(tmp_path / "exp", together[0])


@pytest.mark.parametrize(
    ("fault", "rank", "step", "says", "may_resume"),
    [
        pytest.param("picture", 1, 3, "photo.jpg is broken", False, marks=pytest.mark.long),
        ("full-disk", 0, 2, "last.npz cannot be written (File too large)", True),
        ("not-finite", 1, 3, "the loss became nan in step 3", False),
    ],
)
def test_what_ends_one_is_said_once(tmp_path, fails, fault, rank, step, says, may_resume):
    (line,) = fails(fault, rank, step)
    assert says in line
    assert line.endswith(f"{RESUME}{tmp_path / 'exp'}") == may_resume
    assert load_checkpoint(tmp_path / "exp" / "last.npz").training["part"]["steps"] in (1, step - 1)


def test_a_mistake_of_the_program_in_one(fails):
    lines = fails("bug", 1)
    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("ZeroDivisionError")
    assert sum(line.startswith("Traceback") for line in lines) == 1
    assert RESUME in lines[-1]


@pytest.mark.long
def test_ctrl_c(tmp_path, data):
    process = start("none", 0, "--data", data, *OPTIONS[:-8], "--epochs", 500, "--project", tmp_path)
    while not (tmp_path / "exp" / "train_batch.png").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, _, errors = ended(process)
    assert code != 0
    assert sum("yolov3 train: stopped" in line for line in errors.splitlines()) == 1


# --- before it begins --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--data", "DATA", "--batch", 5], "a batch of 5 pictures cannot be divided evenly among 2 processes"),
        (["detect", "photo.jpg", "--weights", "w.npz"], "only train shares its work among several: leave out mpiexec"),
    ],
)
def test_what_cannot_begin_is_said_once(tmp_path, data, arguments, says):
    arguments = [data if each == "DATA" else each for each in arguments]
    code, output, errors = ended(start_ranks(2, "-m", "yolov3", *arguments, "--project", tmp_path))
    assert code == 1
    assert output == ""
    (line,) = [line for line in without_bars(errors) if line.startswith("yolov3")]
    assert says in line
    assert os.listdir(tmp_path) == []


def test_without_mpi4py(yolov3, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # as if it were not installed
    outcome = yolov3("train", "--data", "shapes")
    assert outcome.code == 1
    assert "2 processes were started, which need mpi4py" in outcome.errors[0]
    assert "pip install 'yolov3-from-scratch[mpi]'" in outcome.errors[0]
