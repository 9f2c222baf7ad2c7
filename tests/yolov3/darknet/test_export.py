"""A network trained here, in the original's files: OpenCV finds the same objects as our own ``detect``."""

import json
from pathlib import Path

import numpy as np
import pytest

from minidl import nn
from tests.minidl.small_networks import outputs_of, pictures, randomised
from tests.yolov3.golden_network import relative_error
from yolov3.boxes import clip_boxes
from yolov3.darknet.export import READERS, export_darknet
from yolov3.data.shapes import ShapesDataset
from yolov3.draw import save_image
from yolov3.image import letterbox, load_image
from yolov3.loading import LoadedDetector, load_detector
from yolov3.model import build_model
from yolov3.progress import progress_bar
from yolov3.train import TrainingRun
from yolov3.train_settings import TrainSettings

SPLITS = {"train": 1000, "val": 4}  # pictures
# Scores of a network of the standard rule: how far readers with a slightly different one may be.
SCORE_LIMITS = {"opencv": 1e-5, "darknet-cpu": 1e-3, "darknet-gpu": 1e-3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a network after 125 steps on generated shapes: it is then sure of some of them."""
    folder = tmp_path_factory.mktemp("trained")
    settings = TrainSettings(
        image_size=(96, 96), epochs=1, learning_rate=5e-3, anchors="published", augmentation="none"
    )
    train_set, validation_set = (ShapesDataset(split, size, image_size=96) for split, size in SPLITS.items())
    run = TrainingRun(settings, train_set, validation_set, {})
    with progress_bar(run.total_steps, "step") as bar:
        run.run(folder, bar)
    return folder / "last.npz"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of shapes that the network has not seen; most are not square."""
    folder = tmp_path_factory.mktemp("photos")
    dataset = ShapesDataset("val", size=12, image_size=96)
    for number in range(len(dataset)):
        save_image(folder / f"{number:02}.png", dataset.load_image(number)[: 96 - 3 * number])
    return folder


def opencv_objects(cv2, network, path, image_size, confidence, iou_threshold):
    """``{(class, x1, y1, x2, y2, score)}`` in pixels of the picture, by OpenCV alone but for the letterbox."""
    images, frame = letterbox(load_image(path), *image_size[::-1])
    network.setInput(np.ascontiguousarray(images.transpose(2, 0, 1)[None]))
    rows = np.concatenate(network.forward(network.getUnconnectedOutLayersNames()))  # x y w h objectness scores
    found = []
    for label in range(rows.shape[1] - 5):
        scores = rows[:, 5 + label]
        boxes_xyxy = frame.to_picture(rows[:, :4])
        corner_and_size = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
        for index in cv2.dnn.NMSBoxes(corner_and_size.tolist(), scores.tolist(), confidence, iou_threshold):
            box = clip_boxes(boxes_xyxy[index], frame.picture_width, frame.picture_height)
            found.append((label, scores[index], *box))
    return sorted(found)


@pytest.mark.parametrize("reader", READERS)
def test_opencv_finds_what_detect_finds(reader, trained, photos, succeeds, tmp_path):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is a peer in this test")
    exported = succeeds(
        "export", "--weights", trained, "--format", "darknet", "--reader", reader, "--project", tmp_path
    )
    stem = Path(exported.folder) / "model"
    succeeds("detect", "--weights", trained, "--save-json", "--name", "ours", "--project", tmp_path, photos)
    ours = json.loads((tmp_path / "ours" / "detections.json").read_text())
    network = cv2.dnn.readNetFromDarknet(str(stem.with_suffix(".cfg")), str(stem.with_suffix(".weights")))
    count = 0
    for path, detections in ours.items():
        found = opencv_objects(cv2, network, path, (96, 96), 0.25, 0.45)
        wanted = sorted((each["class_id"], each["score"], *each["box_xyxy"]) for each in detections)
        assert [each[0] for each in found] == [each[0] for each in wanted]
        if wanted:
            np.testing.assert_allclose(np.array(found)[:, 1], np.array(wanted)[:, 1], atol=SCORE_LIMITS[reader])
            np.testing.assert_allclose(np.array(found)[:, 2:], np.array(wanted)[:, 2:], atol=0.05)  # pixels
        count += len(wanted)
    assert count >= 12


def test_detect_finds_the_same_in_the_exported_files(trained, photos, succeeds, tmp_path):
    exported = succeeds("export", "--weights", trained, "--format", "darknet", "--project", tmp_path)
    stem = Path(exported.folder) / "model"
    assert [Path(line).name for line in exported.lines[:-1]] == ["model.cfg", "model.names", "model.weights"]
    again = ("--cfg", stem.with_suffix(".cfg"), "--weights", stem.with_suffix(".weights"))
    for name, network in (("ours", ("--weights", trained)), ("again", again)):
        succeeds("detect", *network, "--save-json", "--name", name, "--project", tmp_path, photos)
    assert (tmp_path / "ours/detections.json").read_text() == (tmp_path / "again/detections.json").read_text()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("lateral", ["concat", "add"])
def test_the_reader_computes_our_numbers_by_its_own_rule(reader, lateral, tmp_path):
    names = ["Zelle", "red cell", "b"]
    model = randomised(build_model("yolov3-nano", 3, lateral=lateral, seed=1))
    for _, module in model.named_modules():
        if isinstance(module, nn.BatchNorm):  # so small that the readers' rules would give other numbers
            module.running_variance.data *= np.float32(1e-4)
            module.gamma.data *= np.float32(1e-2)
    export_darknet(LoadedDetector(model, names, (64, 96)), tmp_path / "n", READERS[reader])
    loaded = load_detector(tmp_path / "n.weights", cfg=tmp_path / "n.cfg", rule=READERS[reader])
    assert (loaded.names, loaded.image_size) == (names, (64, 96))
    images = pictures(1, 64, 96, 3)
    wanted = outputs_of(model, images)
    for ours, theirs in zip(outputs_of(loaded.model, images), wanted, strict=True):
        assert relative_error(ours, theirs) < 2e-5
    if reader != "darknet-gpu":  # the test would notice files that are not made for their reader
        export_darknet(LoadedDetector(model, names, (64, 96)), tmp_path / "other")
        other = load_detector(tmp_path / "other.weights", cfg=tmp_path / "other.cfg", rule=READERS[reader]).model
        assert relative_error(outputs_of(other, images)[0], wanted[0]) > 1e-3


def test_export_of_onnx(trained, photos, succeeds, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is a peer in this test")
    exported = succeeds("export", "--weights", trained, "--format", "onnx", "--project", tmp_path)
    session = onnxruntime.InferenceSession(str(Path(exported.folder) / "model.onnx"))
    images, _ = letterbox(load_image(photos / "00.png"), 96, 96)
    theirs = session.run(None, {"images": images.transpose(2, 0, 1)[None]})
    ours = outputs_of(load_detector(trained).model, images[None])
    for found, wanted in zip(ours, theirs, strict=True):
        assert relative_error(found, wanted.transpose(0, 2, 3, 1)) < 1e-5


def test_what_export_refuses(trained, refused, in_tmp_path):
    refused("export", "--weights", trained, "--format", "onnx", "--reader", "opencv", says=["leave out --reader"])
    refused("export", "--weights", "absent.weights", "--format", "onnx", says=["absent.weights does not exist"])
    assert not (in_tmp_path / "runs").exists()
