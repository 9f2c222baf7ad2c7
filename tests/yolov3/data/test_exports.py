"""The folders that Roboflow and Ultralytics export, as they come out of the zip file."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolov3.data.dataset import open_dataset, splits_of
from yolov3.errors import UserError

BOX = "0 .5 .5 .5 .5\n"  # of a 40x20 picture: 10, 5, 30, 15
XML = (
    "<annotation><filename>{name}</filename><object><name>cat</name>"
    "<bndbox><xmin>10</xmin><ymin>5</ymin><xmax>30</xmax><ymax>15</ymax></bndbox></object></annotation>"
)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(path)
    return path


def yolo_picture(path):
    """A picture in a folder below images/ and its label file below labels/."""
    labels = Path(picture(path).as_posix().replace("/images/", "/labels/")).with_suffix(".txt")
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text(BOX)


def opened(source):
    """``{split: file names}`` of all splits, each box checked."""
    found = {}
    for split in splits_of(source):
        dataset = open_dataset(source, split, strict=True)
        assert dataset.names == ["cat"]
        for record in dataset.records:
            np.testing.assert_allclose(record.boxes_xyxy, [[10, 5, 30, 15]])
        found[split] = [record.picture.name for record in dataset.records]
    return found


ALL = {"train": ["train 1.jpg"], "val": ["valid 1.jpg"], "test": ["test 1.jpg"]}


def test_roboflow_yolo(tmp_path):
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\nnames: ['cat']\n\n"
        "roboflow:\n  workspace: w\n  project: p\n  version: 1\n  license: CC BY 4.0\n  url: https://universe\n"
    )
    for split in ("train", "valid", "test"):
        yolo_picture(tmp_path / split / "images" / f"{split} 1.jpg")
    assert opened(tmp_path) == opened(tmp_path / "data.yaml") == ALL


def test_roboflow_coco(tmp_path):
    for split in ("train", "valid", "test"):
        picture(tmp_path / split / f"{split} 1.jpg")
        content = {
            "images": [{"id": 0, "file_name": f"{split} 1.jpg", "height": 20, "width": 40}],
            "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [10, 5, 20, 10], "segmentation": []}],
            "categories": [{"id": 0, "name": "cat", "supercategory": "none"}],
        }
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content))
    assert opened(tmp_path) == ALL


def test_roboflow_voc(tmp_path):
    for split in ("train", "valid", "test"):
        path = picture(tmp_path / split / f"{split} 1.jpg")
        path.with_suffix(".xml").write_text(XML.format(name=path.name))
    assert opened(tmp_path) == ALL
    picture(tmp_path / "train" / "unlabelled.jpg")
    report = open_dataset(tmp_path).report
    assert [problem.name for problem in report.problems["missing annotation"]] == ["unlabelled.xml"]


def test_roboflow_darknet(tmp_path):
    for split in ("train", "valid", "test"):
        picture(tmp_path / split / f"{split} 1.jpg").with_suffix(".txt").write_text(BOX)
        (tmp_path / split / "_darknet.labels").write_text("cat\n")
    assert opened(tmp_path) == ALL


def test_a_split_that_an_export_lacks(tmp_path):
    picture(tmp_path / "train" / "a.jpg").with_suffix(".xml").write_text(XML.format(name="a.jpg"))
    with pytest.raises(UserError, match="has no split 'val'; it has train"):
        open_dataset(tmp_path, "val")


@pytest.mark.parametrize("path", ["coco8", "../datasets/coco8", "/content/datasets/coco8", "."])
@pytest.mark.parametrize("names", ["\n  0: cat", "[cat]"])
def test_ultralytics_inside_its_own_folder(tmp_path, path, names):
    """``path:`` is written for a folder of all data sets; where nothing is there, the yaml's own folder counts."""
    folder = tmp_path / "sets" / "coco8"
    yolo_picture(folder / "images" / "train" / "a.JPG")
    yolo_picture(folder / "images" / "val" / "b.jpeg")
    (folder / "data.yaml").write_text(
        f"# COCO8\npath: {path} # dataset root dir\ntrain: images/train # 4 images\nval: images/val\n"
        f"test: # test images (optional)\n\nnames:{' ' + names}\n\ndownload: https://example.org/coco8.zip\n"
    )
    assert opened(folder) == {"train": ["a.JPG"], "val": ["b.jpeg"]}


@pytest.mark.parametrize("path", ["coco8", "../datasets/coco8"])
def test_ultralytics_beside_its_folder(tmp_path, path):
    yolo_picture(tmp_path / "datasets" / "coco8" / "images" / "train" / "a.jpg")
    (tmp_path / "datasets" / "coco8.yaml").write_text(f"path: {path}\ntrain: images/train\nnames:\n  0: cat\n")
    assert opened(tmp_path / "datasets" / "coco8.yaml") == {"train": ["a.jpg"]}


SIGNS = ["a #1.jpg", "b=2.jpg", "50% c.jpg", "ä 猫.jpg", "d'e\"f.jpg", "x.y.rf.0123abc.jpg", "UPPER.JPG"]


@pytest.mark.parametrize("name", SIGNS)
def test_file_names_with_signs(tmp_path, name):
    yolo_picture(tmp_path / "train #1 =%" / "images" / name)
    (tmp_path / "data.yaml").write_text("train: 'train #1 =%/images'\nnames: [cat]\n")
    assert opened(tmp_path) == {"train": [name]}
    (tmp_path / "list.txt").write_text(f"./train #1 =%/images/{name}\n", encoding="utf-8")
    (tmp_path / "data.yaml").write_text("train: list.txt\nnames: [cat]\n")
    assert opened(tmp_path) == {"train": [name]}
