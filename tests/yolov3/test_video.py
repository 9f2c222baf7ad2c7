"""Detection in moving pictures: the video that is written, its times, what is drawn, and how it ends."""

import json
import os
import signal
import threading
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.yolov3.stub_networks import RedFinder, picture_with_red
from yolov3 import Detection, Detector
from yolov3 import video as video_module
from yolov3.draw import OKABE_ITO, class_colour
from yolov3.errors import UserError
from yolov3.frames import Frame, Frames, open_frames
from yolov3.runs import run_folder
from yolov3.video import detect_video, run_video

av = pytest.importorskip("av", reason="needs the extra 'video'")

from tests.yolov3.tiny_videos import moving_red, read_video, write_video  # noqa: E402  (needs PyAV)


def find_red(image):
    """A stub detector: the box of the strongly red pixels, as class 3."""
    red = (image[..., 0] > 180) & (image[..., 1] < 90) & (image[..., 2] < 90)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return [Detection(3, "red", 0.9, tuple(map(float, box)))]


def find_nothing(image):
    return []


def in_memory(images, rate=25, seconds=None):
    """Frames that come from no file."""
    tick = 1 / Fraction(rate)
    times = seconds or [index * tick for index in range(len(images))]
    frames = (Frame(index, *each) for index, each in enumerate(zip(times, images, strict=True)))
    return Frames("stub", Fraction(rate), Fraction(1, 1000) if seconds else tick, len(images), frames)


def pixel_drawn(image, x, y, colour, tolerance=60):
    """Whether a pixel has about this colour; thin lines lose some in a video, whose colours have half the pixels."""
    return np.abs(image[y, x].astype(int) - colour).max() < tolerance


# --- what is written ----------------------------------------------------------------------------


def test_a_video_with_boxes(tmp_path):
    path = tmp_path / "out.mp4"
    with open_frames(write_video(tmp_path / "in.mp4", moving_red(10, 320, 240), Fraction(30000, 1001))) as frames:
        summary = detect_video(find_red, frames, path)
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate) == (10, Fraction(30000, 1001))
    images, times = read_video(path)
    assert images.shape == (10, 240, 320, 3)
    np.testing.assert_allclose(times, np.arange(10) * 1001 / 30000, atol=1e-9)
    for index, ((name, seconds, (found,)), image) in enumerate(zip(summary.found, images, strict=True)):
        assert (name, seconds) == (index, index * Fraction(1001, 30000))
        left = 8 + 2 * index
        np.testing.assert_allclose(found.box_xyxy, (left, 20, left + 20, 36), atol=1)
        assert pixel_drawn(image, left + 12, 28, (255, 0, 0))  # in the box, where the video's red still is
        # The lower edge of the box, and its tag below it or beside it.
        assert pixel_drawn(image, left + 10, 35, class_colour(3))
        assert pixel_drawn(image, 300, 200, (40, 40, 40), tolerance=10)


def test_opencv_reads_it_too(tmp_path):
    cv2 = pytest.importorskip("cv2")
    red, green = np.zeros((2, 48, 64, 3), np.uint8)
    red[:], green[:] = (255, 0, 0), (20, 200, 90)
    detect_video(find_nothing, in_memory([red] * 5 + [green] * 5, 12), tmp_path / "out.mp4")
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    assert video.get(cv2.CAP_PROP_FPS) == 12
    images = [video.read()[1] for _ in range(10)]
    for image, colour in ((images[1], (255, 0, 0)), (images[8], (20, 200, 90))):
        assert pixel_drawn(image[..., ::-1], 40, 40, colour, tolerance=6)


@pytest.mark.parametrize(("width", "height"), [(63, 47), (64, 47), (63, 48)])
def test_odd_sides_become_even(tmp_path, width, height):
    image = np.full((height, width, 3), 40, np.uint8)
    image[-1], image[:, -1] = (240, 240, 240), (240, 240, 240)
    detect_video(find_nothing, in_memory([image] * 3), tmp_path / "out.mp4")
    images, _ = read_video(tmp_path / "out.mp4")
    assert images.shape == (3, height + height % 2, width + width % 2, 3)
    assert images[1, -1, -1].min() > 200  # the last row and column are white, and doubled where the side is odd
    assert images[1, -1 - height % 2, 20].min() > 200
    assert images[1, -4 - height % 2, -4 - width % 2].max() < 90


def test_a_frame_of_one_pixel(tmp_path):
    detect_video(find_nothing, in_memory([np.zeros((1, 1, 3), np.uint8)] * 3), tmp_path / "out.mp4")
    assert read_video(tmp_path / "out.mp4")[0].shape == (3, 2, 2, 3)


def test_times_are_kept(tmp_path):
    seconds = [Fraction(number, 1000) for number in (40, 73, 173, 673, 673, 1173)]
    summary = detect_video(find_nothing, in_memory(moving_red(6), 25, seconds), tmp_path / "out.mp4")
    _, times = read_video(tmp_path / "out.mp4")
    # From the first frame on, and no two at once.
    assert times == pytest.approx([0, 0.033, 0.133, 0.633, 0.634, 1.133], abs=1e-6)
    assert [float(seconds) for _, seconds, _ in summary.found] == pytest.approx([0, 0.033, 0.133, 0.633, 0.633, 1.133])


def test_the_speed_that_is_shown(tmp_path, monkeypatch):
    clock, spent, shown = [100.0], iter([1.0, 0.5, 0.5]), []

    def detector(image):
        clock[0] += next(spent)
        return []

    monkeypatch.setattr(video_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    drawn = video_module._drawn
    monkeypatch.setattr(video_module, "_drawn", lambda *given: shown.append(given[2]) or drawn(*given))
    images = [np.full((100, 200, 3), 250, np.uint8)] * 3
    summary = detect_video(detector, in_memory(images), tmp_path / "out.mp4")
    assert shown == pytest.approx([1, 1 / 0.95, 1 / 0.905])  # 0.9 of the mean so far, 0.1 of the newest
    assert summary.frames_per_second == pytest.approx(3 / 2)
    written, _ = read_video(tmp_path / "out.mp4")
    corner = written[0, :10, :30].reshape(-1, 3).astype(int)
    assert (np.abs(corner - OKABE_ITO[0]).max(axis=1) < 60).mean() > 0.3  # a tag...
    assert (corner.max(axis=1) < 90).any()  # ...with something written on it
    assert written[0, 50:, 100:].min() > 230


def test_a_detector_of_ours(tmp_path, checkpoint):
    detector = Detector(checkpoint, (192, 256))
    detector.model, detector.names = RedFinder(), ["red"]
    images = [picture_with_red(320, 240, (40, 80, 160, 200))] * 2
    (tmp_path / "frames").mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "frames" / f"{index}.png")
    with open_frames(tmp_path / "frames", rate=10) as frames:
        summary = detect_video(detector, frames, tmp_path / "out.mp4")
    assert [name for name, _, _ in summary.found] == ["0.png", "1.png"]
    np.testing.assert_allclose(summary.found[1][2][0].box_xyxy, (40, 80, 160, 200), atol=2)
    written, times = read_video(tmp_path / "out.mp4")
    assert times == [0, 0.1]
    for x, y in ((40, 140), (159, 140), (100, 199)):
        assert min(np.abs(written[0, y - 2 : y + 3, x - 2 : x + 3].astype(int) - OKABE_ITO[0]).max(axis=2).ravel()) < 60


def test_in_a_thread(tmp_path):
    work = threading.Thread(target=lambda: detect_video(find_red, in_memory(moving_red()), tmp_path / "out.mp4"))
    work.start()
    work.join()
    assert len(read_video(tmp_path / "out.mp4")[0]) == 10


# --- the whole run ------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """Function: run_video on frames in a run's folder; the lines it reports go to ``run.lines``."""

    def run(detector, frames, save_json=True):
        run.lines, run.folder = [], tmp_path / "run"
        with run_folder(tmp_path, "run") as folder:
            run_video(detector, frames, folder, save_json, run.lines.append)

    return run


def test_files_and_lines(run, capsys):
    run(find_red, in_memory(moving_red()))
    assert sorted(os.listdir(run.folder)) == ["detections.json", "stub.mp4"]
    found = json.loads((run.folder / "detections.json").read_text())
    assert [(each["frame"], each["seconds"]) for each in found] == [(i, i / 25) for i in range(10)]
    assert found[2]["detections"] == [
        {"class_id": 3, "class": "red", "score": 0.9, "box_xyxy": [12.0, 20.0, 32.0, 36.0]}
    ]
    first, last = run.lines
    assert first.startswith(f"{run.folder / 'stub.mp4'}: 10 frames, detection at ")
    assert last == str(run.folder)
    assert "10/10" in capsys.readouterr().err  # the progress bar


def test_without_json(run):
    run(find_red, in_memory(moving_red()), save_json=False)
    assert os.listdir(run.folder) == ["stub.mp4"]


def test_a_frame_that_had_to_be_left_out(run, tmp_path):
    (tmp_path / "frames").mkdir()
    for index, image in enumerate(moving_red(3)):
        Image.fromarray(image).save(tmp_path / "frames" / f"{index}.png")
    (tmp_path / "frames" / "0.png").write_text("no picture")
    with pytest.raises(UserError, match=r"0\.png"), open_frames(tmp_path / "frames") as frames:
        run(find_red, frames)
    assert run.lines[0].startswith("skipped: ")
    found = json.loads((run.folder / "detections.json").read_text())
    assert [(each["frame"], each["seconds"]) for each in found] == [("1.png", 0), ("2.png", 0.04)]
    assert read_video(run.folder / "frames.mp4")[1] == [0, 0.04]
    (tmp_path / "frames" / "2.png").write_text("no picture")
    run.folder.rename(tmp_path / "before")
    with pytest.raises(UserError, match=r"2 frames had to be left out, the first: .*0\.png"):
        run(find_red, open_frames(tmp_path / "frames"))


def test_no_frame_at_all(run, tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "0.png").write_text("no picture")
    with pytest.raises(UserError, match=r"0\.png"):
        run(find_red, open_frames(tmp_path / "frames"))
    assert not run.folder.exists()
    with pytest.raises(UserError, match="stub: this video has no frames"):
        run(find_red, in_memory([]))
    assert not run.folder.exists()


def test_what_goes_wrong_leaves_no_half_video(run):
    def detector(image):
        if image[28, 18, 0] < 100:  # once the red has moved on
            raise MemoryError
        return []

    with pytest.raises(MemoryError):
        run(detector, in_memory(moving_red(10)))
    assert not run.folder.exists()


def test_frames_too_large_for_h264(run):
    with pytest.raises(UserError, match=r"frames of 20000x2 cannot be encoded as H\.264"):
        run(find_nothing, in_memory([np.zeros((1, 20000, 3), np.uint8)]))
    assert not run.folder.exists()


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        detect_video(find_red, in_memory(moving_red()), tmp_path / "absent" / "out.mp4")


@pytest.mark.parametrize("room", [0, 1000])
def test_a_full_disk(tmp_path, monkeypatch, room):
    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, content):
            if self.file.tell() + len(content) > room:
                raise OSError(28, "No space left on device")
            return self.file.write(content)

        def __getattr__(self, name):
            return getattr(self.file, name)

    write_file = video_module.write_file
    monkeypatch.setattr(video_module, "write_file", lambda path, write: write_file(path, lambda f: write(Full(f))))
    with pytest.raises(UserError, match="No space left"):
        detect_video(find_red, in_memory(moving_red()), tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == []


# --- the command --------------------------------------------------------------------------------


def test_the_command(in_tmp_path, succeeds, checkpoint):
    write_video("in.mp4", moving_red())
    arguments = ("in.mp4", "--weights", checkpoint, "--conf-thres", 0.006, "--frames", 4, "--save-json")
    outcome = succeeds("video", *arguments)
    assert outcome.folder == os.path.join("runs", "video", "exp")
    assert outcome.lines[0].startswith(f"{os.path.join(outcome.folder, 'in.mp4')}: 4 frames, detection at ")
    assert sorted(os.listdir(outcome.folder)) == ["detections.json", "in.mp4"]
    assert len(read_video(os.path.join(outcome.folder, "in.mp4"))[0]) == 4


def test_the_command_with_a_folder_of_frames(in_tmp_path, succeeds, checkpoint):
    os.mkdir("walk")
    for index, image in enumerate(moving_red(3)):
        Image.fromarray(image).save(f"walk/{index}.png")
    outcome = succeeds("video", "walk", "--weights", checkpoint, "--fps", 10)
    assert read_video(os.path.join(outcome.folder, "walk.mp4"))[1] == [0, 0.1, 0.2]


@pytest.mark.parametrize("source", ["absent.mp4", "text.mp4", "999", "in.mp4"])
def test_the_command_refuses(in_tmp_path, refused, checkpoint, source):
    (in_tmp_path / "text.mp4").write_text("no video")
    write_video("in.mp4", moving_red(2))
    options = ("--fps", 10) if source == "in.mp4" else ()
    refused("video", source, "--weights", checkpoint, *options, says=[source])
    assert not os.path.exists("runs")


# --- Ctrl-C -------------------------------------------------------------------------------------


def press_control_c():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("when", ["detecting", "drawing", "writing"])
def test_control_c_keeps_the_frames_so_far(run, monkeypatch, when):
    before, calls = signal.getsignal(signal.SIGINT), []

    def pressing(function):
        def press_at_the_fifth(*arguments):
            calls.append(1)
            if len(calls) == 5:
                press_control_c()
            return function(*arguments)

        return press_at_the_fifth

    detector = pressing(find_red) if when == "detecting" else find_red
    if when == "drawing":
        monkeypatch.setattr(video_module, "_drawn", pressing(video_module._drawn))
    if when == "writing":
        monkeypatch.setattr(video_module._H264, "_encode", pressing(video_module._H264._encode))
    with pytest.raises(KeyboardInterrupt):
        run(detector, in_memory(moving_red()))
    # While it detects it stops at once; a frame that is being written becomes whole.
    count = 4 if when == "detecting" else 5
    images, times = read_video(run.folder / "stub.mp4")
    assert len(images) == len(times) == count
    assert pixel_drawn(images[-1], 10 + 2 * count + 4, 28, (255, 0, 0), tolerance=70)
    assert len(json.loads((run.folder / "detections.json").read_text())) == count
    assert f"stopped, a whole video of the first {count} frames" in run.lines[0]
    assert run.lines[1] == str(run.folder)
    assert signal.getsignal(signal.SIGINT) is before


def test_control_c_before_the_first_frame(run):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(lambda image: press_control_c(), in_memory(moving_red()))
    assert not run.folder.exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_control_c_that_is_ignored_stays_so(run, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as after `nohup`, or in the background
    try:
        run(lambda image: press_control_c() or [], in_memory(moving_red(3)))
        assert len(read_video(run.folder / "stub.mp4")[0]) == 3
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
