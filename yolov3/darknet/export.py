"""A detector of this project as the original's files, for the original program, OpenCV and other readers."""

from minidl import nn
from yolov3.darknet.cfg import format_cfg
from yolov3.darknet.trace import plan_of
from yolov3.darknet.weights import write_weights
from yolov3.runs import write_text

# By which rule each program normalises when it reads these files (spec 3.2).
READERS = {"darknet-gpu": nn.STANDARD, "darknet-cpu": nn.DARKNET_CPU, "opencv": nn.OPENCV}


def export_darknet(loaded, stem, rule=nn.STANDARD):
    """Write ``STEM.cfg``, ``STEM.weights`` and ``STEM.names``.

    loaded: a :class:`yolov3.loading.LoadedDetector`.  rule: that of the program which will read them; the variances are
    stored such that its results equal ours.  Raises UserError for a network that the original has no words for.
    """
    plan = plan_of(loaded.model, loaded.image_size)
    write_text(f"{stem}.cfg", format_cfg(plan, ", ".join(loaded.names)))
    write_weights(f"{stem}.weights", loaded.model, rule=rule)
    write_text(f"{stem}.names", "".join(f"{name}\n" for name in loaded.names))
