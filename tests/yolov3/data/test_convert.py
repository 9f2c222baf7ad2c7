"""yolov3 convert: the files of each format by hand, there and back between all of them, and what is said to be lost."""

import errno
import itertools
import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import PROJECT
from yolov3.data import convert as module
from yolov3.data.convert import convert
from yolov3.data.dataset import Dataset, open_dataset, splits_of
from yolov3.data.records import Record
from yolov3.data.report import Report
from yolov3.data.writers import WRITERS
from yolov3.errors import UserError

NAMES = ["white cell", "Zelle Ü 猫"]


def record(picture, size=(40, 20), boxes_xyxy=(), labels=(), difficult=(), crowd=(), areas=None):
    """A Record and its picture on the disk; ``difficult`` and ``crowd`` are indices of boxes."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(picture)
    index = np.arange(len(labels))
    return Record(
        picture=picture,
        name=picture.stem,
        annotation="somewhere",
        width=size[0],
        height=size[1],
        boxes_xyxy=np.array(boxes_xyxy, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        difficult=np.isin(index, difficult),
        crowd=np.isin(index, crowd),
        areas=None if areas is None else np.array(areas, np.float64),
    )


@pytest.fixture
def small(tmp_path):
    """Two splits: a picture with an ordinary, a difficult and a crowd box, one with nothing, one with a box."""
    boxes_xyxy = [(10, 5, 30, 15), (0, 0, 40, 20), (1.5, 2.25, 7.1, 8)]
    train = [
        record(tmp_path / "in" / "a #1=50%.JPG", (40, 20), boxes_xyxy, [1, 0, 1], [1], [2], [123.5, 800, 9]),
        record(tmp_path / "in" / "empty ü.png"),
    ]
    val = [record(tmp_path / "in" / "b.gif", (30, 60), [(3, 6, 15, 30)], [0])]
    return {"train": Dataset(NAMES, train, Report()), "val": Dataset(NAMES, val, Report())}


def reopened(folder):
    return {split: open_dataset(folder, split, strict=True) for split in splits_of(folder)}


def seen(datasets, without=()):
    """What a data set says, whatever the order of its classes and pictures; ``without`` fields that were lost."""
    fields = {"difficult", "crowd", "areas"} - set(without)
    found = {}
    for split, dataset in datasets.items():
        for each in dataset.records:
            rows = [(dataset.names[i], *box.tolist()) for i, box in zip(each.labels, each.boxes_xyxy, strict=True)]
            flags = {name: getattr(each, name).tolist() for name in sorted(fields)}
            found[split, each.picture.name] = ((each.width, each.height), rows, flags)
    return found


def as_held_by(target, datasets):
    """What remains of crowd boxes: in VOC difficult boxes, in the text formats nothing."""
    held = {}
    for split, dataset in datasets.items():
        records = dataset.records
        if target == "voc":
            records = [replace(each, difficult=each.difficult | each.crowd) for each in records]
        elif target != "coco":
            columns = ("boxes_xyxy", "labels", "difficult", "crowd", "areas")
            records = [
                replace(each, **{name: getattr(each, name)[~each.crowd] for name in columns}) for each in records
            ]
        held[split] = Dataset(dataset.names, records, Report())
    return held


# --- the files, by hand -----------------------------------------------------------------------------


def test_yolo_files(small, tmp_path):
    convert(small, "yolo", tmp_path / "out")
    yaml = "train: images/train\nval: images/val\nnames:\n  0: white cell\n  1: Zelle Ü 猫\n"
    assert (tmp_path / "out" / "data.yaml").read_text("utf-8") == yaml
    labels = tmp_path / "out" / "labels"
    assert (labels / "train" / "a #1=50%.txt").read_text() == "1 0.5 0.5 0.5 0.5\n0 0.5 0.5 1.0 1.0\n"
    assert (labels / "train" / "empty ü.txt").read_text() == ""
    assert (labels / "val" / "b.txt").read_text() == "0 0.3 0.3 0.4 0.4\n"
    source = small["val"].records[0].picture
    assert (tmp_path / "out" / "images" / "val" / "b.gif").read_bytes() == source.read_bytes()


def test_darknet_files(small, tmp_path):
    convert(small, "darknet", tmp_path / "out")
    texts = {path.name: path.read_text("utf-8") for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert texts == {
        "obj.data": "classes = 2\ntrain = train.txt\nvalid = val.txt\nnames = obj.names\n",
        "obj.names": "white cell\nZelle Ü 猫\n",
        "train.txt": "images/train/a #1=50%.JPG\nimages/train/empty ü.png\n",
        "val.txt": "images/val/b.gif\n",
    }
    assert (tmp_path / "out" / "labels" / "val" / "b.txt").read_text() == "0 0.3 0.3 0.4 0.4\n"


def test_voc_files(small, tmp_path):
    convert(small, "voc", tmp_path / "out")
    assert (tmp_path / "out" / "ImageSets" / "Main" / "train.txt").read_text("utf-8") == "a #1=50%\nempty ü\n"
    text = (tmp_path / "out" / "Annotations" / "a #1=50%.xml").read_text("utf-8")
    assert "".join(text.split()) == (
        "<annotation><folder>JPEGImages</folder><filename>a#1=50%.JPG</filename>"
        "<size><width>40</width><height>20</height><depth>3</depth></size>"
        "<object><name>ZelleÜ猫</name><difficult>0</difficult>"
        "<bndbox><xmin>10</xmin><ymin>5</ymin><xmax>30</xmax><ymax>15</ymax></bndbox></object>"
        "<object><name>whitecell</name><difficult>1</difficult>"
        "<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>40</xmax><ymax>20</ymax></bndbox></object>"
        "<object><name>ZelleÜ猫</name><difficult>1</difficult>"
        "<bndbox><xmin>1.5</xmin><ymin>2.25</ymin><xmax>7.1</xmax><ymax>8</ymax></bndbox></object></annotation>"
    )


def test_coco_files(small, tmp_path):
    assert convert(small, "coco", tmp_path / "out") == []  # nothing is lost
    content = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text("utf-8"))
    assert content["images"] == [
        {"id": 1, "file_name": "a #1=50%.JPG", "width": 40, "height": 20},
        {"id": 2, "file_name": "empty ü.png", "width": 40, "height": 20},
    ]
    assert content["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [10, 5, 20, 10], "area": 123.5, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 20], "area": 800, "iscrowd": 0, "ignore": 1},
        {"id": 3, "image_id": 1, "category_id": 2, "bbox": [1.5, 2.25, 5.6, 5.75], "area": 9, "iscrowd": 1},
    ]
    assert [(each["id"], each["name"]) for each in content["categories"]] == [(1, NAMES[0]), (2, NAMES[1])]


def test_pycocotools_reads_the_coco_file(small, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    convert(small, "coco", tmp_path / "out")
    read = coco.COCO(tmp_path / "out" / "annotations" / "instances_train.json")
    assert [each["name"] for each in read.loadCats(read.getCatIds())] == NAMES
    assert read.getAnnIds(imgIds=[1], iscrowd=True) == [3]


# --- there and back ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(WRITERS, 2)))
def test_there_and_back(small, tmp_path, first, second):
    """From first to second and back again, everything stays but what second cannot hold."""
    convert(small, first, tmp_path / "a")
    before = reopened(tmp_path / "a")
    convert(before, second, tmp_path / "b")
    middle = reopened(tmp_path / "b")
    convert(middle, first, tmp_path / "c")
    after = reopened(tmp_path / "c")
    lost = {"difficult", "crowd", "areas"} - set(module.HOLDS[first]).intersection(module.HOLDS[second])
    assert seen(before, lost) == seen(as_held_by(first, small), lost)
    assert seen(after, lost) == seen(as_held_by(second, before), lost)


def test_real_boxes_through_every_format(shared, tmp_path):
    before = open_dataset(shared / "data" / "bccd", "val")
    after = {"val": before}
    for target in ("coco", "darknet", "yolo", "voc"):
        assert convert(after, target, tmp_path / target, link=True) == []
        after = {"val": open_dataset(tmp_path / target, "val")}
    assert len(before) == 72
    assert seen(after) == seen({"val": before})


SIZES = [(1, 1), (64, 48), (2000, 3)]
FRACTIONS = st.floats(0, 1, width=32)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs", "Cn")), min_size=1, max_size=6)
CLASS_NAMES = TEXT.map(str.strip).filter(bool)
STEMS = TEXT.filter(lambda text: "/" not in text)


@st.composite
def pictures(draw):
    """``(class names, {stem: (size, boxes_xyxy, labels, difficult, crowd)})``, at least one box in all."""
    names = draw(st.lists(CLASS_NAMES, min_size=1, max_size=3, unique=True))
    found = {}
    for number, stem in enumerate(draw(st.lists(STEMS, min_size=1, max_size=3, unique=True))):
        size = draw(st.sampled_from(SIZES))
        boxes_xyxy = []
        for _ in range(draw(st.integers(0 if number else 1, 3))):
            corners = []
            for side in size:
                start = draw(FRACTIONS) * (side - 0.02)
                corners.append((start, start + 0.01 + draw(FRACTIONS) * (side - start - 0.01)))
            (left, right), (top, bottom) = corners
            boxes_xyxy.append(np.minimum(np.float32((left, top, right, bottom)), size * 2))
        count = len(boxes_xyxy)
        labels, flags = st.integers(0, len(names) - 1), st.sets(st.integers(0, 2))
        columns = draw(st.tuples(st.lists(labels, min_size=count, max_size=count), flags, flags))
        found[stem] = (size, boxes_xyxy, *map(list, columns))
    return names, found


@pytest.mark.parametrize("target", WRITERS)
@settings(derandomize=True, deadline=None, max_examples=25)
@given(pictures())
def test_any_records_come_back(target, described):
    names, found = described
    with tempfile.TemporaryDirectory() as folder:
        # Numbered, since the disk may hold other names to be the same, and sorted as folders are read.
        rows = [record(Path(folder, "in", f"{i}{stem}.png"), *row) for i, (stem, row) in enumerate(found.items())]
        datasets = {"train": Dataset(names, rows, Report())}
        convert(datasets, target, Path(folder, "out"))
        dataset = open_dataset(Path(folder, "out"))
    assert [each.name for each in dataset.records] == [each.name.strip(" .") for each in rows]
    assert target == "voc" or dataset.names == names
    assert set(dataset.report.counts()) <= {"duplicate box"}
    assert dataset.report.boxes_rounded == 0
    for before, after in zip(rows, dataset.records, strict=True):
        kept = ~before.crowd if target in ("yolo", "darknet") else slice(None)
        assert (after.width, after.height) == (before.width, before.height)
        np.testing.assert_allclose(after.boxes_xyxy, before.boxes_xyxy[kept], rtol=0, atol=0.001)
        assert [dataset.names[label] for label in after.labels] == [names[label] for label in before.labels[kept]]
        if target == "coco":
            np.testing.assert_array_equal(after.crowd, before.crowd)
            np.testing.assert_array_equal(after.difficult, before.difficult)
            np.testing.assert_allclose(after.areas, before.areas, atol=1e-5)
        if target == "voc":
            np.testing.assert_array_equal(after.difficult, before.difficult | before.crowd)


def odd_pictures(folder):
    """Pictures of 8x6 pixels as they are stored, of every kind that people bring."""
    folder.mkdir()
    random = np.random.default_rng(0)
    rgb = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    rgb.save(folder / "turned.jpg", exif=turned)
    rgb.convert("L").save(folder / "grey.PNG")
    rgb.convert("RGBA").save(folder / "rgba.png")
    rgb.convert("P").save(folder / "palette.png")
    rgb.convert("CMYK").save(folder / "cmyk.JPEG")
    Image.fromarray(random.integers(0, 65536, (6, 8), dtype=np.uint16)).save(folder / "deep.png")
    rgb.save(folder / "moving.gif", save_all=True, append_images=[rgb.rotate(180)])
    rgb.save(folder / "moving.webp", save_all=True, append_images=[rgb.rotate(180)], lossless=True)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("target", WRITERS)
def test_pictures_of_every_kind(tmp_path, target):
    """They are read, converted and read again, the turned one with its boxes upright; the broken one is left out."""
    paths = odd_pictures(tmp_path / "images")
    (tmp_path / "images" / "broken.jpg").write_bytes(paths[0].read_bytes()[:100])
    for path in [*paths, tmp_path / "images" / "broken.jpg"]:
        path.with_suffix(".txt").write_text("0 .5 .25 1 .5\n")
    (tmp_path / "images" / "moving.txt").write_text("0 .5 .25 1 .5\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")
    dataset = open_dataset(tmp_path)
    assert [problem.name for problem in dataset.report.problems["broken picture"]] == ["broken.jpg"]
    assert len(dataset) == len(paths) == 8
    lost = convert({"train": dataset}, target, tmp_path / "out")
    *turned, renamed = lost
    assert renamed == "1 file name changed: another picture has the name, or lists cannot hold it"  # moving.webp
    assert [line[:26] for line in turned] == (["1 picture is stored turned"] if target == "darknet" else [])
    again = open_dataset(tmp_path / "out", strict=True)
    after = {each.name: index for index, each in enumerate(again.records)}
    for index, before in enumerate(dataset.records):
        name = "moving_2" if before.picture.suffix == ".webp" else before.name
        each = again.records[after[name]]
        upright = (6, 8) if name == "turned" else (8, 6)
        assert (each.width, each.height) == (before.width, before.height) == upright
        np.testing.assert_allclose(each.boxes_xyxy, [[0, 0, upright[0], upright[1] / 2]])
        np.testing.assert_array_equal(again.load_image(after[name]), dataset.load_image(index))


# --- what is lost -----------------------------------------------------------------------------------


def test_each_loss_is_one_sentence(small, tmp_path):
    for target in ("yolo", "darknet"):
        assert convert(small, target, tmp_path / target) == [
            "1 crowd box is left out: the format has no mark for crowds, and a crowd is no single object",
            "1 difficult box becomes an ordinary one: the format has no mark for it",
            "1 area of an outline is lost: the format has only boxes",
        ]
    assert convert(small, "voc", tmp_path / "voc") == [
        "1 crowd box becomes a difficult one: the format has no mark for crowds",
        "1 area of an outline is lost: the format has only boxes",
        "the order of the classes, and those without a box, are lost: the format has no list of classes",
    ]


def test_outlines_beside_boxes_are_lost_and_it_is_said(succeeds, small, tmp_path):
    convert(small, "coco", tmp_path / "set")
    path = tmp_path / "set" / "annotations" / "instances_train.json"
    content = json.loads(path.read_text("utf-8"))
    polygon, mask = [[10, 5, 30, 5, 30, 15]], {"size": [20, 40], "counts": [700, 100]}
    one = "1 outline (polygon or mask) of an object with a box is lost: only boxes are converted"
    two = "2 outlines (polygons or masks) of objects with a box are lost: only boxes are converted"
    for outlines, said in (
        ([[], [], None], []),  # as Roboflow writes boxes
        ([polygon, [], None], [one]),
        ([polygon, [], mask], [two]),
    ):
        for entry, outline in zip(content["annotations"], outlines, strict=True):
            entry["segmentation"] = outline
        path.write_text(json.dumps(content))
        assert convert(reopened(tmp_path / "set"), "coco", tmp_path / f"out{len(list(tmp_path.iterdir()))}") == said
    del content["annotations"][0]["bbox"]  # the box around the outline: said as a remark on the source
    path.write_text(json.dumps(content))
    outcome = succeeds("convert", tmp_path / "set", "--to", "coco", "--out", tmp_path / "out")
    replaced, lost = outcome.errors
    assert replaced.endswith("set, train: 1 outline (polygon or mask) was replaced by its box")
    assert lost == f"not kept: {one}"


def test_classes_of_the_splits_are_united_by_name(tmp_path):
    splits = {
        "train": Dataset(["b", "a"], [record(tmp_path / "in" / "t.png", (9, 9), [(1, 1, 5, 5)], [1])], Report()),
        "val": Dataset(["c", "b"], [record(tmp_path / "in" / "v.png", (9, 9), [(1, 1, 5, 5)] * 2, [0, 1])], Report()),
    }
    convert(splits, "yolo", tmp_path / "out")
    train, val = (open_dataset(tmp_path / "out", split) for split in splits)
    assert train.names == val.names == ["b", "a", "c"]
    assert (train.records[0].labels.tolist(), val.records[0].labels.tolist()) == ([1], [2, 0])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("yolo", {"train": ["A.png", "a_2.jpg"], "val": ["a.png", "x_y.png"]}),
        ("voc", {"train": ["A.png", "a_2.jpg"], "val": ["a_3.png", "x_y.png"]}),  # one folder for all
    ],
)
def test_two_pictures_of_one_name(tmp_path, target, expected):
    files = {"train": ["in/A.png", "in/a.jpg"], "val": ["in2/a.png", "in2/x\ny.png"]}
    splits = {
        split: Dataset(["cat"], [record(tmp_path / name, (9, 9), [(1, 1, 5, 5)], [0]) for name in names], Report())
        for split, names in files.items()
    }
    *_, line = convert(splits, target, tmp_path / "out")
    assert "file names changed" in line
    after = reopened(tmp_path / "out")
    assert {split: [each.picture.name for each in dataset.records] for split, dataset in after.items()} == expected


@pytest.mark.parametrize("name", ["", " cat", "cat\n", "c\nat", "c\x85at", "c\u2028at", "\ud800"])
@pytest.mark.parametrize("target", WRITERS)
def test_class_names_that_no_file_holds(tmp_path, target, name):
    splits = {"train": Dataset([name], [record(tmp_path / "a.png", (9, 9), [(1, 1, 5, 5)], [0])], Report())}
    with pytest.raises(UserError, match=r"cannot be written .*: rename it"):
        convert(splits, target, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_no_file_system_has(small, tmp_path):
    with pytest.raises(UserError, match=r"cannot be made \(.*\): choose another folder with --out"):
        convert(small, "yolo", tmp_path / "\ud800")


def test_voc_needs_a_box(tmp_path):
    with pytest.raises(UserError, match=r"no box .* no classes"):
        convert({"train": Dataset(["cat"], [record(tmp_path / "a.png")], Report())}, "voc", tmp_path / "out")


def test_a_picture_that_no_folder_would_find(small, tmp_path):
    path = small["val"].records[0].picture
    small["val"].records[0] = replace(small["val"].records[0], picture=path.rename(path.with_suffix(".jfif")))
    with pytest.raises(UserError, match=r"b\.jfif: its name does not end as pictures in folders must"):
        convert(small, "yolo", tmp_path / "out")


# --- the folder -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", WRITERS)
def test_links_instead_of_copies(small, tmp_path, target):
    convert(small, target, tmp_path / "out", link=True)
    after = reopened(tmp_path / "out")
    for before in small["train"].records:
        [picture] = [each.picture for each in after["train"].records if each.name == before.name]
        assert picture.is_symlink()
        assert picture.resolve() == before.picture.resolve()


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_what_exists_is_not_overwritten(small, tmp_path, make):
    make(tmp_path / "out")
    with pytest.raises(UserError, match="out exists, and nothing in it is overwritten: choose another folder"):
        convert(small, "yolo", tmp_path / "out")


def test_a_full_disk_is_said_and_leaves_nothing(small, tmp_path, monkeypatch):
    def full(source, target):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfile", full)
    with pytest.raises(UserError, match=r"out cannot be written \(No space left on device\): make room"):
        convert(small, "yolo", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


KILLED = """
import os, shutil, signal, sys
copy = shutil.copyfile
def copy_and_die(source, target):
    copy(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
shutil.copyfile = copy_and_die
from yolov3.cli import main
main(sys.argv[1:])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_killed_conversion_can_be_recognised(small, tmp_path, refused, succeeds):
    convert(small, "coco", tmp_path / "set")
    arguments = ["convert", str(tmp_path / "set"), "--to", "voc", "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=PROJECT, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    refused(*arguments, says=["out.unfinished", "interrupted conversion", "remove it"])
    module.shutil.rmtree(tmp_path / "out.unfinished")
    assert succeeds(*arguments).folder == str(tmp_path / "out")


# --- the command ------------------------------------------------------------------------------------


def test_the_command_converts_all_splits_and_says_what_is_lost(succeeds, small, tmp_path):
    convert(small, "coco", tmp_path / "set")
    outcome = succeeds("convert", tmp_path / "set", "--to", "yolo", "--out", tmp_path / "deep" / "out", "--link")
    assert outcome.lines == ["train: 2 pictures", "val: 1 picture", str(tmp_path / "deep" / "out")]
    assert [line.split(":")[0] for line in outcome.errors] == ["not kept"] * 3
    audit = succeeds("check-data", "--data", tmp_path / "deep" / "out").lines
    counts = [line.split(maxsplit=1)[1] for line in audit if line.startswith("boxes   ")]
    assert counts == ["2 (0 difficult, 0 crowd)", "1 (0 difficult, 0 crowd)"]


def test_problems_of_the_source_are_said_or_with_strict_refused(succeeds, refused, small, tmp_path):
    convert(small, "yolo", tmp_path / "set")
    with open(tmp_path / "set" / "labels" / "val" / "b.txt", "a") as file:
        file.write("7 .5 .5 .1 .1\n0 .1 .1 .2 .1 .2 .3\n")
    outcome = succeeds("convert", tmp_path / "set", "--to", "voc", "--out", tmp_path / "out")
    assert any("skipped 1 box with a class id out of range (b.txt line 2)" in line for line in outcome.errors)
    assert any("1 outline (polygon or mask) was replaced by its box" in line for line in outcome.errors)
    arguments = ("convert", tmp_path / "set", "--to", "voc", "--out", tmp_path / "out2")
    refused(*arguments, "--strict", says=["b.txt line 2", "class id 7"])
    assert not (tmp_path / "out2").exists()


def test_sources_and_folders_that_will_not_do(yolov3, refused, small, tmp_path):
    convert(small, "coco", tmp_path / "set")
    refused("convert", "shapes", "--to", "voc", "--out", tmp_path / "out", says=["shapes is generated"])
    refused("convert", tmp_path / "no", "--to", "voc", "--out", tmp_path / "out", says=["no such file or folder"])
    refused("convert", tmp_path / "set", "--to", "voc", "--out", tmp_path / "set", says=["set exists"])
    inside = tmp_path / "in" / "b.gif" / "out"
    refused("convert", tmp_path / "set", "--to", "voc", "--out", inside, says=["out cannot be made"])
    assert yolov3("convert", tmp_path / "set", "--to", "csv", "--out", tmp_path / "out").code == 2
    assert yolov3("convert", tmp_path / "set", "--to", "voc").code == 2


def test_a_set_without_splits_that_we_know(refused, small, tmp_path):
    convert(small, "coco", tmp_path / "set")
    for split in small:
        path = tmp_path / "set" / "annotations" / f"instances_{split}.json"
        path.rename(path.with_name(f"part{len(split)}.json"))
    refused("convert", tmp_path / "set", "--to", "voc", "--out", tmp_path / "out", says=["none of the splits train"])


def test_one_coco_file_is_one_split(succeeds, small, tmp_path):
    convert(small, "coco", tmp_path / "set")
    file = tmp_path / "set" / "annotations" / "instances_val.json"
    outcome = succeeds("convert", file, "--to", "darknet", "--out", tmp_path / "out")
    assert outcome.lines == ["train: 1 picture", str(tmp_path / "out")]
