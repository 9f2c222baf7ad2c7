"""Finding objects in a moving picture; what is found is drawn into a video.

Videos are written by PyAV (FFmpeg's libraries), which comes with the extra ``video``.
"""

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from yolov3.detect import Detection, draw_detections
from yolov3.draw import draw_boxes
from yolov3.errors import UserError
from yolov3.frames import pyav
from yolov3.progress import progress_bar
from yolov3.runs import write_file, write_json

SMOOTHING = 0.1  # share of the newest frame in the frames per second that are shown
BT_709 = 1  # in ITU-T H.273 the number of the primaries, the transfer and the YUV matrix of ITU-R BT.709


@dataclass
class VideoSummary:
    """What was found: per frame its name, its time and its detections; and the time that finding them took."""

    found: list[tuple[str | int, Fraction, list[Detection]]] = field(default_factory=list)
    detection_seconds: float = 0.0
    stopped: bool = False  # by Ctrl-C

    @property
    def frames_per_second(self):
        """The detector's speed, without reading, drawing and writing."""
        return len(self.found) / self.detection_seconds

    def as_json(self):
        """The frames in their order, as JSON values: ``[{"frame": ..., "seconds": ..., "detections": [...]}]``."""
        return [
            {"frame": name, "seconds": float(seconds), "detections": [each.as_json() for each in detections]}
            for name, seconds, detections in self.found
        ]


def run_video(detector, frames, folder, save_json=False, report=print):
    """Detect in :class:`Frames`; write ``folder/NAME.mp4`` and, with ``save_json``, ``folder/detections.json``.

    A progress bar shows how far it is; ``report`` is called with the lines that say what came of it.  After Ctrl-C
    the frames so far are kept as a whole video, and KeyboardInterrupt is raised.  UserError if there is no frame
    or, after all others have been written, if a frame had to be left out.
    """
    path = folder / f"{frames.name}.mp4"
    with progress_bar(frames.count, "frame") as bar:
        summary = detect_video(detector, frames, path, bar.update)
    if save_json:
        write_json(folder / "detections.json", summary.as_json())
    for problem in frames.problems:
        report(f"skipped: {problem}")
    count = f"{len(summary.found)} frame{'' if len(summary.found) == 1 else 's'}"
    stopped = "stopped, a whole video of the first " if summary.stopped else ""
    report(f"{path}: {stopped}{count}, detection at {summary.frames_per_second:.1f} frames per second")
    report(str(folder))
    if summary.stopped:
        raise KeyboardInterrupt
    if len(frames.problems) > 1:
        raise UserError(f"{len(frames.problems)} frames had to be left out, the first: {frames.problems[0]}")
    if frames.problems:
        raise UserError(frames.problems[0])


def detect_video(detector, frames, path, update=lambda: None):
    """Write :class:`Frames` to ``path`` as an MP4 video (H.264) with what ``detector`` finds drawn in.

    Every frame is shown when and as long as it was; sound is left out.  The detector's speed, as an exponentially
    weighted mean, stands in the upper left corner.  ``update`` is called after every frame.

    The file appears whole or not at all; Ctrl-C ends it early, with the frames so far.  Returns
    :class:`VideoSummary`.  UserError where there is no frame or nothing can be written.
    """
    summary = VideoSummary()
    with _HeldInterrupts() as interrupts:
        write_file(path, lambda file: _detect_into(file, detector, frames, summary, interrupts, update))
    return summary


def _detect_into(file, detector, frames, summary, interrupts, update):
    smoothed = None  # seconds a frame
    with _mp4(file) as container:
        video = None
        iterator = iter(frames)
        try:
            while True:
                # Elsewhere Ctrl-C has to wait: a frame half written would damage the video.
                with interrupts.allowed():
                    frame = next(iterator, None)
                    if frame is None:
                        break
                    start = time.perf_counter()
                    detections = detector(frame.image)
                    spent = time.perf_counter() - start
                smoothed = spent if smoothed is None else smoothed + SMOOTHING * (spent - smoothed)
                if video is None:
                    video, first = _H264(container, frame.image.shape, frames.rate, frames.tick), frame.seconds
                video.write(_drawn(frame.image, detections, 1 / smoothed), frame.seconds - first)
                summary.found.append((frame.name, frame.seconds - first, detections))
                summary.detection_seconds += spent
                update()
        except KeyboardInterrupt:
            if video is None:
                raise
            summary.stopped = True
        if video is None:
            raise UserError(frames.problems[0] if frames.problems else f"{frames.name}: this video has no frames")
        video.finish()


def _drawn(image, detections, rate):
    """A copy of the frame with the detections and, as a tag on its first pixel, the frames per second."""
    return draw_boxes(draw_detections(image, detections), [(0, 0, 1, 1)], [0], names=[f"{rate:.1f} fps"])


@contextmanager
def _mp4(file):
    """PyAV's container of an MP4 video that is written to an open file."""
    try:
        with pyav().open(file, "w", format="mp4") as container:
            yield container
    except pyav().FFmpegError as error:  # what closing says after the file itself could not be written
        raise OSError(str(error.__context__ or error)) from error


class _H264:
    """The one stream of an MP4 file, such as browsers play it: H.264, YUV with half the colours' resolution.

    That takes even sides: a last odd row or column of pixels is doubled.
    """

    def __init__(self, container, shape, rate, tick):
        self.container, self.rate, self.tick, self.last_tick = container, rate, tick, -1
        # Fast and a little larger than need be, because the processor is wanted for detection.
        self.stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20"})
        self.stream.height, self.stream.width = (side + side % 2 for side in shape[:2])
        self.stream.pix_fmt = "yuv420p"
        codec = self.stream.codec_context
        codec.time_base = tick
        # A player that is not told which matrix made the YUV has to guess by the picture's size.
        codec.colorspace = codec.color_primaries = codec.color_trc = BT_709

    def write(self, image, seconds):
        """Append a picture (height, width, 3) that is shown from ``seconds`` until the next one comes."""
        height, width = image.shape[:2]
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = pyav().VideoFrame.from_ndarray(image, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        self.last_tick = max(round(seconds / self.tick), self.last_tick + 1)  # no two at once
        frame.pts, frame.time_base = self.last_tick, self.tick
        self._encode(frame)

    def finish(self):
        """Write what the encoder still holds back."""
        self._encode(None)

    def _encode(self, frame):
        try:
            self.container.mux(self.stream.encode(frame))
        except pyav().FFmpegError as error:
            size = f"{self.stream.width}x{self.stream.height}"
            raise UserError(f"frames of {size} cannot be encoded as H.264 ({error.strerror}): use others") from error


class _HeldInterrupts:
    """Within this context Ctrl-C takes effect only within :meth:`allowed`, or else at the end."""

    def __enter__(self):
        self.pressed = False
        # Ctrl-C interrupts the main thread alone, and no other may set what it does.
        self.in_main_thread = threading.current_thread() is threading.main_thread()
        self.usual = signal.getsignal(signal.SIGINT)
        self._set(self._hold)
        return self

    def __exit__(self, *error):
        self._let_through()

    @contextmanager
    def allowed(self):
        try:
            self._let_through()
            yield
        finally:
            self._set(self._hold)

    def _hold(self, *signal_and_stack):
        self.pressed = True

    def _let_through(self):
        self._set(self.usual)
        if self.pressed:
            self.pressed = False
            signal.raise_signal(signal.SIGINT)

    def _set(self, handler):
        if self.in_main_thread:
            signal.signal(signal.SIGINT, handler)
