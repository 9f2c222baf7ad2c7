"""From heads to boxes in pictures: which pairs of box and class count, where boxes end, that pictures stay apart."""

import numpy as np
import pytest

from minidl import Tensor
from yolov3.decode import Predictions
from yolov3.image import Letterbox
from yolov3.model import build_model
from yolov3.postprocess import MOST_DETECTIONS, find_objects, predict, select


class FixedHead:
    """Stands in for a detector of one scale, one anchor 32x32 and two classes: returns given logits."""

    device = "cpu"
    strides = (32,)
    anchors = (np.array([[32.0, 32.0]]),)
    one_class_per_box = False

    def __init__(self, head):
        self.head = np.array(head, np.float32)

    def eval(self):
        return self

    def __call__(self, images):
        return (Tensor(self.head),)


def logit(p):
    return np.log(p / (1 - p))


def test_a_pair_counts_if_objectness_and_score_exceed_the_threshold():
    predictions = Predictions(
        boxes_cxcywh=np.arange(16.0).reshape(1, 4, 4),
        objectness=np.array([[0.9, 0.5, 0.8, 0.49]]),
        class_probabilities=np.array([[[0.9, 0.8], [1, 1], [0.3, 0.7], [1, 1]]]),
    )
    boxes_cxcywh, scores, labels = select(predictions, 0, 0.5)
    assert boxes_cxcywh.tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [8, 9, 10, 11]]  # two classes, then one
    np.testing.assert_allclose(scores, [0.81, 0.72, 0.56])
    assert labels.tolist() == [0, 1, 1]


def test_nothing_sure_enough():
    predictions = Predictions(np.zeros((1, 2, 4)), np.full((1, 2), 0.1), np.ones((1, 2, 3)))
    boxes_cxcywh, scores, labels = select(predictions, 0, 0.5)
    assert (boxes_cxcywh.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))
    frame = Letterbox.fit(50, 50, 32, 32)
    (found,) = find_objects(FixedHead(np.full((1, 1, 1, 7), -9)), np.zeros((1, 32, 32, 3)), [frame], 0.5, 0.45)
    assert found.boxes_xyxy.shape == (0, 4)


def test_boxes_in_pixels_of_the_picture_end_at_its_border():
    # A 200x100 picture in a 64x64 input: scale 0.32, 32 pixels high, 16 of grey above and below.
    head = np.full((1, 2, 2, 7), -9.0)
    head[0, 0, 1] = [0, 0, 0, -logit(2 / 3), logit(0.9), logit(0.8), -9]  # 32x16 at (48, 16)
    (found,) = find_objects(FixedHead(head), np.zeros((1, 64, 64, 3)), [Letterbox.fit(200, 100, 64, 64)], 0.5, 0.45)
    np.testing.assert_allclose(found.boxes_xyxy, [[100, 0, 200, 25]], atol=1e-4)  # rows 8 to 24: 8 of them are grey
    np.testing.assert_allclose(found.scores, [0.72], rtol=1e-6)
    assert found.labels.tolist() == [0]


def test_pictures_of_a_batch_do_not_touch_each_other():
    model = build_model("yolov3-nano", classes=2, seed=3)
    images = np.random.default_rng(0).random((3, 64, 96, 3), dtype=np.float32)
    frames = [Letterbox.fit(96, 64, 96, 64), Letterbox.fit(300, 200, 96, 64), Letterbox.fit(50, 100, 96, 64)]
    together = find_objects(model, images, frames, 0.001, 0.3)
    for index, frame in enumerate(frames):
        (alone,) = find_objects(model, images[index : index + 1], [frame], 0.001, 0.3)
        assert len(alone.scores) > 10
        np.testing.assert_array_equal(np.sort(alone.labels), np.sort(together[index].labels))
        np.testing.assert_allclose(alone.scores, together[index].scores, rtol=1e-4)


def test_prediction_uses_the_running_statistics():
    model = build_model("yolov3-nano", classes=2, seed=3).train()
    before = {path: array.copy() for path, array in model.state_dict().items()}
    predictions = predict(model, np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32))
    assert predictions.boxes_cxcywh.shape == (2, 3 * (4 + 16 + 64), 4)
    assert not model.training
    for path, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[path])


@pytest.mark.parametrize("confidence", [0.0005, 0.005])
def test_the_surest_come_first(confidence):
    model = build_model("yolov3-nano", classes=2, seed=3)
    images = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    (found,) = find_objects(model, images, [Letterbox.fit(64, 64, 64, 64)], confidence, 0.45)
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores > confidence).all()


def test_an_untrained_network_of_many_classes_ends_soon():
    # Every one of 507 boxes thinks all 80 classes possible: 40,560 pairs, none of which suppresses another.
    rng = np.random.default_rng(0)
    head = np.concatenate([rng.normal(0, 0.1, (1, 13, 13, 2)), np.full((1, 13, 13, 2), -6.0)], axis=-1)  # tiny boxes
    head = np.concatenate([head, rng.normal(0, 0.1, (1, 13, 13, 81))], axis=-1)
    frame = Letterbox.fit(416, 416, 416, 416)
    (found,) = find_objects(FixedHead(head), np.zeros((1, 416, 416, 3)), [frame], 0.005, 0.45)
    assert len(found.scores) == MOST_DETECTIONS
    predictions = predict(FixedHead(head), np.zeros((1, 416, 416, 3)))
    scores = np.sort(select(predictions, 0, 0.005)[1])[::-1]
    np.testing.assert_allclose(found.scores, scores[:MOST_DETECTIONS], rtol=1e-6)  # the surest of all
