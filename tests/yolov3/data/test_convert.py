"""Conversion between the formats: the files of each by hand, and there and back between all of them."""

import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.yolov3.data.small_sets import NAMES, record, reopened
from yolov3.data import convert as module
from yolov3.data.convert import convert
from yolov3.data.dataset import Dataset, open_dataset
from yolov3.data.report import Report
from yolov3.data.writers import WRITERS


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
