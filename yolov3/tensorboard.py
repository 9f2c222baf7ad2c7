"""A run's curves and pictures for TensorBoard, by the package ``tensorboard`` alone (no TensorFlow, no PyTorch).

An event file is a list of records that say "at step 1200 the value of loss/total is 3.4".  The numbers are those of
``results.csv``, so it gets a few kilobytes an epoch, and the pictures.
"""

import socket
import time

from yolov3.errors import UserError
from yolov3.loss import LossTerms
from yolov3.runs import writing

FILES = "events.out.tfevents.*"
GROUPS = {"loss": "loss/total", **{name: f"loss/{name}" for name in LossTerms.names}}
GROUPS |= {name: f"validation/{name}" for name in ("mAP50", "mAP50_95")}
AXES = ("epoch", "step")  # columns of results.csv that are no curves


def has_events(folder):
    """Whether a run has been writing event files."""
    return any(folder.glob(FILES))


def load_tensorboard():
    """The two modules of the package that are needed here.  Raises UserError, saying what to install, without it."""
    try:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer import record_writer
    except ImportError as error:
        raise UserError(
            "TensorBoard's files need its package: pip install 'yolov3-from-scratch[tensorboard]'"
        ) from error
    return event_pb2, record_writer


class EventFile:
    """A new event file in the folder of a run.

    ``rows``: those of ``results.csv`` so far.  A run that goes on writes a further file, and says in it that what a
    killed run wrote behind its last checkpoint is void; one that had no event file until now first writes ``rows``.

    Raises UserError where the package is missing or the file cannot be written.
    """

    def __init__(self, folder, rows):
        event_pb2, record_writer = load_tensorboard()
        self._event, self._record_writer = event_pb2.Event, record_writer.RecordWriter
        is_first = not has_events(folder)
        self.path = folder / FILES.replace("*", f"{time.time_ns()}.{socket.gethostname()}")
        self._write(file_version="brain.Event:2")
        if is_first:
            for row in rows:
                self.scalars(row)
        else:
            done = rows[-1]["step"] if rows else 0
            self._write(session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START), step=done + 1)

    def scalars(self, row):
        """One point of every curve: a row of ``results.csv``."""
        values = {name: value for name, value in row.items() if name not in AXES}
        self._summary([{"tag": _tag(name), "simple_value": value} for name, value in values.items()], row["step"])

    def picture(self, path, step):
        """A PNG file, under its name without the ending."""
        from PIL import Image

        with Image.open(path) as image:
            width, height = image.size
        picture = {"width": width, "height": height, "colorspace": 3, "encoded_image_string": path.read_bytes()}
        self._summary([{"tag": path.stem, "image": picture}], step)

    def _summary(self, values, step):
        self._write(summary={"value": values}, step=step)

    def _write(self, **content):
        event = self._event(wall_time=time.time(), **content)
        with writing(self.path), open(self.path, "ab") as file:
            self._record_writer(file).write(event.SerializeToString())


def _tag(name):
    """The name of a column's curve: TensorBoard puts together what is equal before the slash."""
    if name.startswith("matched_"):
        return f"matched/stride_{name.removeprefix('matched_')}"
    return GROUPS.get(name, f"training/{name}")
