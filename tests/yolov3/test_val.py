"""``yolov3 val`` leaves everything that its folder should hold, and says the speed of each stage."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.yolov3.coco_tools import NUMBERS, pycocotools_figures
from yolov3.errors_by_kind import KINDS
from yolov3.image import load_image
from yolov3.stage_times import STAGES, speed_line

# An untrained network is sure of nothing: at this score it finds plenty.
UNSURE = ("--conf-thres", 0.001)


@pytest.fixture
def every_score_counts(monkeypatch):
    """Let errors be counted at any score."""
    monkeypatch.setattr("yolov3.commands.detection.SHOWN_CONFIDENCE", 0.001)


def test_figures_results_and_speed(in_tmp_path, succeeds, voc, checkpoint, every_score_counts):
    outcome = succeeds("val", "--data", voc, "--weights", checkpoint, *UNSURE)
    folder = Path(outcome.folder)
    files = {path.name for path in folder.iterdir()}
    figures = {"precision_recall.png", "f1_confidence.png", "confusion_matrix.png", "predictions.png"}
    errors = {f"errors_{kind.replace(' ', '_')}.png" for kind in KINDS}
    assert files - errors == figures | {"results.json"}
    results = json.loads((folder / "results.json").read_text())
    counts = {kind: results["errors"][kind] for kind in KINDS}
    assert sum(counts.values()) > 0
    assert files & errors == {f"errors_{kind.replace(' ', '_')}.png" for kind, count in counts.items() if count}
    for name in files - {"results.json"}:
        assert load_image(folder / name).size
    for kind, count in counts.items():
        assert any(line.startswith(kind) and str(count) in line.split() for line in outcome.lines)
    assert results["thresholds"] == {"confidence": 0.001, "nms_iou": 0.45}
    assert results["errors"]["confidence"] == 0.001
    milliseconds = results["milliseconds_per_picture"]
    assert tuple(milliseconds) == STAGES
    assert all(value > 0 for value in milliseconds.values())
    assert outcome.lines[-3] == speed_line(milliseconds)
    assert "small" in "\n".join(outcome.lines)
    # All but the speed and the folder is the same with another batch.
    again = succeeds("val", "--data", voc, "--weights", checkpoint, "--batch", 1, *UNSURE)
    assert again.lines[:-3] == outcome.lines[:-3]
    assert again.lines[-2] == outcome.lines[-2]


def test_errors_are_not_counted_below_the_asked_confidence(in_tmp_path, succeeds, voc, checkpoint):
    outcome = succeeds("val", "--data", voc, "--weights", checkpoint, "--conf-thres", 0.9)
    results = json.loads((Path(outcome.folder) / "results.json").read_text())
    assert results["errors"]["confidence"] == 0.9
    wrong = ("wrong class", "poor box", "background", "duplicate")
    assert [results["errors"][kind] for kind in wrong] == [0] * 4
    objects = sum(each["objects"] for each in results["classes"].values())
    assert results["errors"]["missed"] == objects > 0


def test_pycocotools_agrees_with_results_json(in_tmp_path, succeeds, voc, checkpoint):
    outcome = succeeds("val", "--data", voc, "--weights", checkpoint, "--save-json", *UNSURE)
    folder = Path(outcome.folder)
    assert len(json.loads((folder / "coco_detections.json").read_text())) > 10
    coco = json.loads((folder / "results.json").read_text())["coco"]
    ours = [np.nan if coco[name] is None else coco[name] for name in NUMBERS]
    np.testing.assert_allclose(pycocotools_figures(folder), ours, atol=1e-9)
