"""What each command of the command line does: read the input, call the library, say where the result is."""

from yolov3.commands.data import anchors, check_data, download
from yolov3.commands.detection import detect, val, video
from yolov3.commands.networks import compare_backbones, export, info
from yolov3.commands.training import demo, train

__all__ = [
    "anchors",
    "check_data",
    "compare_backbones",
    "demo",
    "detect",
    "download",
    "export",
    "info",
    "train",
    "val",
    "video",
]
