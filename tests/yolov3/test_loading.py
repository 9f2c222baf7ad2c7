"""Detectors from whatever files people have: which network, which numbers, which names."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from minidl import nn
from tests.minidl.small_networks import outputs_of, pictures, randomised
from tests.yolov3.local_server import answering
from yolov3 import Detector
from yolov3.checkpoint import load_checkpoint
from yolov3.darknet import published
from yolov3.darknet.cfg import builtin_cfg, read_cfg
from yolov3.darknet.export import export_darknet
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.darknet.weights import write_weights
from yolov3.draw import save_image
from yolov3.errors import UserError
from yolov3.loading import LoadedDetector, load_detector

CLASSES = ["red cell", "Zelle", "細胞"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """model.cfg, model.weights and model.names of a nano network at 64x96, not to be changed; and the network."""
    from yolov3.model import build_model

    folder = tmp_path_factory.mktemp("files")
    model = randomised(build_model("yolov3-nano", len(CLASSES), seed=1))
    export_darknet(LoadedDetector(model, CLASSES, (64, 96)), folder / "model")
    return folder, model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A file with the size of yolov3-tiny.weights, under a name that says nothing."""
    path = tmp_path_factory.mktemp("tiny") / "downloaded.weights"
    network = randomised(ConfiguredNetwork(read_cfg(builtin_cfg("yolov3-tiny"), (64, 64)), seed=2))
    write_weights(path, network)
    return path


@pytest.fixture
def as_published(tiny, monkeypatch):
    """Let the file ``tiny`` be the published one, to be had at the given addresses."""

    def publish(*places):
        entry = published.PUBLISHED["yolov3-tiny"]
        md5 = hashlib.md5(tiny.read_bytes()).hexdigest()
        monkeypatch.setitem(published.PUBLISHED, "yolov3-tiny", replace(entry, md5=md5, places=places))

    return publish


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    save_image(path, np.random.default_rng(3).integers(0, 255, (50, 70, 3), np.uint8))
    return path


# ------------------------------------------------------------------------------------------------ the network


def test_cfg_and_weights_give_the_network_back(files):
    folder, model = files
    loaded = load_detector(folder / "model.weights", cfg=folder / "model.cfg")
    assert (loaded.names, loaded.image_size) == (CLASSES, (64, 96))
    images = pictures(2, 64, 96, 3)
    for ours, wanted in zip(outputs_of(loaded.model, images), outputs_of(model, images), strict=True):
        np.testing.assert_array_equal(ours, wanted)


def test_another_size_of_the_input(files):
    folder, _ = files
    loaded = load_detector(folder / "model.weights", cfg=folder / "model.cfg", image_size=(32, 160))
    assert loaded.image_size == (32, 160)
    with pytest.raises(UserError, match=r"model\.cfg.*multiple"):
        load_detector(folder / "model.weights", cfg=folder / "model.cfg", image_size=(40, 160))


def test_the_rule_of_batch_norm_is_the_one_asked_for(files, checkpoint):
    folder, _ = files
    for arguments in ({"weights": folder / "model.weights", "cfg": folder / "model.cfg"}, {"weights": checkpoint}):
        for rule in (nn.STANDARD, nn.DARKNET_CPU):
            model = load_detector(**arguments, rule=rule).model
            assert {each.rule for _, each in model.named_modules() if isinstance(each, nn.BatchNorm)} == {rule}


def test_a_shipped_network_by_name_by_file_name_and_by_checksum(tiny, tmp_path, as_published):
    second_anchors = []
    by_name = load_detector(tiny, model="yolov3-tiny", image_size=(64, 64))
    (tmp_path / "yolov3-tiny.weights").write_bytes(tiny.read_bytes())
    by_file_name = load_detector(tmp_path / "yolov3-tiny.weights", image_size=(64, 64))
    as_published()
    by_checksum = load_detector(tiny, image_size=(64, 64))
    for loaded in (by_name, by_file_name, by_checksum):
        assert (loaded.names[0], loaded.names[79]) == ("person", "toothbrush")
        second_anchors.append(loaded.model.anchors[1].tolist()[0])
    assert second_anchors == [[10, 14], [10, 14], [23, 27]]  # the published one was trained with others


def test_published_weights_with_other_anchors_are_warned_of(tiny, as_published, capsys):
    as_published()
    load_detector(tiny, image_size=(64, 64))
    assert capsys.readouterr().err == ""
    load_detector(tiny, model="yolov3-tiny", image_size=(64, 64))
    assert "trained with other anchors" in (warning := capsys.readouterr().err)
    assert "use --model yolov3-tiny-published" in warning


def test_published_weights_are_fetched_by_name_once(tiny, in_tmp_path, serve, as_published):
    as_published(serve(answering(tiny.read_bytes())))
    loaded = load_detector("yolov3-tiny", image_size=(64, 96))
    assert loaded.model.anchors[1].tolist()[0] == [23, 27]
    assert (in_tmp_path / "weights" / "yolov3-tiny.weights").read_bytes() == tiny.read_bytes()
    as_published("http://127.0.0.1:9/not-asked")
    load_detector("yolov3-tiny")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"weights": "absent.weights"},
            r"absent\.weights does not exist; .* blood-cells; can be fetched: yolov3, yolov3-tiny",
        ),
        ({"weights": "."}, "is a folder"),
        ({"weights": "x" * 300}, "does not exist"),
        ({"weights": "model.weights"}, r"which network .* --cfg, or with --model one of yolov3, "),
        ({"weights": "model.weights", "model": "yolov9"}, "no network 'yolov9'"),
        ({"weights": "model.weights", "cfg": "model.cfg", "model": "yolov3"}, "give one of them"),
        ({"weights": "model.weights", "cfg": "absent.cfg"}, r"absent\.cfg cannot be read"),
        ({"weights": "model.weights", "cfg": "yolov3-tiny"}, "write --model yolov3-tiny"),
        ({"weights": "model.weights", "model": "yolov3", "image_size": (60, 64)}, "multiple of 32, not 60: use 32"),
        ({"weights": "model.weights", "model": "yolov3"}, r"ends inside .*yolov3\.cfg line \d+ \[convolutional\]"),
        ({"weights": "model.weights", "model": "darknet53"}, "no detection layer: it describes a classifier"),
        ({"weights": "model.cfg", "cfg": "model.cfg"}, r"model\.cfg ends (before|inside)"),
        ({"weights": "model.weights", "cfg": "model.weights"}, "longer than 1 MB, too long for such a file"),
        ({"weights": "model.weights", "cfg": "grey.cfg"}, "3 channels, not 1"),
    ],
)
def test_files_that_do_not_belong_together(arguments, problem, files, monkeypatch):
    folder, _ = files
    monkeypatch.chdir(folder)
    (folder / "grey.cfg").write_text((folder / "model.cfg").read_text().replace("channels=3", "channels=1"))
    with pytest.raises(UserError, match=problem):
        load_detector(**arguments)


def test_a_checkpoint_needs_no_cfg(checkpoint):
    with pytest.raises(UserError, match="leave out --cfg and --model"):
        load_detector(checkpoint, model="yolov3")
    assert load_detector(checkpoint, image_size=(32, 64)).image_size == (32, 64)
    with pytest.raises(UserError, match="multiple of 32"):
        load_detector(checkpoint, image_size=(32, 60))


def test_an_enormous_cfg_takes_no_memory(tmp_path):
    sections = "[convolutional]\nfilters=30000\nsize=1\nactivation=linear\n" * 2
    cfg = tmp_path / "huge.cfg"
    cfg.write_text(f"[net]\nwidth=64\nheight=64\nchannels=3\n{sections}[yolo]\nclasses=29995\nanchors=1,1\n")
    weights = tmp_path / "small.weights"
    weights.write_bytes(bytes(1000))
    with pytest.raises(UserError, match=r"small\.weights ends inside .*huge\.cfg line 5"):
        load_detector(weights, cfg=cfg)


# -------------------------------------------------------------------------------------------------- names


def test_names_beside_the_cfg_or_numbers(files, tmp_path):
    folder, _ = files
    for suffix in (".cfg", ".weights"):
        (tmp_path / f"n{suffix}").write_bytes((folder / f"model{suffix}").read_bytes())
    assert load_detector(tmp_path / "n.weights", cfg=tmp_path / "n.cfg").names == ["class 0", "class 1", "class 2"]
    (tmp_path / "n.names").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"n\.names holds 2 names, too few for a network of 3 classes"):
        load_detector(tmp_path / "n.weights", cfg=tmp_path / "n.cfg")


def test_names_from_a_names_or_a_data_file(files, checkpoint, tmp_path):
    folder, _ = files
    network = {"weights": folder / "model.weights", "cfg": folder / "model.cfg"}
    names, data, without = tmp_path / "my.names", tmp_path / "my.data", tmp_path / "without.data"
    names.write_text("a\nb c\nd\n")
    data.write_text("classes = 3\nnames = my.names\n")
    without.write_text("classes = 3\n")
    for given in (names, data):
        assert load_detector(**network, names=given).names == ["a", "b c", "d"]
        assert load_detector(checkpoint, names=given).names == ["a", "b c", "d"]
    data.write_text("classes = 4\nnames = my.names\n")
    with pytest.raises(UserError, match=r"my\.data says classes=4, but the network has 3"):
        load_detector(**network, names=data)
    with pytest.raises(UserError, match=r"without\.data has no line names="):
        load_detector(**network, names=without)


# ----------------------------------------------------------------------------------------------- commands


def test_detect_with_cfg_weights_and_names(files, photo, succeeds, tmp_path):
    folder, _ = files
    names = tmp_path / "n.names"
    names.write_text("x\ny\nz\n")
    network = ("--cfg", folder / "model.cfg", "--weights", folder / "model.weights", "--names", names)
    project = tmp_path / "runs"
    outcome = succeeds("detect", *network, "--conf-thres", 0.1, "--save-json", "--project", project, photo)
    (found,) = json.loads((project / "exp" / "detections.json").read_text()).values()
    detector = Detector(folder / "model.weights", cfg=folder / "model.cfg", names=names, confidence=0.1)
    assert found == [each.as_json() for each in detector(photo)]
    assert found
    assert set(found[0]) == {"class_id", "class", "score", "box_xyxy"}
    assert found[0]["class"] == "xyz"[found[0]["class_id"]]
    assert str(outcome.folder) == str(project / "exp")


def test_detect_by_preset_name_and_with_another_rule(tiny, photo, succeeds, tmp_path):
    network = ("--weights", tiny, "--model", "yolov3-tiny", "--imgsz", 64, "--conf-thres", 0)
    boxes = []
    for rule in ("standard", "darknet-cpu"):
        project = tmp_path / rule
        succeeds("detect", *network, "--batchnorm", rule, "--save-json", "--project", project, photo)
        (found,) = json.loads((project / "exp" / "detections.json").read_text()).values()
        boxes.append(np.array([each["score"] for each in found]))
    np.testing.assert_allclose(*boxes, atol=1e-3)
    assert not np.array_equal(*boxes)


def test_low_memory_finds_the_same(files, photo, succeeds, tmp_path):
    folder, _ = files
    network = ("--cfg", folder / "model.cfg", "--weights", folder / "model.weights", "--conf-thres", 0.1)
    found = []
    for name, options in (("fast", ()), ("small", ("--low-memory",))):
        succeeds("detect", *network, *options, "--save-json", "--project", tmp_path, "--name", name, photo)
        (boxes,) = json.loads((tmp_path / name / "detections.json").read_text()).values()
        found.append([(each["class_id"], *each["box_xyxy"], each["score"]) for each in boxes])
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-3)
    assert found[0]


def test_the_commands_refuse_in_one_sentence(files, checkpoint, photo, refused, in_tmp_path):
    folder, _ = files
    weights = ("--weights", folder / "model.weights")
    refused("detect", *weights, photo, says=["which network", "--cfg", "--model"])
    refused("detect", *weights, "--cfg", "absent.cfg", photo, says=["absent.cfg cannot be read"])
    refused("detect", "--weights", checkpoint, "--cfg", folder / "model.cfg", photo, says=["leave out --cfg"])
    refused("val", "--weights", folder / "model.cfg", "--cfg", folder / "model.cfg", "--data", "shapes", says=["ends"])


def test_val_names_a_few_of_the_classes_that_the_data_lack(tiny, voc, refused, in_tmp_path):
    network = ("--weights", tiny, "--model", "yolov3-tiny", "--imgsz", 64)
    sentence = refused("val", *network, "--data", voc, "--split", "test", says=["person, bicycle, car", "--names"])
    assert "toothbrush" not in sentence


def test_more_objects_than_are_asked_for(tiny, photo, succeeds, tmp_path):
    arguments = ("--weights", tiny, "--model", "yolov3-tiny", "--imgsz", 64, "--conf-thres", 0, "--save-json", photo)
    counts = {}
    for most in (7, 1000):
        outcome = succeeds("detect", *arguments, "--max-det", most, "--project", tmp_path / str(most))
        (found,) = json.loads((tmp_path / str(most) / "exp" / "detections.json").read_text()).values()
        counts[most] = len(found)
        assert ("--max-det shows more" in outcome.lines[0]) == (len(found) == most)
    assert counts[7] == 7
    assert counts[1000] > 300


def test_val_takes_the_same_networks(files, voc, succeeds, tmp_path):
    folder, _ = files
    names = tmp_path / "n.names"
    names.write_text("\n".join(load_checkpoint_names(voc)))
    network = ("--cfg", folder / "model.cfg", "--weights", folder / "model.weights", "--names", names)
    outcome = succeeds("val", *network, "--data", voc, "--split", "test", "--project", tmp_path / "runs")
    assert any("mAP@0.5" in line for line in outcome.lines)


def load_checkpoint_names(voc):
    from yolov3.data.dataset import open_dataset

    return open_dataset(voc, "test", False).names


# ------------------------------------------------------------------------------------------------ training


def test_training_starts_from_a_partial_file(voc, succeeds, refused, tmp_path):
    from yolov3.model import build_model

    model = randomised(build_model("yolov3-nano", 3, seed=4))
    backbone = tmp_path / "nano.conv"
    layers = sum(1 for path, each in model.backbone.named_modules() if isinstance(each, nn.Conv2d))
    write_weights(backbone, model, layers=layers)
    options = ("--data", voc, "--imgsz", 64, "--epochs", 1, "--batch", 2, "--lr", 1e-9, "--project", tmp_path / "runs")
    outcome = succeeds("train", *options, "--weights", backbone)
    trained = load_checkpoint(f"{outcome.folder}/last.npz").model
    assert (
        f"{backbone}: the first {layers} of 37 convolutions; the other {37 - layers} start at random" in outcome.errors
    )
    stem, output = trained.backbone.stem.conv.weight.data, trained.pyramid.branch_8.output.weight.data
    np.testing.assert_allclose(stem, model.backbone.stem.conv.weight.data, atol=1e-6)
    assert not np.allclose(output, model.pyramid.branch_8.output.weight.data, atol=1e-3)
    refused("train", *options, "--weights", backbone, "--model", "yolov3-small", says=["nano.conv ends", "backbone."])
