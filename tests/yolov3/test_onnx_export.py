"""ONNX files: ONNX Runtime and OpenCV compute from them what the networks compute here, and bad input is refused."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from minidl import nn
from tests.minidl.small_networks import outputs_of, pictures, randomised
from tests.yolov3.darknet.random_networks import CLASSIFIER, DETECTOR, configured, conv
from yolov3.backbones import Darknet19Classifier, ResNetClassifier
from yolov3.blocks import ConvBlock
from yolov3.darknet import kinds
from yolov3.darknet.cfg import BUILTIN, builtin_cfg, read_cfg
from yolov3.darknet53 import Darknet53Classifier
from yolov3.errors import UserError
from yolov3.model import YOLOv3, YOLOv3Tiny, build_model
from yolov3.onnx_export import export_onnx

onnx = pytest.importorskip("onnx")

SIZE = (64, 96)


def run_onnx_runtime(path, names, blob):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(names, {"images": blob})


def run_opencv(path, names, blob):
    network = pytest.importorskip("cv2").dnn.readNetFromONNX(str(path))
    network.setInput(blob, "images")
    return network.forward(names)


READERS = {"onnx-runtime": (run_onnx_runtime, 1e-5), "opencv": (run_opencv, 1e-4)}  # and the error allowed


@pytest.fixture(params=READERS.values(), ids=READERS)
def agrees(request, tmp_path):
    """Function: export a network and compare a reader's outputs with ours; returns ours."""
    run, tolerance = request.param

    def check(model, size=SIZE, batch=2, channels=3):
        path = tmp_path / "network.onnx"
        export_onnx(model, path, size)
        onnx.checker.check_model(path, full_check=True)
        images = pictures(batch, *size, channels)
        ours = outputs_of(model, images)
        names = [each.name for each in onnx.load(path).graph.output]
        theirs = run(path, names, np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        assert relative_error(ours, theirs) <= tolerance
        return ours

    return check


def relative_error(ours, theirs):
    """The largest difference relative to the largest number; ``theirs`` have the channels first."""
    errors = []
    for our, their in zip(ours, theirs, strict=True):
        their = their.transpose(0, 2, 3, 1) if their.ndim == 4 else their
        assert their.shape == our.shape
        errors.append(np.abs(our - their).max() / np.abs(our).max())
    return max(errors)


def narrowed(plan, size):
    """The plan with an eighth of the channels, but for the heads: as many layers, a fraction of the time."""
    kind_list = [layer.kind for layer in plan.layers]
    heads = [layer.index - 1 for layer in plan.detections]
    for index, kind in enumerate(kind_list):
        if isinstance(kind, kinds.Convolutional) and index not in heads:
            kind_list[index] = replace(kind, filters=kind.filters // 8)
    return configured(kind_list, (*size, 3))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("lateral", ["concat", "add"])
def test_nano(agrees, lateral, batch):
    heads = agrees(randomised(build_model("yolov3-nano", 4, lateral=lateral, seed=1)), batch=batch)
    assert [head.shape for head in heads] == [(batch, 2, 3, 27), (batch, 4, 6, 27), (batch, 8, 12, 27)]


def test_tiny(agrees):
    agrees(randomised(YOLOv3Tiny(4, width=4, seed=1)))


def test_yolov3(tmp_path):
    """At full width and depth, in one reader, as it takes its time."""
    model, path = randomised(YOLOv3(seed=1)), tmp_path / "yolov3.onnx"
    export_onnx(model, path, (64, 64))
    images = pictures(1, 64, 64, 3)
    names = ["logits_32", "logits_16", "logits_8"]
    theirs = run_onnx_runtime(path, names, np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    assert relative_error(outputs_of(model, images), theirs) <= 1e-5


@pytest.mark.parametrize("name", BUILTIN)
def test_shipped_networks(agrees, name):
    outputs = agrees(narrowed(read_cfg(builtin_cfg(name)), SIZE))
    assert all(np.ptp(each) > 1e-4 for each in outputs)  # else anything would do


@pytest.mark.parametrize(
    "make_model",
    [
        lambda rng: Darknet53Classifier(10, blocks=(1, 1, 1, 1, 1), width=4, rng=rng),
        lambda rng: Darknet19Classifier(10, rng),
        lambda rng: ResNetClassifier((1, 2, 1, 1), 10, True, rng),
        lambda rng: ResNetClassifier((1, 1, 1, 1), 10, False, rng),
    ],
    ids=["darknet53", "darknet19", "resnet-pool-first", "resnet-pool-last"],
)
def test_classifiers(agrees, make_model):
    (logits,) = agrees(randomised(make_model(np.random.default_rng(1))))
    assert logits.shape == (2, 10)


@pytest.mark.parametrize(
    ("kind_list", "input_shape"),
    [
        (DETECTOR, (32, 64, 3)),
        (CLASSIFIER, (32, 32, 3)),
        ([conv(8), kinds.Reorg(2), conv(5)], (8, 12, 3)),
        ([conv(9), kinds.Reorg(3)], (9, 6, 3)),
        ([conv(4), kinds.MaxPool(4, 2, 3), kinds.MaxPool(5, 1, 8), kinds.MaxPool(2, 1, 0)], (15, 12, 3)),
        ([conv(4), kinds.MaxPool(13, 1, 12), kinds.MaxPool(3, 3, 1), kinds.MaxPool(1, 2, 0)], (15, 12, 3)),
        ([conv(4), conv(6, 3, 2), kinds.Shortcut(0, "leaky")], (7, 13, 3)),  # every second pixel, zeros for channels
        ([conv(6), conv(4, 3, 2), kinds.Shortcut(0, "relu")], (8, 12, 3)),  # fewer channels
        ([conv(4), conv(5, 3, 2), kinds.Route((0,)), kinds.Shortcut(1, "leaky")], (9, 15, 3)),  # pixels between zeros
        ([conv(4, 3, 3), kinds.Upsample(3), conv(3), kinds.Shortcut(0, "linear")], (9, 15, 3)),
        ([conv(4), conv(4, 2, 1, padding=0), kinds.Shortcut(0, "linear")], (5, 6, 3)),  # one pixel less: ratio 1
        ([conv(4, 1), conv(6, 5, 2, False, "logistic", 1)], (9, 12, 3)),
        ([conv(6), kinds.AvgPool(), kinds.Softmax(3, 0.7)], (6, 8, 3)),
        ([kinds.Connected(7, False, "relu"), kinds.Connected(5, True, "logistic")], (4, 6, 3)),
        ([conv(4), kinds.Dropout(0.5), kinds.Cost()], (4, 6, 3)),  # a map, flattened in our order
        ([conv(4)], (6, 6, 1)),  # grey pictures
    ],
)
def test_every_kind_of_layer(agrees, kind_list, input_shape):
    agrees(configured(kind_list, input_shape), input_shape[:2], channels=input_shape[2])


@pytest.mark.parametrize("rule", nn.BATCHNORM_RULES.values(), ids=nn.BATCHNORM_RULES)
def test_batch_norm_rules_where_epsilon_matters(agrees, rule):
    model = configured([conv(8), conv(4)], (8, 12, 3))
    norms = [module for _, module in model.named_modules() if isinstance(module, nn.BatchNorm)]
    for norm in norms:
        norm.running_variance.data *= np.float32(1e-6)
    under = {
        each.name: outputs_of(model.configure_batchnorm(rule=each), pictures(1, 8, 12, 3))
        for each in nn.BATCHNORM_RULES.values()
    }
    for other in nn.BATCHNORM_RULES.keys() - {rule.name}:
        assert np.abs(under[rule.name][0] - under[other][0]).max() > 1e-3 * np.abs(under[other][0]).max()
    agrees(model.configure_batchnorm(rule=rule), (8, 12))


@pytest.mark.parametrize("factor", [2, 3])
def test_bilinear_upsampling(agrees, factor):
    agrees(nn.Sequential(nn.Conv2d(3, 4, 3, rng=np.random.default_rng(0)), nn.Upsample(factor, "bilinear")), (32, 64))


def test_a_layer_that_runs_twice(agrees):
    class Twice(nn.Module):
        def __init__(self):
            self.block = ConvBlock(3, 3, 3, rng=np.random.default_rng(0))

        def forward(self, x):
            return self.block(self.block(x))

    agrees(randomised(Twice()), (32, 32))


def test_outputs_that_are_the_same_map(agrees):
    head = kinds.Yolo((0,), ((5, 6), (9, 8)), 2, 0.7)
    agrees(configured([conv(7, 1, 8, False, "linear"), head, kinds.Route((0,)), head], (16, 32, 3)), (16, 32))


def described(model, path, size=SIZE, names=None):
    """``(outputs with their shapes, metadata)`` of the exported file."""
    export_onnx(model, path, size, names)
    file = onnx.load(path)
    shapes = {
        output.name: [each.dim_param or each.dim_value for each in output.type.tensor_type.shape.dim]
        for output in file.graph.output
    }
    return shapes, {each.key: each.value for each in file.metadata_props}


def test_a_detector_says_how_to_use_it(tmp_path):
    model = build_model("yolov3-nano", 2, seed=1)
    shapes, metadata = described(model, tmp_path / "f.onnx", names=["cat", "löwe"])
    assert shapes == {
        "logits_32": ["batch", 21, 2, 3],
        "logits_16": ["batch", 21, 4, 6],
        "logits_8": ["batch", 21, 8, 12],
    }
    assert json.loads(metadata["names"]) == ["cat", "löwe"]
    assert json.loads(metadata["strides"]) == [32, 16, 8]
    assert json.loads(metadata["anchors"])[0] == [[116, 90], [156, 198], [373, 326]]
    assert "RGB" in metadata["input"]
    assert "sigmoid(classes)" in metadata["decoding"]


def test_a_region_detector_has_anchors_in_pixels_and_a_softmax(tmp_path):
    model = configured([conv(8, 3, 8, False, "linear"), kinds.Region(((0.5, 1),), 3, True)], (64, 96, 3))
    shapes, metadata = described(model, tmp_path / "f.onnx")
    assert shapes == {"logits_8": ["batch", 8, 8, 12]}
    assert json.loads(metadata["anchors"]) == [[[4, 8]]]
    assert "softmax(classes)" in metadata["decoding"]
    assert "names" not in metadata


@pytest.mark.parametrize(
    ("last", "name"),
    [(kinds.Softmax(1, 1.0), "probabilities"), (kinds.Dropout(0.5), "logits")],
    ids=["softmax", "none"],
)
def test_a_classifier_says_what_it_returns(last, name, tmp_path):
    model = configured([conv(4), kinds.AvgPool(), last], (8, 8, 3))
    shapes, metadata = described(model, tmp_path / "f.onnx", (8, 8), list("abcd"))
    assert shapes == {name: ["batch", 4]}
    assert metadata == {"input": "RGB, 0 to 1", "names": '["a", "b", "c", "d"]'}


def test_constants_bear_the_names_of_our_parameters(tmp_path):
    model = build_model("yolov3-nano", 2, seed=1)
    export_onnx(model, tmp_path / "f.onnx", (32, 32))
    assert model.state_dict().keys() <= {each.name for each in onnx.load(tmp_path / "f.onnx").graph.initializer}


class Doubled(nn.Module):
    """A layer of somebody's own."""

    def forward(self, x):
        return x + x


class SumWithoutALayer(nn.Module):
    def __init__(self):
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.second(self.first(x) + x)


class EndsWithoutALayer(SumWithoutALayer):
    def forward(self, x):
        return self.first(x) + x


@pytest.mark.parametrize(
    ("make_model", "size", "names", "sentence"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), Doubled()), (32, 32), None, r"layers\.1: a layer Doubled has no"),
        (SumWithoutALayer, (32, 32), None, "second reads what no layer made"),
        (EndsWithoutALayer, (32, 32), None, "an output of the network was made by no layer"),
        (lambda: build_model("yolov3-nano", 2), (40, 32), None, "multiple of 32, not 40"),
        (lambda: build_model("yolov3-nano", 2), (32, 32), ["one"], "1 names for a network of 2 classes"),
        (lambda: configured(DETECTOR), (30, 32), None, r"layer 15 \[route\]"),
        (lambda: configured(CLASSIFIER), (64, 32), None, "does not run on 64x32 pictures"),
    ],
)
def test_refused(make_model, size, names, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        export_onnx(make_model(), tmp_path / "f.onnx", size, names)
    assert list(tmp_path.iterdir()) == []


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)  # importing it fails now
    with pytest.raises(UserError, match=r"pip install -e '\.\[onnx\]'"):
        export_onnx(build_model("yolov3-nano", 2), tmp_path / "f.onnx", (32, 32))


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(UserError, match=r"f\.onnx cannot be written"):
        export_onnx(build_model("yolov3-nano", 2), tmp_path / "none" / "f.onnx", (32, 32))
