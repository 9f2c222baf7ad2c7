"""Frames of folders, video files and cameras: which, when, which way up, and what cannot be read."""

import os
import threading
import wave
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from yolov3 import frames as frames_module
from yolov3.errors import UserError
from yolov3.frames import _Newest, open_frames

av = pytest.importorskip("av", reason="needs the extra 'video'")

from tests.yolov3.tiny_videos import moving_red, write_video  # noqa: E402  (needs PyAV)


def read_all(source, **options):
    """What open_frames says of a source, and all its frames."""
    with open_frames(source, **options) as frames:
        return frames, list(frames)


def assert_alike(image, expected, tolerance=12):
    """The same picture but for what a video's compression changes."""
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < tolerance


# --- a folder -----------------------------------------------------------------------------------


@pytest.fixture
def folder(in_tmp_path):
    """A folder of three frames whose order as text is another, and things that are no frames."""
    folder = in_tmp_path / "walk"
    (folder / "inner").mkdir(parents=True)
    for name, grey in {"Frame2.png": 20, "frame1.png": 10, "frame10.png": 100, "inner/frame3.png": 30}.items():
        Image.new("RGB", (60, 40), (grey, 0, 255)).save(folder / name)
    (folder / "notes.txt").write_text("no frame")
    return folder


@pytest.mark.parametrize(("options", "rate"), [({}, 25), ({"rate": 12.5}, Fraction(25, 2)), ({"rate": 30}, 30)])
def test_a_folder_in_natural_order(folder, options, rate):
    frames, found = read_all(folder, **options)
    assert (frames.name, frames.rate, frames.count, frames.problems) == ("walk", rate, 3, [])
    assert [frame.name for frame in found] == ["frame1.png", "Frame2.png", "frame10.png"]
    assert [frame.seconds for frame in found] == [0, 1 / Fraction(rate), 2 / Fraction(rate)]
    assert [frame.image[0, 0].tolist() for frame in found] == [[10, 0, 255], [20, 0, 255], [100, 0, 255]]


def test_frames_that_cannot_be_used_are_named_and_passed_over(folder):
    (folder / "frame0.png").write_text("no picture")
    Image.new("RGB", (40, 60)).save(folder / "frame5.png")
    frames, found = read_all(folder)
    assert [frame.name for frame in found] == ["frame1.png", "Frame2.png", "frame10.png"]
    assert [frame.seconds * 25 for frame in found] == [1, 2, 4]
    unreadable, other_size = frames.problems
    assert unreadable.startswith(str(folder / "frame0.png"))
    assert other_size.startswith(str(folder / "frame5.png"))
    assert "40x60, the first one 60x40" in other_size


def test_the_folder_one_is_in(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert open_frames(".").name == "walk"


# --- a file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "ffv1", "bgr0"),
        ("a.avi", "mjpeg", "yuvj444p"),
        ("a.mov", "libx264", "yuv420p10le"),
        ("a.mpg", "mpeg2video", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
        ("file:a%02d.mp4", "libx264", "yuv420p"),
    ],
)
def test_files_of_every_kind(in_tmp_path, name, codec, pixels):
    images = moving_red()
    if os.name == "nt":
        name = name.replace(":", "")
    os.rename(write_video(f"video{Path(name).suffix}", images, codec=codec, pixels=pixels), name)
    frames, found = read_all(name)
    assert (frames.name, frames.rate, frames.problems) == (Path(name).stem, 25, [])
    assert frames.count == 10 or name == "a.mpg"  # which says how long it is, but not exactly
    assert [frame.name for frame in found] == list(range(10))
    assert [round(frame.seconds * 25, 2) for frame in found] == list(range(10))
    for frame, image in zip(found, images, strict=True):
        assert_alike(frame.image, image, tolerance=20)  # GIF has few colours
        assert frame.image[28, 18 + 2 * frame.name, 0] > 200  # red is red
        assert frame.image[28, 18 + 2 * frame.name, 2] < 60


@pytest.mark.parametrize(("width", "height"), [(63, 47), (1, 1), (2, 300)])
def test_odd_sizes(tmp_path, width, height):
    images = [np.full((height, width, 3), (200, 100, 50), np.uint8)] * 3
    _, found = read_all(write_video(tmp_path / "a.mkv", images, codec="ffv1", pixels="bgr0"))
    assert [frame.image.tolist() for frame in found] == [image.tolist() for image in images]


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(5, 2), Fraction(60)])
def test_rates_are_exact(tmp_path, rate):
    frames, found = read_all(write_video(tmp_path / "a.mp4", moving_red(5), rate))
    assert frames.rate == rate
    assert [frame.seconds * rate for frame in found] == list(range(5))


def test_a_rate_that_is_nonsense(tmp_path):
    path = write_video(tmp_path / "a.avi", moving_red(5), codec="mjpeg", pixels="yuvj444p")
    content = path.read_bytes()
    place = content.index(b"strh") + 32  # dwRate of the stream's header
    path.write_bytes(content[:place] + (2**31 - 1).to_bytes(4, "little") + content[place + 4 :])
    frames, found = read_all(path)
    assert frames.rate == 25
    assert [frame.seconds * 25 for frame in found] == list(range(5))


def test_a_variable_rate(tmp_path):
    stamps = [500, 533, 633, 1133, 1633]  # such as a telephone writes, and not from 0
    write_video(tmp_path / "a.mkv", moving_red(5), stamps=stamps, tick=Fraction(1, 1000))
    _, found = read_all(tmp_path / "a.mkv")
    assert [frame.seconds * 1000 for frame in found] == [0, 33, 133, 633, 1133]


def test_no_time_stamps(tmp_path):
    _, found = read_all(write_video(tmp_path / "a.h264", moving_red(5)))
    assert [frame.seconds * 25 for frame in found] == list(range(5))


def test_joined_files(tmp_path):
    parts = [
        write_video(tmp_path / "1.ts", moving_red(4)),
        write_video(tmp_path / "2.ts", moving_red(4, 128, 96)),
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    _, found = read_all(tmp_path / "a.ts")
    assert [frame.image.shape for frame in found] == [(48, 64, 3)] * 8
    assert [later.seconds - frame.seconds for frame, later in pairwise(found)] == [Fraction(1, 25)] * 7
    assert_alike(found[4].image, moving_red(1, 128, 96)[0][::2, ::2])


TURNS = {  # the matrix of an MP4 file, in whole numbers, and where the picture's upper left corner comes to lie
    "as it is": ((1, 0, 0, 1), (0, 0)),
    "quarter to the right": ((0, 1, -1, 0), (0, -1)),
    "half": ((-1, 0, 0, -1), (-1, -1)),
    "quarter to the left": ((0, -1, 1, 0), (-1, 0)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_telephone_held_sideways(tmp_path, turn):
    matrix, corner = TURNS[turn]
    image = np.full((48, 64, 3), 40, np.uint8)
    image[:16, :16] = 255, 0, 0  # in the upper left corner as it is stored
    path = write_video(tmp_path / "a.mp4", [image] * 3)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2: a, b, u, c, d, v, ... in 16.16 fixed point
    for index, value in zip((0, 1, 3, 4), matrix, strict=True):
        content[place + 4 * index : place + 4 * index + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    _, found = read_all(path)
    assert found[0].image.shape == ((64, 48, 3) if "quarter" in turn else (48, 64, 3))
    red = [place for place in ((0, 0), (0, -1), (-1, 0), (-1, -1)) if found[0].image[place][0] > 150]
    assert red == [corner]


def test_a_turned_video_as_opencv_shows_it(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = write_video(tmp_path / "a.mp4", moving_red(3))
    content = path.read_bytes()
    place = content.index(b"tkhd") + 44
    matrix = b"".join(number.to_bytes(4, "big", signed=True) for number in (0, 65536, 0, -65536, 0, 0))
    path.write_bytes(content[:place] + matrix + content[place + 24 :])
    _, found = read_all(path)
    _, image = cv2.VideoCapture(str(path)).read()
    assert_alike(found[0].image, image[..., ::-1], tolerance=3)


def test_pixels_that_are_not_square(tmp_path):
    write_video(tmp_path / "a.mkv", moving_red(2), aspect=Fraction(4, 3))
    _, found = read_all(tmp_path / "a.mkv")
    assert found[0].image.shape == (48, 85, 3)


@pytest.mark.parametrize("colours", [1, 5])  # ITU-R BT.709 and BT.601
def test_the_file_says_which_yuv_it_means(tmp_path, colours):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.colorspace = colours
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (30, 200, 90), np.uint8), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709" if colours == 1 else "ITU601")
        container.mux(stream.encode(frame) + stream.encode(None))
    _, found = read_all(tmp_path / "a.mkv")
    np.testing.assert_allclose(found[0].image[20, 20], (30, 200, 90), atol=3)


def test_damaged_parts_are_left_out(tmp_path):
    path = write_video(tmp_path / "a.avi", moving_red(), codec="png", pixels="rgb24")
    content = bytearray(path.read_bytes())
    third = [place for place in range(len(content)) if content.startswith(b"IHDR", place)][2]
    content[third : third + 12] = bytes(12)
    path.write_bytes(content)
    frames, found = read_all(path)
    assert len(found) == 9
    (problem,) = frames.problems
    assert str(path) in problem
    assert "damaged" in problem


def test_a_limit(tmp_path, folder):
    path = write_video(tmp_path / "a.mp4", moving_red())
    for source, limit, count in ((path, 4, 4), (path, 40, 10), (folder, 2, 2)):
        frames, found = read_all(source, limit=limit)
        assert frames.count == len(found) == count


# --- what is no moving picture ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ("absent.mp4", {}, "no such file or folder"),
        ("x" * 5000, {}, "no such file"),
        ("12345", {}, "no such file or folder; a camera is a number"),
        ("", {}, "no such file"),
        ("a\0b.mp4", {}, "no such file"),
        ("empty", {}, "holds no pictures"),
        ("empty.mp4", {}, "not a video"),
        ("text.mp4", {}, "not a video"),
        ("cut.mp4", {}, "not a video"),
        ("sound.wav", {}, "there are no pictures in it"),
        ("whole.mp4", {"rate": 30}, "its own frames per second: leave out --fps"),
        ("frames", {"rate": 0}, "0 frames per second are not possible"),
        ("frames", {"rate": float("nan")}, "not possible"),
    ],
)
def test_one_sentence_says_what_is_wrong(in_tmp_path, source, options, says):
    Path("empty").mkdir()
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("no video" * 100)
    Path("frames").mkdir()
    Image.new("RGB", (60, 40)).save("frames/1.png")
    content = write_video(Path("whole.mp4"), moving_red()).read_bytes()
    Path("cut.mp4").write_bytes(content[: len(content) // 2])
    with wave.open("sound.wav", "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "NONE"))
        sound.writeframes(bytes(16000))
    with pytest.raises(UserError, match=says) as error:
        open_frames(source, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_never_breaks_more_than_the_video(tmp_path, seed):
    random = np.random.default_rng(seed)
    content = np.frombuffer(write_video(tmp_path / "a.mp4", moving_red(5)).read_bytes(), np.uint8).copy()
    content[random.integers(len(content), size=20)] = random.integers(256, size=20)
    (tmp_path / "a.mp4").write_bytes(content[: random.integers(len(content)) if seed % 3 == 0 else None])
    try:
        _, found = read_all(tmp_path / "a.mp4", limit=20)
    except UserError:
        return
    assert all(frame.image.ndim == 3 for frame in found)


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(frames_module.sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[video\]'"):
        open_frames(tmp_path)


# --- a camera -----------------------------------------------------------------------------------


@pytest.fixture
def camera(tmp_path, monkeypatch):
    """Function: on this system, a camera that shows a video of 5 frames; returns what FFmpeg was asked for."""
    video = write_video(tmp_path / "camera.mkv", moving_red(5))
    asked = []

    def make(system, devices=()):
        monkeypatch.setattr(frames_module, "sys", SimpleNamespace(platform=system))
        monkeypatch.setattr(av.device, "enumerate_input_devices", lambda kind: asked.append(kind) or devices)
        real_open = av.open
        monkeypatch.setattr(av, "open", lambda name, **options: asked.append((name, options)) or real_open(str(video)))
        return asked

    return make


@pytest.mark.parametrize(
    ("system", "source", "rate", "expected"),
    [
        ("linux", "0", None, [("/dev/video0", {"format": "v4l2", "options": {}})]),
        ("linux", 12, 15, [("/dev/video12", {"format": "v4l2", "options": {"framerate": "15"}})]),
        ("darwin", "1", None, [("1:none", {"format": "avfoundation", "options": {"framerate": "30"}})]),
        ("darwin", "1", 12.5, [("1:none", {"format": "avfoundation", "options": {"framerate": "25/2"}})]),
        ("win32", "1", None, ["dshow", ("video=Second Camera", {"format": "dshow", "options": {}})]),
    ],
)
def test_which_camera_is_asked_for(camera, system, source, rate, expected):
    names = {"Microphone": "audio", "Camera": "video", "Second Camera": "video"}
    asked = camera(system, [SimpleNamespace(name=name, media_types=[kind]) for name, kind in names.items()])
    with open_frames(source, rate) as frames:
        assert (frames.name, frames.count) == (f"camera-{source}", None)
        shown = list(frames)
    assert asked == expected
    assert shown
    assert shown[0].image.shape == (48, 64, 3)


def test_a_camera_that_windows_does_not_have(camera):
    camera("win32")
    with pytest.raises(UserError, match="there is no camera 0: 0 found"):
        open_frames("0")


@pytest.mark.parametrize("number", [2, 5, 13, 16])  # absent, does not answer, not allowed, in use
def test_a_camera_that_cannot_be_opened(monkeypatch, number):
    def refuse(name, **options):
        av.error.err_check(-number, name)

    monkeypatch.setattr(frames_module, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(UserError) as error:
        open_frames("3")
    assert str(error.value).startswith(f"camera 3 (/dev/video3) cannot be opened ({os.strerror(number)}): check that")


def test_only_the_newest_picture_of_a_camera_counts():
    begin, all_sent, end, problems = threading.Event(), threading.Event(), threading.Event(), []

    def sent():
        yield "first"
        begin.wait(5)
        yield from ("second", "third", "fourth")
        all_sent.set()
        end.wait(5)

    newest = _Newest(sent(), "camera 0", problems)
    frames = newest.frames()
    assert next(frames) == "first"
    begin.set()
    all_sent.wait(5)
    assert next(frames) == "fourth"
    end.set()
    assert list(frames) == []
    assert newest.stop()
    assert problems == []


def test_a_camera_that_falls_silent(monkeypatch):
    monkeypatch.setattr(frames_module, "CAMERA_WAIT", 0.05)
    unplugged, problems = threading.Event(), []

    def sent():
        yield "first"
        unplugged.wait(5)

    newest = _Newest(sent(), "camera 0", problems)
    assert list(newest.frames()) == ["first"]
    assert len(problems) == 1
    assert problems[0].startswith("camera 0 has sent no picture for")
    unplugged.set()
    assert newest.stop()


def test_what_goes_wrong_while_a_camera_is_read_is_not_lost():
    def sent():
        raise MemoryError
        yield

    with pytest.raises(MemoryError):
        list(_Newest(sent(), "camera 0", []).frames())


def test_a_camera_that_was_never_read_can_be_closed(camera):
    camera("linux")
    open_frames("0").close()
