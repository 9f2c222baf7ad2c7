"""Our networks made ready for speed give their own results: detectors, backbones, and networks from files."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.inference import FusedNetwork, FuseSettings
from tests.minidl.small_networks import outputs_of, pictures, randomised
from tests.yolov3.darknet.random_networks import CLASSIFIER, DETECTOR, configured, conv
from yolov3.backbones import PlainStage, ResNetClassifier
from yolov3.blocks import DarknetNetwork
from yolov3.darknet import kinds
from yolov3.model import DetectionNetwork, YOLOv3Tiny, build_model

ROUNDING = 1e-5  # relative to the largest number of an output
ALL_OFF = FuseSettings((), share_weights=False, keep_borders=False, join_in_place=False)

# What DETECTOR and CLASSIFIER lack, on a 32x32 picture; comments give the output's shape.
OLDER_DETECTOR = [
    conv(8),  # 0  32x32x8
    kinds.MaxPool(2, 2, 1),  # 1  16x16x8
    conv(12, 3, activation="logistic"),  # 2  16x16x12
    conv(16, 3, 2),  # 3  8x8x16
    conv(12, 3, 2, True, "leaky", 0),  # 4  3x3x12: no padding
    kinds.Route((2,)),  # 5  16x16x12
    kinds.Reorg(2),  # 6  8x8x48
    kinds.Route((6, 3, 6)),  # 7  8x8x112: one map twice
    conv(14, 1, 1, False, "logistic"),  # 8  8x8x14
    conv(14, 1, 1, False, "linear"),  # 9  8x8x14
    kinds.Region(((1.0, 2.0), (3.0, 1.5)), 2, True),
]
OLDER_CLASSIFIER = [
    conv(8, 5, 3),  # 0  11x11x8
    conv(6, 2, 1, True, "relu", 0),  # 1  10x10x6
    conv(10, 3, 1, False, "relu"),  # 2  10x10x10
    kinds.AvgPool(),  # 3  1x1x10
    kinds.Softmax(1, 1.0),  # 4  1x1x10
    kinds.Cost(),  # 5
]


def check(model, *shapes, settings=None):
    """The fused network against the model, for images (batch, height, width, 3) of these shapes one after another."""
    fused = model.fuse(settings)
    for number, shape in enumerate(shapes):
        images = pictures(*shape, seed=number)
        wanted, found = outputs_of(model, images), outputs_of(fused, images)
        assert [each.shape for each in found] == [each.shape for each in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.dtype == np.float32
            assert np.abs(one - other).max() <= ROUNDING * np.abs(other).max()


@pytest.mark.parametrize("settings", [None, ALL_OFF])
@pytest.mark.parametrize("lateral", ["concat", "add"])
def test_yolov3(lateral, settings):
    model = randomised(build_model("yolov3-nano", classes=3, lateral=lateral, seed=0))
    check(model, (1, 96, 160, 3), (3, 64, 32, 3), (1, 96, 160, 3), settings=settings)


@pytest.mark.parametrize("settings", [None, ALL_OFF])
def test_yolov3_tiny(settings):
    model = randomised(YOLOv3Tiny(classes=2, width=8, seed=0))
    check(model, (1, 96, 128, 3), (3, 32, 64, 3), settings=settings)


@pytest.mark.parametrize("settings", [None, ALL_OFF])
@pytest.mark.parametrize("kind_list", [DETECTOR, CLASSIFIER, OLDER_DETECTOR, OLDER_CLASSIFIER])
def test_networks_from_files(kind_list, settings):
    check(configured(kind_list), (1, 32, 32, 3), (3, 32, 32, 3), settings=settings)


@pytest.mark.parametrize("pool_first", [False, True])
def test_resnet(pool_first):
    model = randomised(ResNetClassifier((2, 1, 1, 1), 10, pool_first, np.random.default_rng(0)))
    check(model, (2, 64, 32, 3))


def test_a_stage_of_darknet19():
    class Stage(DarknetNetwork):
        def __init__(self):
            self.stage = PlainStage(3, 48, 2, np.random.default_rng(0))

        def forward(self, images):
            return self.stage(images)

    assert isinstance(Stage().fuse(), FusedNetwork)
    check(randomised(Stage()), (2, 37, 50, 3))


def test_a_fused_detector_is_a_detector():
    model = build_model("yolov3-nano", classes=3, seed=0)
    fused = model.fuse()
    assert isinstance(fused, DetectionNetwork)
    assert (fused.classes, fused.strides, fused.outputs()) == (3, (32, 16, 8), (24, 24, 24))
    assert fused.anchor_groups() == model.anchor_groups()
    assert fused.one_class_per_box == model.one_class_per_box
    assert fused.fuse() is fused
    assert fused.parameters() == []
    assert isinstance(fused.network, FusedNetwork)


def test_training_goes_on_without_reaching_what_was_fused():
    model = build_model("yolov3-nano", classes=3, seed=0)
    images = pictures(2, 64, 64, 3)
    wanted = outputs_of(model, images)
    fused = model.fuse()
    model.train()
    finest = model(Tensor(images))[-1]
    (finest * finest).sum().backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.data -= np.float32(1e-3) * parameter.grad
    for one, other in zip(outputs_of(fused, images), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=ROUNDING * np.abs(other).max())
