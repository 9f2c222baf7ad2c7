"""Broken, odd and wrong inputs: one sentence that names them, exit code 1, no traceback, and nothing left behind."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.serialize import load, save
from tests.hashing import hash_image
from tests.yolov3.tiny_data import shapes_for_voc, write_voc
from yolov3.checkpoint import load_checkpoint
from yolov3.draw import draw_boxes

SHORT = ("--imgsz", 64, "--epochs", 1, "--batch", 2)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(in_tmp_path):
    """Where commands would leave their runs."""


def nothing_left():
    return not Path("runs").exists() or not any(Path("runs").rglob("*exp*"))


# --- numbers and names on the command line ------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--data", "shapes"),
        ("val", "--data", "shapes", "--weights", "{checkpoint}"),
        ("detect", "{voc}/JPEGImages", "--weights", "{checkpoint}"),
        ("anchors", "--data", "shapes"),
        ("info",),
    ],
)
@pytest.mark.parametrize(("size", "says"), [("100", "100: use 96 or 128"), ("0", "0: use 32 or 64"), ("64x33", "33: ")])
def test_sizes_that_are_no_multiple_of_32(refused, voc, checkpoint, command, size, says):
    arguments = [each.format(voc=voc, checkpoint=checkpoint) for each in command]
    refused(*arguments, "--imgsz", size, says=["multiple of 32, not " + says])
    assert nothing_left()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "yolov9"), "unknown model 'yolov9': choose one of yolov3, "),
        (("--optimizer", "adamw"), "unknown optimizer 'adamw': choose one of adam, sgd"),
        (("--augment", "all"), "unknown augmentation 'all': choose one of none, recipe, original"),
        (("--anchors", "mine"), "unknown anchors 'mine': choose one of band, published"),
        (("--lateral", "sum"), "unknown lateral 'sum': choose one of concat, add"),
        (("--model", "yolov3-tiny", "--lateral", "add"), "yolov3-tiny has no choice of lateral connection"),
        (("--lr", "0"), "learning rate must be a positive number"),
        (("--lr", "nan"), "learning rate must be a positive number"),
    ],
)
def test_choices_that_do_not_exist(refused, voc, options, says):
    refused("train", "--data", voc, *SHORT, *options, says=[says])
    assert nothing_left()


def test_other_choices_that_do_not_exist(refused, voc, checkpoint):
    refused("train", says=["--data", "--resume"])
    refused("info", "yolov9", says=["unknown model 'yolov9': give a .cfg file, a checkpoint, or one of yolov3, "])
    refused("download", "coco", says=["'coco'", "bccd", "aerial"])
    refused("anchors", "--data", voc, "--clusters", 4, says=["4 anchors", "multiple of 3"])
    refused("anchors", "--data", voc, "--clusters", 3000, says=["anchors"])
    refused("val", "--data", voc, "--weights", checkpoint, "--split", "nope", says=["nope.txt", "trainval"])
    refused("check-data", "--data", "shapes", "--split", "nope", says=["'nope'"])
    refused("check-data", "--data", "absent", says=["absent: no such file or folder"])
    refused("check-data", "--data", "x" * 5000, says=["xxx"])
    assert nothing_left()


def test_more_than_the_memory_holds(yolov3, refused, voc, checkpoint, monkeypatch):
    arguments = ("detect", voc / "JPEGImages/p0.png", "--weights", checkpoint)
    for side in (32 * 10**6, 32 * 10**29):
        refused(*arguments, "--imgsz", side, says=["image size", "too large", "16,777,216 pixels"])

    def full(*_):
        raise MemoryError

    monkeypatch.setattr("yolov3.detect.letterbox", full)
    outcome = yolov3(*arguments)
    assert outcome.code == 1
    assert outcome.errors == ["yolov3 detect: out of memory; use a smaller --imgsz or --batch"]


# --- checkpoints --------------------------------------------------------------------------------


def commands_with(weights, voc):
    """The commands that read a checkpoint."""
    return (
        ("val", "--data", voc, "--weights", weights),
        ("detect", voc / "JPEGImages", "--weights", weights),
        ("train", "--data", voc, *SHORT, "--weights", weights),
        ("train", "--resume", weights),
    )


def test_files_that_are_no_checkpoints(refused, voc, checkpoint):
    content = checkpoint.read_bytes()
    Path("text.npz").write_text("these are no weights\n")
    Path("empty.npz").write_bytes(b"")
    Path("picture.npz").write_bytes((voc / "JPEGImages/p0.png").read_bytes())
    Path("truncated.npz").write_bytes(content[: len(content) // 2])
    np.savez("arrays.npz", weights=np.ones(3))
    np.savez("objects.npz", **{"settings.json": np.array([{}], dtype=object)})
    for name in ("text.npz", "empty.npz", "picture.npz", "truncated.npz", "arrays.npz", "objects.npz", "absent.npz"):
        for command in commands_with(name, voc):
            refused(*command, says=[name])
        refused("info", name, says=[name])
    Path("folder").mkdir()
    for command in commands_with("folder", voc):
        refused(*command, says=["folder", "last.npz"])
    assert nothing_left()


def test_a_checkpoint_of_another_network(refused, voc, checkpoint):
    arrays, settings = load(checkpoint)
    save("other.npz", arrays, settings | {"preset": "yolov3-small"})
    for command in commands_with("other.npz", voc):
        refused(*command, says=["other.npz does not hold a whole detector", "shape"])
    refused("info", "other.npz", says=["other.npz"])
    assert nothing_left()


# --- data sets ----------------------------------------------------------------------------------

IMAGE = hash_image(60, 40, 1)
BOX = ["a"], [(5, 5, 30, 30)]


def test_a_data_set_without_boxes(refused, checkpoint):
    voc = write_voc(Path("voc"), {"p": (IMAGE, [], []), "q": (IMAGE, [], [])}, {"trainval": ["p"], "test": ["q"]})
    Path("yolo/images").mkdir(parents=True)
    Image.fromarray(IMAGE).save("yolo/images/p.png")
    Path("yolo/labels").mkdir()
    Path("yolo/labels/p.txt").write_text("")
    Path("yolo/data.yaml").write_text("train: images\nval: images\nnames: [a]\n")
    for data in (voc, Path("yolo/data.yaml")):
        for anchors in ("band", "published"):
            refused("train", "--data", data, *SHORT, "--anchors", anchors, says=[data])
        refused("anchors", "--data", data, says=[data])
    refused("val", "--data", "yolo/data.yaml", "--weights", checkpoint, says=["yolo/data.yaml", "'val'", "no box"])
    assert nothing_left()


def test_parts_without_boxes_or_not_there(refused, checkpoint):
    both = {"p": (IMAGE, *BOX), "q": (IMAGE, [], [])}
    voc = write_voc(Path("voc"), both, {"trainval": ["p"], "test": ["q"]})
    refused("train", "--data", voc, *SHORT, says=[voc, "'val'", "no box"])
    voc = write_voc(Path("voc2"), both, {"train": ["p"]})
    for command in (("train", *SHORT), ("val", "--weights", checkpoint), ("check-data",)):
        refused(*command, "--data", voc, says=[voc, "val.txt"])
    Path("empty").mkdir()
    for command in (("train", *SHORT), ("val", "--weights", checkpoint), ("check-data",), ("anchors",)):
        refused(*command, "--data", "empty", says=["empty: this folder holds no data set"])
    refused("detect", "empty", "--weights", checkpoint, says=["empty: this folder holds no pictures"])
    assert nothing_left()


def test_only_difficult_boxes_teach_nothing(refused):
    voc = write_voc(Path("voc"), {"p": (IMAGE, *BOX)}, {"trainval": ["p"], "test": ["p"]})
    annotation = voc / "Annotations/p.xml"
    annotation.write_text(annotation.read_text().replace("</name>", "</name><difficult>1</difficult>"))
    refused("train", "--data", voc, *SHORT, says=[voc, "'train'", "no box"])
    assert nothing_left()


def test_data_of_other_classes(refused, yolov3, voc, checkpoint):
    cats = write_voc(Path("cats"), {"p": (IMAGE, ["cat"], BOX[1])}, {"trainval": ["p"], "test": ["p"]})
    refused("val", "--data", cats, "--weights", checkpoint, says=[cats, "circle, square, triangle"])
    refused("val", "--data", "shapes-overlap", "--weights", checkpoint, says=["shapes-overlap", "red"])
    assert nothing_left()
    # Some of its classes are known: what is not is counted, and the rest evaluated.
    two = {"p": (IMAGE, ["cat", "circle"], [BOX[1][0], (5, 5, 20, 20)])}
    mixed = write_voc(Path("mixed"), two, {"trainval": ["p"], "test": ["p"]})
    outcome = yolov3("val", "--data", mixed, "--weights", checkpoint)
    assert outcome.code == 0
    assert len(outcome.errors) == 1
    assert "skipped 1 box of an unknown class" in outcome.errors[0]


@pytest.fixture
def yolo_with(in_tmp_path):
    """Function that writes a YOLO data set of two pictures: one well labelled, and one with these lines."""

    def write(lines):
        for folder in ("yolo/images", "yolo/labels"):
            Path(folder).mkdir(parents=True)
        for index, text in enumerate(("0 0.5 0.5 0.4 0.4\n", lines)):
            Image.fromarray(hash_image(60, 40, index)).save(f"yolo/images/{index}.png")
            Path(f"yolo/labels/{index}.txt").write_text(text)
        Path("yolo/data.yaml").write_text("train: images\nval: images\nnames: [a, b]\n")
        return "yolo/data.yaml"

    return write


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("2 0.5 0.5 0.1 0.1", "class id"),
        ("-1 0.5 0.5 0.1 0.1", "class id"),
        ("0 nan 0.5 0.1 0.1", "finite"),
        ("0 0.5 0.5 inf 0.1", "finite"),
        ("0 0.5 0.5 0 0.1", "area"),
        ("0 1.5 0.5 0.1 0.1", "outside"),
        ("0 0.5 0.5 0.1", "five numbers"),
        ("zero 0.5 0.5 0.1 0.1", "five numbers"),
    ],
)
def test_wrong_labels_are_counted_and_trained_without(yolov3, refused, yolo_with, line, kind):
    data = yolo_with(f"1 0.5 0.5 0.2 0.2\n{line}\n")
    audit = yolov3("check-data", "--data", data, "--split", "train")
    assert audit.code == 0
    assert any("1.txt line 2" in each and kind in each for each in audit.lines)
    refused("check-data", "--data", data, "--strict", says=["1.txt line 2", kind])
    refused("train", "--data", data, *SHORT, "--strict", says=["1.txt line 2", kind])
    assert nothing_left()
    outcome = yolov3("train", "--data", data, *SHORT)
    assert outcome.code == 0
    assert all(each.startswith(f"{data}, ") and "1.txt line 2" in each for each in outcome.errors[:2])
    assert np.isfinite(load_checkpoint(Path(outcome.folder, "last.npz")).training["rows"][0]["loss"])


def test_broken_pictures_are_named_and_left_out(yolov3, refused):
    pictures = shapes_for_voc(4)
    file = io.BytesIO()
    Image.fromarray(pictures["p1"][0]).save(file, "JPEG")
    pictures["p1"] = (file.getvalue()[:600], *pictures["p1"][1:])  # truncated
    pictures["p2"] = (b"a text file named .jpg", *pictures["p2"][1:])
    voc = write_voc(Path("voc"), pictures, {"trainval": list(pictures), "test": ["p0", "p3"]})
    outcome = yolov3("train", "--data", voc, *SHORT)
    assert outcome.code == 0
    assert outcome.errors[0] == f"{voc}, train: skipped 2 broken pictures (p1.jpg, p2.jpg)"
    assert any("2 pictures, results in" in line for line in outcome.errors)
    refused("train", "--data", voc, *SHORT, "--strict", says=["p1.jpg"])
    shutil.rmtree("runs")

    voc = write_voc(Path("voc2"), pictures, {"trainval": ["p1"], "test": ["p2"]})
    refused("train", "--data", voc, *SHORT, says=[voc, "no usable picture", "p1.jpg"])
    assert nothing_left()


def test_a_picture_that_breaks_after_it_was_checked(yolov3, voc, monkeypatch):
    own = shutil.copytree(voc, "voc")
    from yolov3 import train

    start = train.TrainingRun.run

    def break_a_file(self, folder, bar):
        for picture in Path("voc/JPEGImages").iterdir():
            picture.write_bytes(picture.read_bytes()[:100])
        return start(self, folder, bar)

    monkeypatch.setattr(train.TrainingRun, "run", break_a_file)
    outcome = yolov3("train", "--data", own, *SHORT)
    assert outcome.code == 1
    assert "cannot be read" in outcome.errors[-1]
    assert outcome.errors[-1].startswith(f"yolov3 train: {Path('voc/JPEGImages')}")


def test_pictures_of_every_size_can_be_trained_on(yolov3):
    sizes = {"pixel": (1, 1), "wide": (10, 20000), "high": (20000, 10), "grey": (40, 60)}
    pictures = {}
    for name, (height, width) in sizes.items():
        image = np.zeros((height, width) if name == "grey" else (height, width, 3), np.uint8)
        pictures[name] = (image, ["a"], [(0, 0, (width + 1) // 2, height)])
    voc = write_voc(Path("voc"), pictures, {"trainval": list(pictures), "test": list(pictures)})
    outcome = yolov3("train", "--data", voc, *SHORT)
    assert outcome.code == 0
    assert yolov3("val", "--data", voc, "--weights", Path(outcome.folder, "last.npz")).code == 0
    assert yolov3("check-data", "--data", voc).code == 0


@pytest.mark.parametrize("name", ["$\\frac$ and $x_$", "two\nlines", "_hidden", "Žlutá 細胞", "%d{}", " "])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_class_names_of_every_kind(yolov3, name):
    Path("yolo/images").mkdir(parents=True)
    Image.fromarray(IMAGE).save("yolo/images/p.png")
    Path("yolo/images/p.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    quoted = name.replace("\\", "\\\\").replace("\n", "\\n")
    Path("yolo/data.yaml").write_text(f'train: images\nval: images\nnames: ["{quoted}"]\n', encoding="utf-8")
    if not name.strip():
        outcome = yolov3("train", "--data", "yolo/data.yaml", *SHORT)
        assert outcome.code == 1
        assert "not text" in outcome.errors[0]
        return
    outcome = yolov3("train", "--data", "yolo/data.yaml", *SHORT)
    assert outcome.code == 0
    weights = Path(outcome.folder, "last.npz")
    assert load_checkpoint(weights).names == [name]
    assert yolov3("val", "--data", "yolo/data.yaml", "--weights", weights).code == 0
    assert yolov3("detect", "yolo/images", "--weights", weights, "--conf-thres", 0.001, "--save-json").code == 0
    drawn = draw_boxes(np.zeros((200, 300, 3), np.uint8), [(50, 50, 250, 150)], [0], [0.5], [name])
    assert drawn.any()


# --- places that cannot be written --------------------------------------------------------------


@pytest.mark.parametrize("project", ["file", "file/below"])
def test_a_project_folder_that_cannot_be(refused, voc, checkpoint, monkeypatch, project):
    Path("file").write_text("kept")
    for command in (
        ("train", "--data", voc, *SHORT),
        ("val", "--data", voc, "--weights", checkpoint),
        ("detect", voc / "JPEGImages", "--weights", checkpoint),
        ("demo", "--steps", 1),
    ):
        refused(*command, "--project", project, says=[Path(project), "--project"])
    refused("download", "bccd", "--folder", project, says=[Path(project)])
    assert Path("file").read_text() == "kept"
    assert os.listdir() == ["file"]


@pytest.mark.parametrize("command", ["train", "val", "detect"])
def test_a_disk_that_fills_while_results_are_written(yolov3, voc, checkpoint, monkeypatch, command):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    arguments = {
        "train": ("--data", voc, *SHORT),
        "val": ("--data", voc, "--weights", checkpoint),
        "detect": (voc / "JPEGImages", "--weights", checkpoint),
    }[command]
    outcome = yolov3(command, *arguments)
    assert outcome.code == 1
    assert "cannot be written (No space left on device)" in outcome.errors[-1]
    assert [path for path in Path("runs", command).rglob("*") if path.is_file()] == []  # no half-written file


# --- the broken files of real data sets ---------------------------------------------------------


@pytest.fixture
def bad_inputs(shared):
    return shared / "data" / "bad_inputs"


def test_the_real_voc_files(bad_inputs, yolov3, refused, checkpoint):
    """A zero-area box, a cell labelled twice, a grey picture among colour ones."""
    for folder in ("voc/Annotations", "voc/JPEGImages"):
        Path(folder).mkdir(parents=True)
    for file in bad_inputs.iterdir():
        if file.suffix == ".xml":
            shutil.copy(file, "voc/Annotations")
        elif file.suffix == ".jpg" and "exif" not in file.name:
            shutil.copy(file, "voc/JPEGImages")
    # The picture of the cell labelled twice is not among them: another one stands in.
    Image.new("RGB", (640, 480)).save("voc/JPEGImages/BloodImage_00020_near_duplicate_box.jpg")

    audit = yolov3("check-data", "--data", "voc", "--split", "train")
    assert audit.code == 0
    text = "\n".join(audit.lines)
    assert "pictures  3" in text
    assert "skipped 1 zero-area box\n" in text
    assert "BloodImage_00338_zero_area.xml object " in text
    assert "kept 1 duplicate box\n" in text
    assert "BloodImage_00020_near_duplicate_box.xml object " in text

    outcome = yolov3("train", "--data", "voc", *SHORT)
    assert outcome.code == 0
    assert any("zero-area" in line for line in outcome.errors)
    sentence = refused("train", "--data", "voc", *SHORT, "--strict", says=["voc"])
    assert "object " in sentence
    weights = Path(outcome.folder, "last.npz")
    assert yolov3("detect", "voc/JPEGImages", "--weights", weights).code == 0


def test_the_real_yolo_file_with_a_box_over_the_border(bad_inputs, shared, yolov3):
    for folder in ("yolo/images", "yolo/labels"):
        Path(folder).mkdir(parents=True)
    shutil.copy(shared / "data/aerial_kit/images/MOS79.jpg", "yolo/images")
    shutil.copy(bad_inputs / "MOS79_outside.txt", "yolo/labels/MOS79.txt")
    Path("yolo/data.yaml").write_text("train: images\nval: images\nnames: [car, truck, bus, minibus, cyclist]\n")
    audit = yolov3("check-data", "--data", "yolo", "--split", "train", "--strict")
    assert audit.code == 0  # by less than a pixel: it is rounding
    assert "note: 1 box clipped at the border by less than a pixel" in audit.lines
    assert yolov3("train", "--data", "yolo", *SHORT, "--strict").code == 0


def test_the_real_pictures_are_detected_in(bad_inputs, yolov3, checkpoint):
    """One with EXIF orientation 0, one grey."""
    outcome = yolov3("detect", bad_inputs, "--weights", checkpoint)
    assert outcome.code == 0
    assert len(os.listdir(outcome.folder)) == 3
    with Image.open(bad_inputs / "kangaroo_00076_exif0.jpg") as original:
        size = original.size
    with Image.open(Path(outcome.folder, "kangaroo_00076_exif0.png")) as drawn:
        assert drawn.size == size
