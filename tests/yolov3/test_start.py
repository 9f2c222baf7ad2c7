"""What fine-tuning takes over: from a checkpoint with other classes, and from the original's files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.yolov3.short_runs import SHORT
from tests.yolov3.tiny_data import shapes_for_voc, write_voc
from yolov3.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from yolov3.darknet.weights import write_weights
from yolov3.data.dataset import open_dataset
from yolov3.data.shapes import SHAPE_NAMES
from yolov3.model import build_model
from yolov3.start import model_to_fine_tune
from yolov3.train_settings import TrainSettings

NANO = TrainSettings(image_size=(64, 64), seed=5)


def relabelled(folder, names):
    """A VOC folder of shapes of which each is called as ``names`` say: {"circle": "ball", ...}."""
    pictures = {
        stem: (image, [names.get(name, name) for name in own], boxes)
        for stem, (image, own, boxes) in shapes_for_voc(8).items()
    }
    return write_voc(folder, pictures, {"trainval": [f"p{i}" for i in range(6)], "test": ["p6", "p7"]})


def outputs(model):
    """(anchors, 5 + classes, inputs + 1) numbers of each output convolution, the bias last."""
    branches = (model.pyramid.branch_32, model.pyramid.branch_16, model.pyramid.branch_8)
    for convolution in (branch.output for branch in branches):
        weight = convolution.weight.data.reshape(-1, convolution.weight.shape[-1])  # (inputs, outputs)
        yield np.vstack([weight, convolution.bias.data]).T.reshape(3, 5 + model.classes, -1)


def test_classes_of_the_same_name_are_kept_whatever_their_place_and_number(checkpoint, tmp_path, capsys):
    data = open_dataset(relabelled(tmp_path / "voc", {"circle": "ball", "square": "zebra"}))
    assert data.names == ["ball", "triangle", "zebra"]
    before, model = load_checkpoint(checkpoint).model, model_to_fine_tune(NANO, data, checkpoint)
    old_state, state = before.state_dict(), model.state_dict()
    for path, array in state.items():
        if ".output." not in path:
            np.testing.assert_array_equal(array, old_state[path], err_msg=path)
    for anchors, expected in zip(model.anchors, before.anchors, strict=True):
        np.testing.assert_array_equal(anchors, expected)
    for new, old in zip(outputs(model), outputs(before), strict=True):
        np.testing.assert_array_equal(new[:, :5], old[:, :5])
        np.testing.assert_array_equal(new[:, 5 + 1], old[:, 5 + SHAPE_NAMES.index("triangle")])
        for other in range(3):
            assert not np.isclose(new[:, [5, 7], :-1], old[:, [5 + other], :-1]).all(axis=-1).any()
    printed = capsys.readouterr().err
    assert "knows 1 of 3" in printed
    assert "ball, zebra" in printed


def test_fewer_classes(checkpoint, in_tmp_path, succeeds):
    cats = relabelled(in_tmp_path / "cats", dict.fromkeys(SHAPE_NAMES, "cat"))
    outcome = succeeds("train", *SHORT, "--data", cats, "--weights", checkpoint)
    assert any("knows 0 of 1; these start at random: cat" in line for line in outcome.errors)
    assert load_checkpoint(Path(outcome.folder, "last.npz")).names == ["cat"]


@pytest.mark.parametrize(("size", "is_said"), [((64, 64), False), ((96, 64), True)])
def test_anchors_of_another_input_size_are_said(checkpoint, voc, capsys, size, is_said):
    model_to_fine_tune(replace(NANO, image_size=size), open_dataset(voc), checkpoint)
    sentence = f"{checkpoint} was trained at 64x64: its anchors are sizes in pixels of that input"
    assert (sentence in capsys.readouterr().err) == is_said


@pytest.mark.parametrize(
    ("classes", "anchors", "taken"), [(3, "published", 37), (3, "band", 34), (7, "band", 34), (1, "published", 34)]
)
@pytest.mark.parametrize("header", ["long", "short"])
def test_a_whole_weights_file_of_any_number_of_classes(classes, anchors, taken, header, tmp_path, voc, capsys):
    file, other = tmp_path / "own.weights", build_model("yolov3-nano", classes, seed=9)
    write_weights(file, other)
    if header == "short":  # version 0.1, and 4 bytes for the pictures seen
        content = file.read_bytes()
        file.write_bytes(np.array([0, 1, 0, 0], "<i4").tobytes() + content[20:])
    settings = TrainSettings(image_size=(64, 64), anchors=anchors)
    model = model_to_fine_tune(settings, open_dataset(voc), file)
    same = [
        path
        for path, array in model.state_dict().items()
        if path in other.state_dict() and np.array_equal(array, other.state_dict()[path])
    ]
    left = [path for path in model.state_dict() if path not in same]
    assert all(".output." in path for path in left)
    assert bool(left) == (taken == 34)
    printed = capsys.readouterr().err
    assert ("the first 37 of 37 convolutions" in printed) == (taken == 37)
    assert ("all but its 3 output convolutions" in printed) == (taken == 34)
    if classes != 3:
        assert f"it knows {classes} class" in printed


def test_weights_of_another_network_are_refused_with_the_name_of_this_one(in_tmp_path, refused, voc):
    write_weights(in_tmp_path / "small.weights", build_model("yolov3-small", 3, seed=1))
    refused("train", "--data", voc, *SHORT, "--weights", "small.weights", says=["holds more", "--model yolov3-nano"])


def test_a_frozen_backbone_stays_as_it_is_and_thaws(checkpoint, in_tmp_path, succeeds, voc):
    start = load_checkpoint(checkpoint).model.state_dict()
    command = ("train", "--data", voc, "--imgsz", 64, "--batch", 2, "--weights", checkpoint)
    frozen = succeeds(*command, "--epochs", 2, "--freeze", 2)
    state = load_checkpoint(Path(frozen.folder, "last.npz")).model.state_dict()
    for path, array in state.items():
        assert np.array_equal(array, start[path]) == path.startswith("backbone."), path
    thawed = succeeds(*command, "--epochs", 2, "--freeze", 1)
    state = load_checkpoint(Path(thawed.folder, "last.npz")).model.state_dict()
    assert not any(np.array_equal(array, start[path]) for path, array in state.items())


def test_a_frozen_tiny_network(in_tmp_path, succeeds, voc):
    file = in_tmp_path / "tiny.npz"
    model = build_model("yolov3-tiny", 3, seed=1)
    save_checkpoint(file, Checkpoint(model, "yolov3-tiny", "concat", SHAPE_NAMES, (32, 32)))
    start = {path: array.copy() for path, array in model.state_dict().items()}
    run = succeeds("train", "--data", voc, "--batch", 6, "--weights", file, "--epochs", 1, "--freeze", 1)
    state = load_checkpoint(Path(run.folder, "last.npz")).model.state_dict()
    for path, array in state.items():
        assert np.array_equal(array, start[path]) == path.startswith("convs."), path
