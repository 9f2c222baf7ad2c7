"""What each command of the command line does: read the input, call the library, say where the result is."""

from yolov3.commands.data import anchors, check_data, convert, download
from yolov3.commands.detection import detect, val, video
from yolov3.commands.networks import compare_backbones, export, info
from yolov3.commands.training import demo, overfit, train

__all__ = [
    "anchors",
    "check_data",
    "compare_backbones",
    "convert",
    "demo",
    "detect",
    "download",
    "export",
    "info",
    "overfit",
    "train",
    "val",
    "video",
]
