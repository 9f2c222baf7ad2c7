"""Whole networks against the numbers of the original program: every layer, heads, detections before and after NMS."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from minidl import Tensor, nn, no_grad
from tests.yolov3.golden_network import golden_input, load_parameters, load_table, relative_error, run_and_watch
from yolov3.boxes import box_area, clip_boxes, cxcywh_to_xyxy, xyxy_to_cxcywh
from yolov3.darknet53 import Darknet53Classifier
from yolov3.decode import decode
from yolov3.image import Letterbox
from yolov3.model import build_model
from yolov3.nms import non_maximum_suppression
from yolov3.postprocess import find_objects, select

# network and input size -> the numbers of the convolutions in front of the detection layers
HEADS = {"yolov3-tiny-416": (15, 22), "yolov3-416": (81, 93, 105)}
CLASSIFIER = "darknet53-256"
WEIGHTS_SEED = 1
PICTURE_SIZE = np.array([640, 480, 640, 480])

every_network = pytest.mark.parametrize("network", [*HEADS, CLASSIFIER], indirect=True)
every_detector = pytest.mark.parametrize("network", HEADS, indirect=True)


@dataclass(frozen=True)
class Run:
    """What one network makes of the golden picture, under the original's batch-norm rule unless it says otherwise."""

    name: str
    model: nn.Module
    images: np.ndarray
    frame: Letterbox
    outputs: tuple  # arrays as the network returns them
    layers: dict  # {number of the layer: (channels, height, width)}
    standard_outputs: tuple


@pytest.fixture(scope="module")
def network(request, golden):
    name, size = request.param.rsplit("-", 1)
    table = load_table(golden, name)
    model = Darknet53Classifier() if name == "darknet53" else build_model(name, seed=0)
    load_parameters(model, table, WEIGHTS_SEED)
    images, frame = golden_input(int(size))
    with no_grad():
        standard = model.eval()(Tensor(images))
    outputs, layers = run_and_watch(model.configure_batchnorm(rule=nn.DARKNET_CPU), images, table)
    return Run(request.param, model, images, frame, _arrays(outputs), layers, _arrays(standard))


def _arrays(outputs):
    return tuple(each.data for each in (outputs if isinstance(outputs, tuple) else (outputs,)))


@pytest.fixture(params=["thinned", "complete"])
def numbers(request, golden, network):
    """The golden numbers of the network: the project's own thinned ones, and all of them where they are at hand."""
    folder = golden if request.param == "thinned" else request.getfixturevalue("shared") / "golden"
    return dict(np.load(folder / f"{network.name}.npz"))


def sampled_heads(network, outputs, numbers):
    """For every head the values at the golden positions: ours, the original's."""
    if network.name == CLASSIFIER:
        yield outputs[0][0], numbers["logits"]
        return
    for layer, head in zip(HEADS[network.name], outputs, strict=True):
        flat = np.moveaxis(head[0], -1, 0).reshape(-1)  # channels, rows, columns
        name = f"head_{layer:03}"
        if name in numbers:
            yield flat, numbers[name].reshape(-1)
        else:
            yield flat[numbers[f"{name}_index"]], numbers[f"{name}_samples"]


# ------------------------------------------------------------------------------------------ activations


@every_network
def test_heads_are_the_originals_under_its_own_batch_norm_rule(network, numbers):
    for ours, golden in sampled_heads(network, network.outputs, numbers):
        assert relative_error(ours, golden) < 2e-5


@every_network
def test_heads_are_near_the_originals_under_the_standard_rule(network, numbers):
    for ours, golden in sampled_heads(network, network.standard_outputs, numbers):
        assert 2e-5 < relative_error(ours, golden) < 2e-4  # the lower limit: the rule does make a difference


@every_network
def test_every_layer_is_the_originals(network, numbers):
    assert len(network.layers) > 0.8 * len(numbers["layer_shape"])
    for layer, ours in network.layers.items():
        assert ours.shape == tuple(numbers["layer_shape"][layer]), f"layer {layer}"
        _, _, smallest, largest = numbers["layer_stats"][layer]
        limit = 3e-5 * max(-smallest, largest)
        values = ours.reshape(-1).astype(np.float64)
        statistics = values.mean(), values.std(), values.min(), values.max()
        np.testing.assert_allclose(statistics, numbers["layer_stats"][layer], rtol=0, atol=limit, err_msg=str(layer))
        samples = values[numbers["layer_index"][layer]]
        np.testing.assert_allclose(samples, numbers["layer_samples"][layer], rtol=0, atol=limit, err_msg=str(layer))


@pytest.mark.parametrize("network", [CLASSIFIER], indirect=True)
def test_class_probabilities_are_the_originals(network, numbers):
    exponentials = np.exp(network.outputs[0][0] - network.outputs[0].max())
    np.testing.assert_allclose(exponentials / exponentials.sum(), numbers["softmax"], rtol=0, atol=5e-5)
    assert (-network.outputs[0][0]).argsort()[:5].tolist() == [701, 629, 717, 591, 171]


# ------------------------------------------------------------------------------------------- detections


@every_detector
@pytest.mark.parametrize(("rule", "box_limit", "probability_limit"), [("own", 1e-4, 5e-5), ("standard", 1e-3, 5e-4)])
def test_boxes_before_suppression_are_the_originals(network, numbers, rule, box_limit, probability_limit):
    heads = network.outputs if rule == "own" else network.standard_outputs
    predictions = decode(heads, network.model.anchors, network.model.strides)
    sure = predictions.objectness[0] > 0.5
    boxes_xyxy = network.frame.to_picture(predictions.boxes_cxcywh[0][sure])
    fractions = xyxy_to_cxcywh(boxes_xyxy / PICTURE_SIZE)
    objectness = predictions.objectness[0][sure]
    scores = objectness[:, None] * predictions.class_probabilities[0][sure]
    scores[scores <= 0.5] = 0

    assert len(fractions) == len(numbers["det_boxes"])
    np.testing.assert_allclose(fractions, numbers["det_boxes"], rtol=0, atol=box_limit)
    np.testing.assert_allclose(objectness, numbers["det_objectness"], rtol=0, atol=probability_limit)
    np.testing.assert_array_equal(scores > 0, numbers["det_probs"] > 0)
    np.testing.assert_allclose(scores, numbers["det_probs"], rtol=0, atol=probability_limit)


@every_detector
@pytest.mark.parametrize("rule", ["own", "standard"])
def test_the_same_boxes_and_classes_survive_suppression(network, numbers, rule):
    heads = network.outputs if rule == "own" else network.standard_outputs
    predictions = decode(heads, network.model.anchors, network.model.strides)
    boxes_cxcywh, scores, labels = select(predictions, 0, 0.5)
    boxes_xyxy = network.frame.to_picture(boxes_cxcywh)
    kept = non_maximum_suppression(boxes_xyxy, scores, labels, 0.45)

    # The pairs of box and class in the golden rows' order are ours: the previous test shows it.
    row, label = np.nonzero(numbers["det_probs"])
    np.testing.assert_array_equal(labels, label)
    survived = np.zeros_like(numbers["det_probs"], bool)
    survived[row[kept], label[kept]] = True
    np.testing.assert_array_equal(survived, numbers["det_probs_nms"] > 0)


@every_detector
def test_the_whole_way_from_picture_to_boxes(network, numbers):
    (found,) = find_objects(network.model, network.images, [network.frame], 0.5, 0.45)
    row, label = np.nonzero(numbers["det_probs_nms"])
    scores = numbers["det_probs_nms"][row, label]
    order = np.argsort(-scores, kind="stable")
    boxes_xyxy = clip_boxes(cxcywh_to_xyxy(numbers["det_boxes"][row]) * PICTURE_SIZE, 640, 480)
    order = order[box_area(boxes_xyxy[order]) > 0]  # the original also lists what lies wholly in the grey border
    np.testing.assert_array_equal(found.labels, label[order])
    np.testing.assert_allclose(found.scores, scores[order], rtol=0, atol=5e-5)
    np.testing.assert_allclose(found.boxes_xyxy, boxes_xyxy[order], rtol=0, atol=640e-4)


@every_detector
def test_as_many_boxes_at_a_low_threshold(network, golden):
    # A hundred thousand pairs: a few lie so near to a threshold that rounding decides.
    index = json.loads((golden / "index.json").read_text())["networks"]
    counts = next(each for each in index if each["file"] == f"{network.name}.npz")["at_threshold_.005"]
    predictions = decode(network.outputs, network.model.anchors, network.model.strides)
    boxes_cxcywh, scores, labels = select(predictions, 0, 0.005)
    assert (predictions.objectness > 0.005).sum() == pytest.approx(counts["objectness_above"], abs=2)
    assert len(scores) == pytest.approx(counts["box_class_pairs_before_nms"], abs=10)
    if network.name == "yolov3-416":  # suppression in twice as many pairs would show nothing more and take its time
        return
    kept = non_maximum_suppression(network.frame.to_picture(boxes_cxcywh), scores, labels, 0.45)
    assert len(kept) == pytest.approx(counts["box_class_pairs_after_nms"], abs=10)
    assert scores[kept].sum() == pytest.approx(counts["sum_of_probabilities_after_nms"], rel=1e-4)
