"""COCO's own program, asked about the files that ``yolov3 val --save-json`` writes."""

import contextlib
import io

import numpy as np
import pytest

NUMBERS = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
NUMBERS += ["ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"]


def pycocotools_figures(folder):
    """The twelve numbers of pycocotools for the two files in a folder."""
    coco_module = pytest.importorskip("pycocotools.coco")
    evaluation_module = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_module.COCO(str(folder / "coco_truth.json"))
        found = truth.loadRes(str(folder / "coco_detections.json"))
        evaluation = evaluation_module.COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [np.nan if value == -1 else value for value in evaluation.stats]
