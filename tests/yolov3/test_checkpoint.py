"""Checkpoints come back as they were saved, and whatever else is in the file is refused with a sentence."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest

from minidl.optim import Adam
from minidl.serialize import load, save
from tests.yolov3.refusals import refusal_of
from yolov3.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, save_compact
from yolov3.errors import UserError
from yolov3.model import build_model
from yolov3.postprocess import predict

ANCHORS = {
    "yolov3-nano": {8: [(10.3, 13)], 16: [(30, 61), (62.7, 45)], 32: [(116, 90)]},
    "yolov3-tiny": {16: [(10, 14.1)], 32: [(81, 82)]},
}


@pytest.mark.parametrize(
    ("preset", "lateral"), [("yolov3-nano", "concat"), ("yolov3-nano", "add"), ("yolov3-tiny", "concat")]
)
def test_everything_comes_back(tmp_path, preset, lateral):
    model = build_model(preset, 2, ANCHORS[preset], lateral, seed=3)
    optimizer = Adam(model.parameters(), 0.1)
    optimizer.step_count = 7
    training = {"settings": {"epochs": 3}, "rows": [{"epoch": 1, "mAP50": float("nan")}], "best": 0.1}
    saved = Checkpoint(model, preset, lateral, ["a cell", "ß"], (64, 96), training, optimizer.state_dict())
    save_checkpoint(tmp_path / "last.npz", saved)
    assert os.listdir(tmp_path) == ["last.npz"]

    found = load_checkpoint(str(tmp_path / "last.npz"))
    assert (found.preset, found.lateral, found.names, found.image_size) == (preset, lateral, ["a cell", "ß"], (64, 96))
    assert found.training["settings"] == {"epochs": 3}
    assert found.training["best"] == 0.1
    assert np.isnan(found.training["rows"][0]["mAP50"])
    assert not any(module.training for _, module in found.model.named_modules())
    for anchors, expected in zip(found.model.anchors, model.anchors, strict=True):
        np.testing.assert_array_equal(anchors, expected)
    assert found.model.state_dict().keys() == model.state_dict().keys()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(found.model.state_dict()[name], array)
    assert found.optimizer.keys() == optimizer.state_dict().keys()
    assert found.optimizer["step_count"] == 7

    images = np.random.default_rng(0).random((1, 64, 96, 3), dtype=np.float32)
    np.testing.assert_array_equal(predict(found.model, images).objectness, predict(model, images).objectness)


def test_nothing_else_is_needed_to_load_one(checkpoint):
    found = load_checkpoint(checkpoint)
    assert found.training == {}
    assert found.optimizer == {}


def refusal(path):
    """The sentence with which a file is refused."""
    return refusal_of(load_checkpoint, path)


def test_what_is_no_file(tmp_path, checkpoint):
    assert "there is no such checkpoint" in refusal(tmp_path / "absent.npz")
    assert "is a folder: name the checkpoint in it, such as" in refusal(tmp_path)
    refusal(checkpoint / "last.npz")
    refusal(tmp_path / ("x" * 300))


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "last.npz"
    for content in (b"", b"hello\n", b"PK", b"PK\x03\x04", b"\x93NUMPY", bytes(1000), "Gewichte\n".encode("utf-16")):
        path.write_bytes(content)
        refusal(path)
    with open(path, "wb") as file:
        np.save(file, np.ones(3))
    refusal(path)
    np.savez(path, weights=np.ones(3))
    assert "is not a checkpoint of this program" in refusal(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("settings.json", '{"format": 1}')
    refusal(path)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickled_objects_are_never_unpacked(tmp_path):
    path, sprung = tmp_path / "last.npz", tmp_path / "sprung"
    np.savez(path, **{"settings.json": np.array([Trap(sprung)], dtype=object)})
    refusal(path)
    np.array([Trap(sprung)], dtype=object).dump(path)
    refusal(path)
    assert not sprung.exists()


def test_every_length_of_a_truncated_file(tmp_path, checkpoint):
    path, content = tmp_path / "last.npz", checkpoint.read_bytes()
    lengths = [*range(0, 200, 7), *np.linspace(200, len(content) - 1, 20).astype(int), len(content) - 1]
    for length in lengths:
        path.write_bytes(content[:length])
        assert "is damaged or not a checkpoint" in refusal(path)


def test_single_wrong_bytes(tmp_path, checkpoint):
    path, content = tmp_path / "last.npz", checkpoint.read_bytes()
    rng = np.random.default_rng(0)
    # Most of all where the archive's own tables are: at its end.
    places = [*rng.integers(len(content), size=20), *rng.integers(len(content) - 8000, len(content), size=60)]
    refused = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            load_checkpoint(path)
        except UserError:
            refused += 1
    assert refused > len(places) / 2  # the rest are bytes that say nothing, such as times


def changed(checkpoint, path, change):
    """Save the checkpoint again after ``change(arrays, settings)``."""
    arrays, settings = load(checkpoint)
    change(arrays, settings)
    save(path, arrays, settings)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a, s: s.update(preset="yolov3-tiny"), "whole detector"),
        (lambda a, s: s.update(preset="yolov3-small"), "has the shape"),
        (lambda a, s: s.update(preset="yolov9"), "unknown model 'yolov9'"),
        (lambda a, s: s.update(preset=["yolov3"]), "whole detector"),
        (lambda a, s: s.update(lateral="add"), "whole detector"),
        (lambda a, s: s.update(lateral="sum"), "unknown lateral connection"),
        (lambda a, s: s.update(names=["only one"]), "has the shape"),
        (lambda a, s: s.update(names=[]), "at least one class"),
        (lambda a, s: s.update(names=None), "whole detector"),
        (lambda a, s: s.update(anchors={}), "needs anchors"),
        (lambda a, s: s["anchors"].update({"8": [[1, 2, 3]]}), "whole detector"),
        (lambda a, s: s["anchors"].update({"8": "wide"}), "whole detector"),
        (lambda a, s: s.update(image_size=[100, 64]), "multiple of 32"),
        (lambda a, s: s.update(image_size=64), "whole detector"),
        (lambda a, s: s.update(training=None), "whole detector"),
        (lambda a, s: s.pop("names"), "names"),
        (lambda a, s: s.update(format=2), "another version"),
        (lambda a, s: s.clear(), "not a checkpoint of this program"),
        (lambda a, s: a.pop("model/backbone.stem.conv.weight"), "no array for backbone.stem.conv.weight"),
        (lambda a, s: a.update({"model/extra": np.ones(2)}), "extra"),
        (lambda a, s: a.update({"model/backbone.stem.conv.weight": np.array(["x"])}), "whole detector"),
    ],
)
def test_files_that_hold_no_whole_detector(tmp_path, checkpoint, change, says):
    assert says in refusal(changed(checkpoint, tmp_path / "last.npz", change))


def test_settings_that_are_no_mapping(tmp_path, checkpoint):
    arrays, _ = load(checkpoint)
    save(tmp_path / "last.npz", arrays, ["format", 1])
    assert "not a checkpoint of this program" in refusal(tmp_path / "last.npz")


def test_a_folder_that_cannot_be_written(tmp_path, checkpoint):
    found = load_checkpoint(checkpoint)
    for folder in (tmp_path / "absent", checkpoint):
        with pytest.raises(UserError, match=r"last.npz cannot be written \(") as error:
            save_checkpoint(folder / "last.npz", found)
        assert str(folder) in str(error.value)
    assert load_checkpoint(checkpoint).names == found.names


def test_an_interrupted_save_leaves_the_old_file(tmp_path, checkpoint, monkeypatch):
    path = tmp_path / "last.npz"
    shutil.copy(checkpoint, path)
    before = path.read_bytes()

    def stop(file):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)  # the last thing before the rename
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, load_checkpoint(checkpoint))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.npz"]


def test_settings_are_json_inside_the_archive(checkpoint):
    with np.load(checkpoint, allow_pickle=False) as file:
        settings = json.loads(file["settings.json"].tobytes())
    assert settings["preset"] == "yolov3-nano"
    assert settings["names"] == ["circle", "square", "triangle"]


# --- compact ones, and those that come with the program -----------------------------------------


def test_a_compact_checkpoint_detects_alike_and_is_small(checkpoint, in_tmp_path, succeeds, refused):
    whole = load_checkpoint(checkpoint)
    path, _ = succeeds("export", "--format", "npz", "--weights", checkpoint).lines
    compact = load_checkpoint(path)
    assert (compact.names, compact.preset, compact.image_size) == (whole.names, whole.preset, whole.image_size)
    for name, array in whole.model.state_dict().items():
        found = compact.model.state_dict()[name]
        assert found.dtype == np.float32
        if array.ndim == 1:
            np.testing.assert_array_equal(found, array)
        else:
            np.testing.assert_array_equal(found, array.astype(np.float16).astype(np.float32))
    assert os.path.getsize(path) < 2.4 * whole.model.parameter_count()
    refused("train", "--resume", path, says=[path, "a detector alone", "--weights"])


def test_what_float16_cannot_hold_is_not_written(checkpoint, in_tmp_path):
    whole = load_checkpoint(checkpoint)
    whole.model.pyramid.branch_8.output.weight.data[0, 0, 0, 0] = 1e5
    with pytest.raises(UserError, match=r"float16 cannot hold the numbers of pyramid\.branch_8\.output\.weight"):
        save_compact("small.npz", whole)
    assert not os.path.exists("small.npz")


def test_only_a_checkpoint_can_be_made_compact(in_tmp_path, refused):
    refused("export", "--format", "npz", "--weights", "yolov3-tiny", says=["yolov3-tiny is no checkpoint"])
    refused("export", "--format", "npz", "--weights", "x.npz", "--names", "a.names", says=["leave out --names"])
    refused("export", "--format", "npz", "--weights", "x.npz", "--batchnorm", "opencv", says=["leave out --batchnorm"])
