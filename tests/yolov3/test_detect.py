"""Detection: boxes in the picture's own pixels, the files written, and what may be asked for."""

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.hashing import hash_image
from tests.yolov3.stub_networks import FixedBoxes, RedFinder, picture_with_red
from yolov3 import Detection, Detector
from yolov3 import detect as detect_module
from yolov3.detect import detect_files, draw_detections, find_pictures
from yolov3.errors import UserError
from yolov3.image import load_image


def stub_detector(checkpoint, network, names, image_size):
    """A Detector with another network in it."""
    detector = Detector(checkpoint, image_size)
    detector.model, detector.names = network, names
    return detector


# --- boxes in the picture's pixels --------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "image_size", "box", "expected"),
    [
        # 200x100 into 64x64: scaled to 64x32, 16 rows of grey above.
        ((200, 100), (64, 64), (32, 32, 32, 16), (50, 25, 150, 75)),
        # 333x641 into 64 wide and 96 high: scaled to 49x96, a border of 7.5 columns; the box is the whole picture.
        ((333, 641), (96, 64), (32, 48, 49, 96), (0, 0, 333, 641)),
        # Its left quarter: 49 / 4 of 333 pixels.
        ((333, 641), (96, 64), (7.5 + 49 / 8, 48, 49 / 4, 48), (0, 641 / 4, 333 / 4, 641 * 3 / 4)),
        # A box that reaches into the grey ends at the picture's border.
        ((200, 100), (64, 64), (32, 32, 64, 64), (0, 0, 200, 100)),
        # 10x10 is enlarged to 64x64 in an input 96 wide, with a border of 16.
        ((10, 10), (64, 96), (48, 32, 32, 32), (2.5, 2.5, 7.5, 7.5)),
        # 1x1: no side of the scaled picture is 0.
        ((1, 1), (64, 64), (32, 32, 32, 32), (0.25, 0.25, 0.75, 0.75)),
        # 20000x10 is scaled to 64x1, with a border of 31.5 rows.
        ((20000, 10), (64, 64), (32, 32, 32, 0.5), (5000, 2.5, 15000, 7.5)),
    ],
)
def test_boxes_are_mapped_back_by_hand(checkpoint, picture, image_size, box, expected):
    network = FixedBoxes([(*box, 1, 0.75)], classes=2)
    detector = stub_detector(checkpoint, network, ["a", "b"], image_size)
    width, height = picture
    (found,) = detector(np.zeros((height, width, 3), np.uint8))
    assert (found.class_id, found.name) == (1, "b")
    assert found.score == pytest.approx(0.75, abs=1e-5)
    np.testing.assert_allclose(found.box_xyxy, expected, rtol=1e-5, atol=1e-4)
    assert all(isinstance(number, float) for number in (found.score, *found.box_xyxy))


@pytest.mark.parametrize("size", [(640, 480), (333, 641), (97, 31), (1000, 120)])
def test_a_thing_in_the_picture_is_found_where_it_is(checkpoint, tmp_path, size):
    width, height = size
    box = (width // 5, height // 3, width * 2 // 3, height * 4 // 5)
    Image.fromarray(picture_with_red(width, height, box)).save(tmp_path / "red.png")
    detector = stub_detector(checkpoint, RedFinder(), ["red"], (192, 256))
    (found,) = detector(tmp_path / "red.png")
    pixel = max(width / 256, height / 192)  # of the network's input, in pixels of the picture
    np.testing.assert_allclose(found.box_xyxy, box, atol=1.5 * pixel + 0.5)


def test_a_box_wholly_in_the_grey_border_shows_nothing(checkpoint):
    network = FixedBoxes([(32, 8, 20, 10, 0, 0.9), (32, 40, 20, 10, 0, 0.8)], classes=1)
    detector = stub_detector(checkpoint, network, ["a"], (64, 64))
    found = detector(np.zeros((100, 200, 3), np.uint8))  # 16 rows of grey above it
    assert [round(each.score, 3) for each in found] == [0.8]


def test_surest_first_and_below_the_threshold_none(checkpoint):
    boxes = [(16, 16, 20, 20, 0, 0.3), (48, 16, 20, 20, 1, 0.9), (16, 48, 20, 20, 0, 0.24)]
    detector = stub_detector(checkpoint, FixedBoxes(boxes, 2), ["a", "b"], (64, 64))
    assert [each.name for each in detector(np.zeros((64, 64, 3), np.uint8))] == ["b", "a"]


# --- from Python --------------------------------------------------------------------------------


def test_the_three_lines_of_the_readme(checkpoint, tmp_path, monkeypatch, capsys):
    shutil.copy(checkpoint, tmp_path / "last.npz")
    Image.fromarray(hash_image(90, 70, 1)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec('from yolov3 import Detector\ndetector = Detector("last.npz")\nprint(detector("photo.jpg"))', {})
    assert capsys.readouterr().out == "[]\n"  # an untrained one is sure of nothing


def test_a_picture_as_array_or_path(checkpoint, tmp_path):
    image = hash_image(90, 70, 1)
    Image.fromarray(image).save(tmp_path / "photo.png")
    detector = Detector(str(checkpoint), confidence=0.005)
    found = detector(image)
    assert len(found) > 5
    assert found == detector(str(tmp_path / "photo.png")) == detector(tmp_path / "photo.png")
    assert isinstance(found[0], Detection)
    assert found[0].as_json() == {
        "class_id": found[0].class_id,
        "class": found[0].name,
        "score": found[0].score,
        "box_xyxy": list(found[0].box_xyxy),
    }
    assert Detector(checkpoint, (96, 128), confidence=0.005)(image) != found


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 60), np.uint8),
        np.zeros((40, 60, 4), np.uint8),
        np.zeros((3, 40, 60), np.uint8),
        np.zeros((40, 60, 3), np.float64),
        np.zeros((0, 60, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_pictures(checkpoint, image):
    with pytest.raises(UserError, match=r"\(height, width, 3\) uint8"):
        Detector(checkpoint)(image)


def test_a_size_that_the_network_cannot_take(checkpoint):
    with pytest.raises(UserError, match="multiple of 32"):
        Detector(checkpoint, (100, 64))


def test_a_file_that_is_no_picture(checkpoint, tmp_path):
    (tmp_path / "a.jpg").write_text("no picture")
    for name in ("a.jpg", "absent.jpg"):
        with pytest.raises(UserError, match=name):
            Detector(checkpoint)(tmp_path / name)


# --- which pictures -----------------------------------------------------------------------------


@pytest.fixture
def pictures(in_tmp_path):
    """Folders a (with one inside) and b, with pictures of the same names; the current folder is theirs."""
    for path in ("a/one.png", "a/two.JPG", "a/inner/three.bmp", "b/one.png", "b/[1].png", "b/.hidden.png"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(hash_image(60, 40, len(path))).save(path)
    Path("a/notes.txt").write_text("no picture")
    Path("empty").mkdir()
    return in_tmp_path


def test_files_folders_and_patterns(pictures):
    def found(*sources):
        return [path.as_posix() for path in find_pictures(sources)]

    assert found("a") == ["a/one.png", "a/two.JPG"]
    assert found("b/one.png", "a/two.JPG") == ["b/one.png", "a/two.JPG"]
    assert found("*/one.png") == ["a/one.png", "b/one.png"]
    assert found("a/**/*.bmp") == ["a/inner/three.bmp"]
    assert found("b/[1].png") == ["b/[1].png"]
    assert found("b/[a-z]*.png") == ["b/one.png"]
    # Each once, where it comes first.
    assert found("a/two.JPG", "a", "./a/one.png", "*/one.png") == ["a/two.JPG", "a/one.png", "b/one.png"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("empty", "holds no pictures"),
        ("absent.jpg", "no such file"),
        ("absent/*.jpg", "no such file"),
        ("emp*", "no such file"),
        ("", "no such file"),
        ("x" * 5000, "no such file"),
    ],
)
def test_sources_without_pictures(pictures, source, says):
    with pytest.raises(UserError, match=says) as error:
        find_pictures(["a", source])
    assert str(error.value).startswith(source[:900])  # of a very long one the middle is left out


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def detect(succeeds, checkpoint):
    """Function that runs ``yolov3 detect`` with so low a threshold that the untrained network finds things."""
    return lambda *arguments: succeeds("detect", *arguments, "--weights", checkpoint, "--conf-thres", 0.006)


def test_files_written(pictures, detect):
    outcome = detect("a", "b/one.png", "--save-txt", "--save-json")
    assert outcome.folder == str(Path("runs/detect/exp"))
    folder = Path(outcome.folder)
    assert sorted(os.listdir(folder)) == ["detections.json", "labels", "one-2.png", "one.png", "two.png"]
    assert sorted(os.listdir(folder / "labels")) == ["one-2.txt", "one.txt", "two.txt"]
    found = json.loads((folder / "detections.json").read_text())
    assert [Path(name).as_posix() for name in found] == ["a/one.png", "a/two.JPG", "b/one.png"]
    for (name, detections), stem in zip(found.items(), ("one", "two", "one-2"), strict=True):
        assert detections
        image, drawn = load_image(name), load_image(folder / f"{stem}.png")
        assert drawn.shape == image.shape
        assert (drawn != image).any()
        lines = (folder / "labels" / f"{stem}.txt").read_text().splitlines()
        assert len(lines) == len(detections)
        for each, line in zip(detections, lines, strict=True):
            left, top, right, bottom = each["box_xyxy"]
            assert 0 <= left < right <= 60
            assert 0 <= top < bottom <= 40
            assert 0.006 < each["score"] <= 1
            assert each["class"] == ("circle", "square", "triangle")[each["class_id"]]
            label, *numbers = line.split()
            assert int(label) == each["class_id"]
            expected = ((left + right) / 120, (top + bottom) / 80, (right - left) / 60, (bottom - top) / 40)
            np.testing.assert_allclose([float(number) for number in numbers], [*expected, each["score"]], atol=1e-6)


def test_a_line_per_picture_on_stdout_and_the_bar_on_stderr(pictures, detect):
    outcome = detect("a")
    assert len(outcome.lines) == 3
    assert outcome.lines[0].startswith(f"{Path('a/one.png')}: ")
    assert not any("%|" in line for line in outcome.lines)
    assert "%|" in outcome.stderr
    assert outcome.errors == []
    assert sorted(os.listdir("runs/detect/exp")) == ["one.png", "two.png"]
    assert detect("a").folder == str(Path("runs/detect/exp2"))


def test_nothing_found_is_no_error(pictures, succeeds, checkpoint):
    outcome = succeeds("detect", "a/one.png", "--weights", checkpoint, "--save-txt", "--save-json")
    assert outcome.lines[0] == f"{Path('a/one.png')}: nothing"
    folder = Path(outcome.folder)
    assert json.loads((folder / "detections.json").read_text()) == {str(Path("a/one.png")): []}
    assert (folder / "labels" / "one.txt").read_text() == ""
    np.testing.assert_array_equal(load_image(folder / "one.png"), load_image("a/one.png"))


def test_pictures_of_every_kind(in_tmp_path, detect):
    for name, image in {
        "pixel.png": Image.new("RGB", (1, 1)),
        "wide.png": Image.new("RGB", (20000, 10)),
        "high.png": Image.new("RGB", (10, 20000)),
        "grey.jpg": Image.new("L", (50, 40)),
        "transparent.png": Image.new("RGBA", (50, 40)),
        "palette.gif": Image.new("P", (50, 40)),
    }.items():
        image.save(name)
    outcome = detect("*.*", "--save-json")
    found = json.loads(Path(outcome.folder, "detections.json").read_text())
    assert len(found) == 6
    assert found["wide.png"]
    for each in found["wide.png"]:
        left, top, right, bottom = each["box_xyxy"]
        assert 0 <= left < right <= 20000
        assert 0 <= top < bottom <= 10


def test_unreadable_pictures_are_passed_over_and_named(pictures, yolov3, checkpoint):
    Path("a/bad.jpg").write_text("no picture")
    Path("a/cut.png").write_bytes(Path("a/one.png").read_bytes()[:150])
    outcome = yolov3("detect", "a", "--weights", checkpoint, "--save-json")
    assert outcome.code == 1
    (sentence,) = outcome.errors
    assert "2 of 4 pictures" in sentence
    assert str(Path("a/bad.jpg")) in sentence
    assert sorted(os.listdir(outcome.folder)) == ["detections.json", "one.png", "two.png"]
    assert [line for line in outcome.lines if line.startswith("skipped")] != []


def test_if_no_picture_can_be_read_nothing_is_left(pictures, refused, checkpoint):
    Path("bad.jpg").write_text("no picture")
    refused("detect", "bad.jpg", "--weights", checkpoint, "--save-json", "--save-txt", says=["bad.jpg"])
    assert os.listdir("runs/detect") == []


def test_a_name_that_is_no_text(in_tmp_path, detect):
    name = os.fsdecode(b"\xff.png") if os.name == "posix" else "\u0142.png"
    try:
        Image.fromarray(hash_image(60, 40, 1)).save(name)
    except OSError as error:
        pytest.skip(f"this file system has no such names ({error})")
    outcome = detect(name, "--save-json", "--save-txt")
    assert list(json.loads(Path(outcome.folder, "detections.json").read_text(encoding="utf-8"))) == [name]
    assert Path(outcome.folder, name).is_file()


def test_names_that_differ_in_case_alone(tmp_path, checkpoint):
    # Windows and macOS would write both to one file.
    for path in ("a/One.png", "b/one.png"):
        (tmp_path / path).parent.mkdir()
        Image.fromarray(hash_image(60, 40, 1)).save(tmp_path / path)
    (tmp_path / "out").mkdir()
    detect_files(Detector(checkpoint), [tmp_path / "a/One.png", tmp_path / "b/one.png"], tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["One.png", "one-2.png"]


def test_drawing_takes_detections_as_they_come():
    image = np.zeros((40, 60, 3), np.uint8)
    np.testing.assert_array_equal(draw_detections(image, []), image)
    drawn = draw_detections(image, [Detection(5, "cat", 0.5, (10.0, 10.0, 50.0, 30.0))])
    assert drawn[9:31, 9:51].any()
    assert not image.any()


def test_what_was_found_before_a_person_stopped_it_is_kept(pictures, tmp_path, checkpoint):
    detector = Detector(checkpoint)
    reported = []

    def stop_after_two(line):
        reported.append(line)
        if len(reported) == 2:
            raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    found = find_pictures([pictures / "a", pictures / "b"])[:3]
    with pytest.raises(KeyboardInterrupt):
        detect_files(detector, found, tmp_path / "out", save_json=True, report=stop_after_two)
    assert list(json.loads((tmp_path / "out" / "detections.json").read_text())) == [str(path) for path in found[:2]]
    assert sorted(os.listdir(tmp_path / "out")) == ["detections.json", "one.png", "two.png"]


# --- reading ahead, writing afterwards ----------------------------------------------------------


def without_threads(make, items):
    """:func:`yolov3.prefetch.prefetch`, but all in one thread."""
    for item in items:
        yield make(item)


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_threads_change_nothing_but_the_time(pictures, tmp_path, checkpoint, monkeypatch):
    Path("a/broken.png").write_text("no picture")
    detector, found = Detector(checkpoint, confidence=0.006), find_pictures(["a", "b"])

    def run(name):
        lines = []
        (tmp_path / name).mkdir()
        results = detect_files(detector, found, tmp_path / name, save_txt=True, save_json=True, report=lines.append)
        return results, lines, files_in(tmp_path / name)

    threaded = run("threaded")
    monkeypatch.setattr("yolov3.detect.prefetch", without_threads)
    assert threaded == run("plain")
    results, lines, files = threaded
    assert [line.split(":")[0] for line in lines] == [
        "skipped" if "broken" in str(each) else str(each) for each in found
    ]
    assert list(results[0]) == [str(each) for each in found if "broken" not in str(each)]
    assert len(files) == 2 * (len(found) - 1) + 1


def test_reading_and_writing_are_done_by_other_threads(pictures, tmp_path, checkpoint, monkeypatch):
    doers = {}

    def watch(name):
        function = getattr(detect_module, name)

        def call(*arguments):
            doers.setdefault(name, set()).add(threading.current_thread())
            return function(*arguments)

        monkeypatch.setattr(detect_module, name, call)

    for name in ("load_image", "letterbox", "find_objects", "draw_detections", "save_image"):
        watch(name)
    detect_files(Detector(checkpoint), find_pictures(["a", "b"]), tmp_path, report=lambda line: None)
    assert doers["find_objects"] == {threading.current_thread()}
    assert doers["load_image"] == doers["letterbox"]
    assert doers["draw_detections"] == doers["save_image"]
    assert len(doers["load_image"] | doers["save_image"] | doers["find_objects"]) == 3
    assert not any(thread.is_alive() for thread in doers["load_image"] | doers["save_image"])


def test_what_was_found_before_a_person_stopped_the_network_is_written(pictures, tmp_path, checkpoint, monkeypatch):
    detector, found = Detector(checkpoint), find_pictures(["a", "b"])
    (tmp_path / "out").mkdir()
    lines, calls, find = [], [], detector.find

    def stop_in_the_third(prepared):
        calls.append(prepared)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return find(prepared)

    monkeypatch.setattr(detector, "find", stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        detect_files(detector, found, tmp_path / "out", save_txt=True, save_json=True, report=lines.append)
    assert len(lines) == 2
    names = ["detections.json", "labels/one.txt", "labels/two.txt", "one.png", "two.png"]
    assert sorted(files_in(tmp_path / "out")) == [str(Path(name)) for name in names]
    assert list(json.loads((tmp_path / "out" / "detections.json").read_text())) == [str(path) for path in found[:2]]
    assert load_image(tmp_path / "out" / "two.png").shape == (40, 60, 3)


def test_a_picture_that_cannot_be_written_is_an_error_in_one_sentence(pictures, tmp_path, checkpoint):
    (tmp_path / "out" / "two.png").mkdir(parents=True)  # where the second picture should go
    lines, found = [], find_pictures(["a", "b"])
    with pytest.raises(UserError, match=r"two\.png cannot be written"):
        detect_files(Detector(checkpoint), found, tmp_path / "out", save_json=True, report=lines.append)
    assert [line.split(":")[0] for line in lines] == [str(path) for path in found[:2]]
    assert (
        {"detections.json", "one.png"} <= set(files_in(tmp_path / "out")) <= {"detections.json", "one.png", "[1].png"}
    )
    kept = list(json.loads((tmp_path / "out" / "detections.json").read_text()))
    assert kept == [str(path) for path in found[: len(kept)]]
    assert 2 <= len(kept) <= 3  # the next one has been found meanwhile


def test_the_last_picture_that_cannot_be_written_is_an_error_as_well(pictures, tmp_path, checkpoint):
    (tmp_path / "out" / "one.png").mkdir(parents=True)
    with pytest.raises(UserError, match=r"one\.png cannot be written"):
        detect_files(Detector(checkpoint), [Path("a/one.png")], tmp_path / "out", report=lambda line: None)
