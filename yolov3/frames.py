"""Where moving pictures come from: a folder of frames, a video file or a camera.

Videos are read by PyAV (FFmpeg's libraries), which comes with the extra ``video``.
"""

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from queue import Empty, Queue

import numpy as np

from yolov3.data.files import pictures_in
from yolov3.errors import UserError
from yolov3.image import LARGEST_PICTURE, load_image

FOLDER_RATE = 25  # frames per second of a folder of frames, unless another is asked for
HIGHEST_RATE = 1000  # frames per second; what claims more is damaged
CAMERA_WAIT = 10  # seconds without a picture after which a camera counts as gone


@dataclass(frozen=True)
class Frame:
    """One frame: its file's name or its number from 0, when it is shown, and its picture."""

    name: str | int
    seconds: Fraction  # after the first frame
    image: np.ndarray  # (height, width, 3) uint8 RGB


@dataclass
class Frames:
    """A moving picture that can be gone through once: an iterator of :class:`Frame`, all of one size."""

    name: str  # without folder and ending
    rate: Fraction  # frames per second, on average
    tick: Fraction  # seconds: the unit in which its times are written
    count: int | None  # how many frames it says it has; None where that is unknown
    iterator: Iterator[Frame]
    problems: list[str] = field(default_factory=list)  # a sentence for each thing that had to be left out
    close: Callable[[], None] = lambda: None

    def __iter__(self):
        return self.iterator

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def open_frames(source, rate=None, limit=None):
    """Open a moving picture: :class:`Frames`, a context manager that closes it.

    ``source``: a folder of pictures (in the natural order of their names: frame2 before frame10), a video file, or
    the number of a camera, such as ``0``.
    ``rate``: frames per second; of a folder (default 25), or to ask of a camera.  A video file has its own.
    ``limit``: end after this many frames; a camera does not end by itself.

    Video frames are upright and have square pixels, as a player shows them; all have the size of the first.  In a
    folder a picture that cannot be read, or of another size, is passed over and named in ``problems``, and so are
    damaged parts of a video file.  Of a camera the newest picture is taken: those that come meanwhile are lost.

    UserError for a source that is absent, cannot be opened or is no video, and where PyAV is not installed.
    """
    pyav()
    source = os.fspath(source) if isinstance(source, os.PathLike) else str(source)
    if rate is not None:
        if not 0.001 <= rate <= HIGHEST_RATE:
            raise UserError(f"{rate} frames per second are not possible: use a number such as 25")
        rate = Fraction(rate).limit_denominator(1001)
    if source.isdecimal() and len(source) <= 3:
        frames = _open_camera(int(source), rate)
    elif os.path.isdir(source):
        frames = _open_folder(Path(source), rate or Fraction(FOLDER_RATE))
    elif not os.path.exists(source):
        raise UserError(f"{source}: no such file or folder; a camera is a number, such as 0")
    elif rate:
        raise UserError(f"{source}: a video file has its own frames per second: leave out --fps")
    else:
        frames = _open_file(Path(source))
    frames.iterator = islice(frames.iterator, limit)
    if limit is not None:
        frames.count = limit if frames.count is None else min(limit, frames.count)
    return frames


def pyav():
    """The module ``av``.  UserError where it is not installed: it comes with the extra ``video``."""
    try:
        import av
    except ImportError as error:
        raise UserError("videos need PyAV, which is not installed: run pip install -e '.[video]'") from error
    return av


def _open_folder(folder, rate):
    pictures = sorted(pictures_in(folder), key=lambda picture: _natural_order(picture.name))
    if not pictures:
        raise UserError(f"{folder}: this folder holds no pictures")
    problems = []
    frames = _read_pictures(pictures, 1 / rate, problems)
    return Frames(folder.resolve().name or "frames", rate, 1 / rate, len(pictures), frames, problems)


def _natural_order(name):
    """A key to sort by in which numbers count as numbers: text and numbers take turns in it, beginning with text."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if index % 2 else part.lower() for index, part in enumerate(parts)], name


def _read_pictures(pictures, tick, problems):
    first = None
    for index, picture in enumerate(pictures):
        try:
            image = load_image(picture)
        except UserError as error:
            problems.append(str(error))
            continue
        first = image.shape if first is None else first
        if image.shape != first:
            sizes = f"is {image.shape[1]}x{image.shape[0]}, the first one {first[1]}x{first[0]}"
            problems.append(f"{picture}: this frame {sizes}; all must be of one size")
            continue
        yield Frame(picture.name, index * tick, image)


def _open_file(path):
    # "file:", because a name such as "a:b.mp4" means a protocol to FFmpeg.  A playlist in the file may name addresses:
    # only files are opened.
    try:
        container, stream = _open_stream(f"file:{path}", options={"protocol_whitelist": "file"})
    except _NoVideo as error:
        raise UserError(f"{path}: this is not a video that can be read ({error}); convert or replace it") from error
    rate = _frame_rate(stream)
    count = stream.frames
    if not count and container.duration:  # some formats do not say it
        count = round(container.duration / 1_000_000 * rate)  # microseconds
    problems = []
    frames = _read_stream(container, stream, path, problems)
    return Frames(path.stem, rate, stream.time_base, count or None, frames, problems, container.close)


def _open_camera(number, rate):
    kind, device = _camera_device(number)
    # Without a rate, avfoundation asks for one that few cameras have.
    rate = rate or (Fraction(30) if kind == "avfoundation" else None)
    try:
        container, stream = _open_stream(device, format=kind, options={"framerate": str(rate)} if rate else {})
    except _NoVideo as error:
        raise UserError(
            f"camera {number} ({device}) cannot be opened ({error}): check that it is connected, that no other "
            "program uses it and that this one is allowed to"
        ) from error
    problems = []
    newest = _Newest(_read_stream(container, stream, f"camera {number}", problems), f"camera {number}", problems)

    def close():
        if newest.stop():  # closed while it is being read, FFmpeg would crash
            container.close()

    return Frames(f"camera-{number}", _frame_rate(stream), stream.time_base, None, newest.frames(), problems, close)


def _camera_device(number):
    """Which of FFmpeg's input devices reads cameras on this system, and what it calls camera ``number``."""
    if sys.platform == "win32":
        av = pyav()
        try:
            devices = av.device.enumerate_input_devices("dshow")
        except (av.FFmpegError, ValueError):  # as it answers where there is none
            devices = []
        cameras = [device.name for device in devices if "video" in device.media_types]
        if number >= len(cameras):
            raise UserError(f"there is no camera {number}: {len(cameras)} found, counted from 0")
        return "dshow", f"video={cameras[number]}"
    if sys.platform == "darwin":
        return "avfoundation", f"{number}:none"  # no microphone
    return "v4l2", f"/dev/video{number}"


class _NoVideo(Exception):
    """Why something cannot be opened as a video."""


def _open_stream(name, **arguments):
    """FFmpeg's container and its video stream."""
    av = pyav()
    try:
        container = av.open(name, **arguments)
    except (av.FFmpegError, ValueError) as error:  # ValueError: unknown to FFmpeg as it was built
        raise _NoVideo(getattr(error, "strerror", None) or error) from error
    stream = container.streams.best("video")
    if stream is None or stream.codec_context is None:
        container.close()
        raise _NoVideo("there are no pictures in it" if stream is None else "its codec is unknown")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > LARGEST_PICTURE:
        container.close()
        raise _NoVideo(f"{width}x{height} are more than {LARGEST_PICTURE:,} pixels")
    stream.codec_context.options = {"max_pixels": str(LARGEST_PICTURE)}  # a later part of it may claim another size
    stream.thread_type = "AUTO"
    return container, stream


def _frame_rate(stream):
    rate = stream.average_rate or stream.guessed_rate
    return Fraction(rate) if rate and 0 < rate <= HIGHEST_RATE else Fraction(FOLDER_RATE)


def _read_stream(container, stream, name, problems):
    """The frames of a file or a camera, each at its time after the first."""
    usual_step = 1 / _frame_rate(stream)
    seconds, stamp = Fraction(0), None
    for number, (frame, image) in enumerate(_decode(container, stream, name, problems)):
        previous, stamp = stamp, None if frame.pts is None else frame.pts * frame.time_base
        if number:
            # Some streams have no time stamps, and where films were joined these may run backwards.
            step = 0 if None in (previous, stamp) else stamp - previous
            seconds += step if step * HIGHEST_RATE >= 1 else usual_step
        yield Frame(number, seconds, image)


def _decode(container, stream, name, problems):
    """FFmpeg's frames, in the order in which they are shown, with their pictures; damaged ones are left out."""
    packets, size, damaged = container.demux(stream), None, 0
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            for frame in packet.decode():
                size = size or (_square_pixels_width(frame.width, stream.sample_aspect_ratio), frame.height)
                yield frame, _picture(frame, size)
        except pyav().FFmpegError:
            damaged += 1
    if damaged:
        problems.append(f"{name}: what is damaged in this video ({damaged} places) is left out; replace it")


def _square_pixels_width(width, aspect):
    """The width of a picture whose pixels are ``aspect`` times as wide as high, in square pixels."""
    return round(width * aspect) if aspect and 0.25 <= aspect <= 4 else width  # anything else is nonsense


def _picture(frame, size):
    """The picture (height, width, 3) uint8 RGB of FFmpeg's frame, scaled to (width, height), then turned upright."""
    image = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    quarter_turns = round(frame.rotation / 90)  # to the left
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


class _Newest:
    """Reads frames in a thread of its own and hands out the newest: a camera does not wait until one is worked on."""

    def __init__(self, frames, name, problems):
        self.name, self.problems = name, problems
        self.newest = Queue(maxsize=1)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._collect, args=(frames,), daemon=True)

    def frames(self):
        self.thread.start()
        while True:
            try:
                frame = self.newest.get(timeout=CAMERA_WAIT)
            except Empty:
                self.problems.append(f"{self.name} has sent no picture for {CAMERA_WAIT} seconds: check its cable")
                return
            if frame is None:
                return
            if isinstance(frame, Exception):
                raise frame
            yield frame

    def stop(self):
        """End the thread; False if it does not end, because it waits for the camera."""
        self.stopped.set()
        if self.thread.ident is not None:
            self.thread.join(timeout=2)
        return not self.thread.is_alive()

    def _collect(self, frames):
        end = None
        try:
            for frame in frames:
                self._put(frame)
                if self.stopped.is_set():
                    break
        except Exception as error:  # for the thread that takes the frames
            end = error
        self._put(end)

    def _put(self, frame):
        with suppress(Empty):
            self.newest.get_nowait()  # nobody wants it any more
        self.newest.put(frame)
