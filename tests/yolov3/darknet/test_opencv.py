"""OpenCV's reader of the original's files, a program that shares nothing with ours: the family's heads and boxes."""

import numpy as np
import pytest

from minidl import nn
from tests.minidl.small_networks import outputs_of, pictures, randomised
from tests.yolov3.golden_network import relative_error
from yolov3.darknet import kinds
from yolov3.darknet.cfg import BUILTIN, builtin_cfg, format_cfg, read_cfg
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.darknet.plan import make_plan
from yolov3.darknet.weights import write_weights
from yolov3.decode import decode

cv2 = pytest.importorskip("cv2", reason="OpenCV is a peer in this test")

SIZE = (64, 96)
RESNETS = [name for name in BUILTIN if name.startswith("resnet")]
DETECTORS = [name for name in BUILTIN if name.startswith("yolo")]
CLASSIFIERS = ["darknet19", "darknet53"]


@pytest.fixture
def in_opencv(tmp_path):
    """Function ``(network) -> cv2.dnn.Net`` that read the network's files."""

    def read(network):
        cfg, weights = tmp_path / "n.cfg", tmp_path / "n.weights"
        cfg.write_text(format_cfg(network.plan))
        write_weights(weights, network)
        return cv2.dnn.readNetFromDarknet(str(cfg), str(weights))

    return read


def forward(opencv, images, *names):
    """OpenCV's outputs of the layers of these names (of the last one if none) for our images; maps channels last."""
    opencv.setInput(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    outputs = opencv.forward(names) if names else [opencv.forward()]
    return [each.transpose(0, 2, 3, 1) if each.ndim == 4 else each for each in outputs]


def family_member(name):
    """A shipped network with random numbers, under OpenCV's rule; a classifier without its softmax."""
    plan = read_cfg(builtin_cfg(name), SIZE)
    if isinstance(plan.layers[-1].kind, kinds.Softmax):  # it would hide all but the largest logit
        plan = make_plan([layer.kind for layer in plan.layers[:-1]], plan.input_shape)
    return randomised(ConfiguredNetwork(plan, seed=5)).configure_batchnorm(rule=nn.OPENCV)


@pytest.mark.parametrize("name", DETECTORS)
def test_heads(name, in_opencv):
    network, images = family_member(name), pictures(1, *SIZE, 3)
    names = [f"conv_{layer.index - 1}" for layer in network.plan.detections]
    theirs = forward(in_opencv(network), images, *names)
    for ours, wanted in zip(outputs_of(network, images), theirs, strict=True):
        assert relative_error(ours, wanted) < 2e-5


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_logits(name, in_opencv):
    network, images = family_member(name), pictures(1, *SIZE, 3)
    (ours,), (wanted,) = outputs_of(network, images), forward(in_opencv(network), images)
    assert relative_error(ours, wanted.reshape(ours.shape)) < 2e-5


@pytest.mark.parametrize("name", ["yolov2", "yolov3-tiny", "yolov3-tiny-published"])
def test_decoded_boxes_and_scores(name, in_opencv):
    network, images = family_member(name), pictures(1, *SIZE, 3)
    opencv = in_opencv(network)
    # Rows (x, y, w, h, objectness, one score per class), and scores that are not above a threshold are 0.
    rows = np.concatenate(forward(opencv, images, *opencv.getUnconnectedOutLayersNames()))
    heads = outputs_of(network, images)
    ours = decode(heads, network.anchors, network.strides, network.one_class_per_box)
    scores = ours.objectness[0][:, None] * ours.class_probabilities[0]
    shown = rows[:, 5:] > 0
    assert shown.any()
    np.testing.assert_allclose(ours.boxes_cxcywh[0], rows[:, :4], rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(ours.objectness[0], rows[:, 4], rtol=0, atol=5e-5)
    np.testing.assert_allclose(scores[shown], rows[:, 5:][shown], rtol=0, atol=5e-5)


@pytest.mark.parametrize("name", RESNETS[:1])
def test_opencv_does_not_read_the_residual_networks(name, in_opencv):
    # Its sum wants equal channels, where the original adds to the first ones.  If this ever passes, add them above.
    opencv = in_opencv(family_member(name))
    with pytest.raises(cv2.error, match="eltwise_layer"):
        forward(opencv, pictures(1, *SIZE, 3))
