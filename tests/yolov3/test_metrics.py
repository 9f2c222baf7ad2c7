"""The input of the metrics: conversion, defaults and refusals."""

import numpy as np
import pytest

from yolov3.metrics import PictureDetections, PictureTruth, mean_of_present

BOX = (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("boxes_xyxy", "scores", "labels", "message"),
    [
        ([[1, 2, 3]], [0.5], [0], "boxes_xyxy"),
        ([BOX], [0.5, 0.6], [0], "scores"),
        ([BOX], [np.nan], [0], "scores holds a value that is not finite"),
        ([BOX], [0.5], [], "labels"),
        ([[0, 0, np.inf, 1]], [0.5], [0], "boxes_xyxy holds a value that is not finite"),
    ],
)
def test_detections_that_do_not_fit_together(boxes_xyxy, scores, labels, message):
    with pytest.raises(ValueError, match=message):
        PictureDetections(boxes_xyxy, scores, labels)


@pytest.mark.parametrize(
    ("labels", "flags", "message"),
    [
        ([0, 1], {}, "labels"),
        ([0], {"crowd": []}, "crowd"),
        ([0], {"difficult": [0, 1]}, "difficult"),
        ([0], {"areas": [1, 2]}, "areas"),
    ],
)
def test_truth_that_does_not_fit_together(labels, flags, message):
    with pytest.raises(ValueError, match=message):
        PictureTruth([BOX], labels, **flags)


def test_input_is_converted_and_filled_in():
    picture = PictureTruth(np.float32([[0, 0, 2, 3]]), np.int32([4]))
    assert (picture.boxes_xyxy.dtype, picture.labels.dtype) == (np.float64, np.int64)
    assert picture.difficult.tolist() == picture.crowd.tolist() == [False]
    assert picture.areas.tolist() == [6]


def test_an_empty_list_stands_for_no_boxes():
    assert PictureDetections([], [], []).boxes_xyxy.shape == (0, 4)
    assert PictureTruth(np.zeros((0, 4)), []).difficult.shape == (0,)


def test_mean_leaves_nan_out():
    assert mean_of_present([1.0, np.nan, 2.0]) == 1.5
    assert np.isnan(mean_of_present([np.nan]))
