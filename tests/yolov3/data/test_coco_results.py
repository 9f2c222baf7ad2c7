"""Results in COCO's format: the ids they carry, and that pycocotools reads them and comes to the same figures."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.yolov3.coco_tools import NUMBERS, pycocotools_figures
from yolov3.data.coco_results import coco_detections, coco_ids, coco_truth, one_a_line
from yolov3.data.dataset import open_dataset
from yolov3.data.shapes import ShapesDataset
from yolov3.errors import UserError
from yolov3.evaluate import score
from yolov3.metrics import PictureDetections


def scattered(dataset, seed=0):
    """Detections about the objects of a data set: most are right, some are of another class or nowhere."""
    generator = np.random.default_rng(seed)
    found = []
    for record in dataset.records:
        boxes = np.repeat(record.boxes_xyxy.astype(float), 2, axis=0)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = boxes + generator.normal(0, 0.06, boxes.shape) * sides
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = np.repeat(record.labels, 2)
        wrong = generator.random(len(labels)) < 0.2
        labels = np.where(wrong, generator.integers(0, len(dataset.names), len(labels)), labels)
        found.append(PictureDetections(boxes, generator.random(len(labels)), labels))
    return found


def write_files(folder, dataset, found):
    ids = coco_ids(dataset)
    (folder / "coco_detections.json").write_text(one_a_line(coco_detections(dataset, found, *ids)))
    (folder / "coco_truth.json").write_text(json.dumps(coco_truth(dataset, *ids)))


def with_flags(dataset):
    """The data set with every seventh object difficult and every eleventh a crowd."""
    number = 0
    for record in dataset.records:
        indices = number + np.arange(len(record.labels))
        number += len(record.labels)
        record.difficult[:], record.crowd[:] = indices % 7 == 3, indices % 11 == 5
    return dataset


@pytest.mark.parametrize("make", [ShapesDataset, lambda *given, **size: with_flags(ShapesDataset(*given, **size))])
def test_pycocotools_reads_the_files_and_comes_to_the_same_figures(tmp_path, make):
    dataset = make("val", size=40, image_size=256)  # shapes of 31 to 115 pixels: all three sizes
    found = scattered(dataset)
    write_files(tmp_path, dataset, found)
    coco = score(found, dataset).coco
    figures = [getattr(coco, name) for name in NUMBERS]
    assert 0.2 < coco.ap < 0.9
    np.testing.assert_allclose(pycocotools_figures(tmp_path), figures, atol=1e-9)


def test_the_files_by_hand():
    dataset = ShapesDataset("val", size=2)
    dataset.records[:] = [
        replace(
            dataset.records[0],
            boxes_xyxy=np.array([[1, 2, 31, 42], [5, 5, 10, 10]], np.float32),
            labels=np.array([2, 0]),
            difficult=np.array([False, True]),
            crowd=np.array([True, False]),
            areas=np.array([700.5, 25.0]),
        ),
        replace(
            dataset.records[1],
            boxes_xyxy=np.zeros((0, 4), np.float32),
            labels=np.zeros(0, int),
            difficult=np.zeros(0, bool),
            crowd=np.zeros(0, bool),
            areas=np.zeros(0),
        ),
    ]
    found = [PictureDetections([], [], []), PictureDetections([[1.5, 2, 3, 5]], [0.1 + 0.2], [1])]
    ids = coco_ids(dataset)
    assert ids == ([1, 2], {0: 1, 1: 2, 2: 3})
    assert coco_detections(dataset, found, *ids) == [
        {"image_id": 2, "category_id": 2, "bbox": [1.5, 2.0, 1.5, 3.0], "score": 0.1 + 0.2}
    ]
    truth = coco_truth(dataset, *ids)
    assert truth["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 3,
            "bbox": [1.0, 2.0, 30.0, 40.0],
            "area": 700.5,
            "iscrowd": 1,
            "ignore": 0,
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "bbox": [5.0, 5.0, 5.0, 5.0],
            "area": -1.0,
            "iscrowd": 0,
            "ignore": 1,
        },
    ]
    assert [(image["id"], image["width"], image["height"]) for image in truth["images"]] == [(1, 96, 96), (2, 96, 96)]
    names = [(category["id"], category["name"]) for category in truth["categories"]]
    assert names == [(1, "circle"), (2, "square"), (3, "triangle")]


def write_coco(folder, broken=()):
    """A COCO data set of four pictures with ids out of order and categories with gaps; returns its file."""
    images = [{"id": number, "file_name": f"p{number}.png", "width": 64, "height": 64} for number in (30, 7, 900, 12)]
    for image in images:
        content = np.zeros((64, 64, 3), np.uint8)
        Image.fromarray(content).save(folder / image["file_name"])
    for number in broken:
        (folder / f"p{number}.png").write_bytes(b"no picture")
    annotations = [
        {"id": 100 + image["id"], "image_id": image["id"], "category_id": category, "bbox": [4, 4, 30, 40], "area": 900}
        for image, category in zip(images, (90, 5, 90, 5), strict=True)
    ]
    categories = [{"id": 90, "name": "zebra"}, {"id": 5, "name": "apple"}]
    file = folder / "instances_val.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def test_a_coco_data_set_keeps_the_ids_of_its_file(tmp_path):
    dataset = open_dataset(write_coco(tmp_path))
    assert coco_ids(dataset) == ([30, 7, 900, 12], {0: 5, 1: 90})
    # Other classes in another order, one of them unknown to the file.
    dataset = open_dataset(tmp_path / "instances_val.json", names=["zebra", "cow", "apple"])
    ids = coco_ids(dataset)
    assert ids == ([30, 7, 900, 12], {0: 90, 2: 5})
    found = [PictureDetections([[0, 0, 9, 9]] * 3, [0.9, 0.8, 0.7], [0, 1, 2])] * 4
    rows = coco_detections(dataset, found, *ids)
    assert [row["category_id"] for row in rows] == [90, 5] * 4  # of the cow no truth knows
    assert [row["image_id"] for row in rows[::2]] == [30, 7, 900, 12]


def test_the_parent_of_all_categories_has_an_id_only_where_it_is_a_class(tmp_path):
    file = write_coco(tmp_path)
    content = json.loads(file.read_text())
    for category in content["categories"]:
        category["supercategory"] = "zebra"
    content["categories"].append({"id": 91, "name": "zebra"})
    file.write_text(json.dumps(content))
    assert coco_ids(open_dataset(file))[1] == {0: 5, 1: 90}
    content["categories"][0]["supercategory"] = content["categories"][1]["supercategory"] = "thing"
    content["categories"][2]["name"] = "thing"
    file.write_text(json.dumps(content))
    assert coco_ids(open_dataset(file))[1] == {0: 5, 1: 90}
    assert coco_ids(open_dataset(file, names=["apple", "zebra", "thing"]))[1] == {0: 5, 1: 90, 2: 91}


def test_a_broken_picture_of_a_coco_data_set_moves_no_id(tmp_path):
    dataset = open_dataset(write_coco(tmp_path, broken=[7]))
    assert coco_ids(dataset)[0] == [30, 900, 12]


def test_a_file_that_changed_meanwhile_is_refused(tmp_path):
    file = write_coco(tmp_path)
    dataset = open_dataset(file)
    content = json.loads(file.read_text())
    content["images"].pop(1)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="its list of pictures changed"):
        coco_ids(dataset)


def test_our_figures_are_those_of_pycocotools_with_the_data_set_s_own_file(tmp_path):
    dataset = open_dataset(write_coco(tmp_path))
    found = scattered(dataset)
    write_files(tmp_path, dataset, found)
    (tmp_path / "coco_truth.json").write_text(add_crowd_flags(tmp_path / "instances_val.json"))
    coco = score(found, dataset).coco
    np.testing.assert_allclose(pycocotools_figures(tmp_path), [getattr(coco, name) for name in NUMBERS], atol=1e-9)


def add_crowd_flags(file):
    """The file's text with what pycocotools asks for besides."""
    content = json.loads(file.read_text()) | {"info": {}}
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 0
    return json.dumps(content)


def test_one_entry_a_line():
    rows = [{"a": 1}, {"b": 0.1}]
    text = one_a_line(rows)
    assert json.loads(text) == rows
    assert text.splitlines() == ["[", '{"a": 1},', '{"b": 0.1}', "]"]
    assert json.loads(one_a_line([])) == []
