"""What is seen of a run while it runs: the table, its counts, the pictures, the remarks, and what drawing may cost."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.yolov3.short_runs import SHORT, rows_of, stopping_in_epoch
from yolov3 import training_log
from yolov3.boxes import iou_wh
from yolov3.checkpoint import load_checkpoint
from yolov3.data.batches import TrainingBatches
from yolov3.data.dataset import open_dataset
from yolov3.data.shapes import ShapesDataset
from yolov3.image import load_image
from yolov3.progress import progress_bar
from yolov3.train import TrainingRun
from yolov3.train_settings import AUGMENTATIONS, TrainSettings
from yolov3.training_log import TrainingLog, remarks, results_csv


def matched_by_hand(truths, anchors, size):
    """{stride: targets} of one batch, one truth after the other."""
    places = set()
    shapes = [(stride, number, wh) for stride in sorted(anchors) for number, wh in enumerate(anchors[stride])]
    for picture, rows in enumerate(truths):
        for x, y, width, height, _ in rows[rows[:, 2] > 0]:
            fits = [iou_wh(np.array([width * size, height * size]), np.array(wh)) for *_, wh in shapes]
            stride, number, _ = shapes[int(np.argmax(fits))]
            places.add((stride, picture, int(x * (size // stride)), int(y * (size // stride)), number))
    return {stride: sum(place[0] == stride for place in places) for stride in anchors}


def test_the_table_and_its_counts_per_stride(in_tmp_path, succeeds, voc):
    folder = Path(succeeds("train", "--data", voc, *SHORT).folder)
    anchors = load_checkpoint(folder / "last.npz").model.anchor_groups()
    batches = TrainingBatches(open_dataset(voc), (64, 64), 2, AUGMENTATIONS["recipe"], seed=0)
    for epoch, row in enumerate(rows_of(folder)):
        # The run has 6 steps: the last one, a twentieth of them rounded up, is clean.
        truths = [batch.truths for batch in batches.epoch(epoch, clean_from=6 - 3 * epoch)]
        expected = [matched_by_hand(each, anchors, 64) for each in truths]
        for stride in (8, 16, 32):
            assert int(row[f"matched_{stride}"]) == sum(each[stride] for each in expected)
        assert int(row["boxes"]) == sum(int((each[..., 2] > 0).sum()) for each in truths)
    header, *lines = (folder / "results.csv").read_text().splitlines()
    assert header == (
        "epoch,step,loss,centre,size,object,no_object,classes,learning_rate,seconds,mAP50,mAP50_95,"
        "images_per_second,boxes,matched_8,matched_16,matched_32"
    )
    for line in lines:
        row = dict(zip(header.split(","), line.split(","), strict=True))
        assert float(row["images_per_second"]) == pytest.approx(6 / float(row["seconds"]), rel=0.2)


def test_rows_of_an_older_run_stay(tmp_path):
    old = {"epoch": 1, "step": 3, "loss": 2.0, "mAP50": 0.5}
    text = results_csv([old, old | {"epoch": 2, "boxes": 7, "matched_16": 3, "matched_8": 4}])
    first, second = text.splitlines()[1:]
    assert first == "1,3,2,,,,,,,,0.5,,,,,"
    assert second == "2,3,2,,,,,,,,0.5,,,7,4,3"


# --- pictures -----------------------------------------------------------------------------------


def test_the_first_batch_is_shown_before_it_is_learned(in_tmp_path, yolov3, voc):
    """Also where the first step fails, or the run is stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yolov3.learner.Learner.step", lambda self, batch, step: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            yolov3("train", "--data", voc, *SHORT)
    folder = Path("runs/train/exp")
    assert {path.name for path in folder.iterdir()} == {"labels.png", "train_batch.png"}
    assert load_image(folder / "train_batch.png").std() > 10


def test_a_resumed_run_keeps_the_pictures_of_its_beginning(in_tmp_path, yolov3, succeeds, voc):
    with pytest.MonkeyPatch.context() as patch:
        stopping_in_epoch(patch, 2)
        yolov3("train", "--data", voc, *SHORT)
    folder = Path("runs/train/exp")
    before = (folder / "train_batch.png").read_bytes()
    (folder / "labels.png").unlink()
    succeeds("train", "--resume", folder)
    assert (folder / "train_batch.png").read_bytes() == before
    assert (folder / "labels.png").exists()


# --- remarks ------------------------------------------------------------------------------------


def row(epoch, **values):
    return {"epoch": epoch, "boxes": 5, "matched_16": 1, "matched_8": 0} | values


def test_nothing_to_remark():
    assert remarks([row(1)]) == []
    assert remarks([{"epoch": 1, "loss": 1.0}]) == []  # of an older version
    assert remarks([row(epoch, mAP50=0.0) for epoch in range(1, 5)]) == []
    assert remarks([row(epoch, mAP50=0.0 if epoch > 1 else 0.1) for epoch in range(1, 6)]) == []


def test_an_epoch_without_matches_says_so():
    (line,) = remarks([row(1), row(2, matched_16=0, boxes=0)])
    assert line.startswith(
        "epoch 2: no prediction had an object to learn (0 boxes in its batches): see train_batch.png"
    )


def test_an_map_that_stays_0_is_spoken_of_once():
    rows = [row(epoch) | ({"mAP50": 0.0} if epoch % 2 == 0 else {}) for epoch in range(1, 11)]
    (line,) = remarks(rows)
    assert line.startswith(
        "epoch 10: mAP@0.5 is still 0; objects to learn in this epoch: 0 at stride 8, 1 at stride 16"
    )
    assert "yolov3 overfit" in line
    assert remarks([*rows, row(11)]) == []
    assert remarks([*rows, row(11), row(12, mAP50=0.0)]) == []


def test_a_run_without_a_single_target_says_so(tmp_path, capsys):
    dataset = ShapesDataset("train", size=4)
    settings = TrainSettings(image_size=(64, 64), epochs=1, batch=2, anchors="published")
    for record in dataset.records:
        record.difficult[:] = True
    run = TrainingRun(settings, dataset, ShapesDataset("val", size=2), {})
    with progress_bar(run.total_steps, "step") as bar:
        run.run(tmp_path, bar)
    assert "epoch 1: no prediction had an object to learn (0 boxes in its batches)" in capsys.readouterr().err
    assert [rows_of(tmp_path)[0][name] for name in ("boxes", "matched_8", "matched_16", "matched_32")] == ["0"] * 4


# --- what drawing may cost ----------------------------------------------------------------------


def test_drawing_takes_a_tenth_of_the_time_at_most(tmp_path, monkeypatch):
    """Epochs of 1.4 seconds and drawings of 0.2: after the first each has to wait 2 seconds."""
    now, drawn = [100.0], []

    def draw(rows, path):
        now[0] += 0.2
        drawn.append(len(rows))

    monkeypatch.setattr(training_log, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(training_log, "plot_training_curves", draw)
    part = SimpleNamespace(steps=0)
    run = SimpleNamespace(folder=tmp_path, epoch=0, batches=[1], part=part, rows=[], validation_set=None)
    with progress_bar(10, "step") as bar:
        log = TrainingLog(run, bar)
        for epoch in range(1, 8):
            now[0] += 1.4
            log.epoch([row(each) for each in range(1, epoch + 1)], None, is_last=epoch == 7 or epoch == 6)
    assert drawn == [1, 3, 5, 6, 7]  # the last ones in any case
