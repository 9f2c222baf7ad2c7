"""The event files, read back with TensorBoard's own reader."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.yolov3.short_runs import SHORT, rows_of, stopping_in_epoch
from yolov3.errors import UserError
from yolov3.image import load_image
from yolov3.tensorboard import EventFile, has_events


@pytest.fixture
def read():
    """Function: TensorBoard's view of a folder."""
    pytest.importorskip("tensorboard", reason="reads the event files back")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def run(folder):
        accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
        accumulator.Reload()
        return accumulator

    return run


def curve(events, tag):
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_a_run_is_seen_in_tensorboard(in_tmp_path, read, succeeds, voc):
    folder = Path(succeeds("train", "--data", voc, *SHORT, "--tensorboard").folder)
    events, rows = read(folder), rows_of(folder)
    columns = {"loss/total": "loss", "loss/no_object": "no_object", "matched/stride_8": "matched_8"}
    columns |= {"training/learning_rate": "learning_rate", "training/boxes": "boxes", "validation/mAP50": "mAP50"}
    for tag, name in columns.items():
        assert curve(events, tag) == [(int(row["step"]), pytest.approx(float(row[name]), rel=1e-5)) for row in rows]
    assert len(events.Tags()["scalars"]) == len(rows[0]) - 2 + 2  # all but epoch and step, and the two times
    assert {tag: [each.step for each in events.Images(tag)] for tag in events.Tags()["images"]} == {
        "labels": [0],
        "train_batch": [0],
        "predictions": [3, 6],
    }
    shown = events.Images("predictions")[-1]
    assert shown.encoded_image_string == (folder / "predictions.png").read_bytes()
    height, width, _ = load_image(folder / "predictions.png").shape
    assert (shown.height, shown.width) == (height, width)


@pytest.mark.parametrize("begin", [(), ("--tensorboard",)])
def test_a_resumed_run_goes_on_in_the_same_curves(in_tmp_path, read, yolov3, succeeds, voc, begin):
    """Whether it was asked for from the beginning, and so is remembered, or only now."""
    with pytest.MonkeyPatch.context() as patch:
        stopping_in_epoch(patch, 2)
        yolov3("train", "--data", voc, *SHORT, *begin)
    folder = Path("runs/train/exp")
    assert has_events(folder) == bool(begin)
    succeeds("train", "--resume", folder, *(() if begin else ("--tensorboard",)))
    events = read(folder)
    assert curve(events, "loss/total") == [
        (int(row["step"]), pytest.approx(float(row["loss"]), rel=1e-5)) for row in rows_of(folder)
    ]
    assert [each.step for each in events.Images("train_batch")] == [0]


def test_what_was_written_behind_the_last_checkpoint_is_void(tmp_path, read):
    rows = [{"epoch": epoch, "step": 10 * epoch, "loss": 1 / epoch} for epoch in range(1, 6)]
    lost = EventFile(tmp_path, [])
    for row in rows[:4]:
        lost.scalars(row | {"loss": 9.0} if row["epoch"] > 2 else row)
    with open(lost.path, "ab") as file:  # killed in the middle of a record
        file.write(np.arange(7, dtype=np.uint8).tobytes())
    resumed = EventFile(tmp_path, rows[:2])
    for row in rows[2:]:
        resumed.scalars(row)
    expected = [(row["step"], pytest.approx(row["loss"])) for row in rows]
    assert curve(read(tmp_path), "loss/total") == expected


def test_without_the_package(in_tmp_path, refused, voc, monkeypatch):
    for name in ("tensorboard.compat.proto", "tensorboard.compat", "tensorboard"):  # None: it cannot be imported
        monkeypatch.setitem(sys.modules, name, None)
    says = ["pip install 'yolov3-from-scratch[tensorboard]'"]
    refused("train", "--data", voc, *SHORT, "--tensorboard", says=says)
    assert not Path("runs").exists()


def test_a_place_that_cannot_be_written(tmp_path, read):
    with pytest.raises(UserError, match="cannot be written"):
        EventFile(tmp_path / "absent", [])
