"""open_dataset: which source is what, the check of pictures, and the check of boxes whatever format they come in."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from yolov3.data.dataset import Dataset, open_dataset
from yolov3.errors import UserError


def write_coco(folder, boxes_xyxy, size=(40, 20), picture="a.png", save=True, **more):
    """A COCO file for one picture; boxes of the single class ``thing``, numbered from annotation 1.

    The first line of a report's summary is then the note that one file is every split.
    """
    if save:
        Image.new("RGB", size).save(folder / picture)
    annotations = []
    for number, (left, top, right, bottom) in enumerate(boxes_xyxy, 1):
        bbox = [left, top, right - left, bottom - top]
        annotations.append({"id": number, "image_id": 1, "category_id": 1, "bbox": bbox, **more})
    content = {
        "images": [{"id": 1, "file_name": picture, "width": size[0], "height": size[1]}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "thing"}, {"id": 2, "name": "other"}],
    }
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return path


# ---- sources


@pytest.mark.parametrize("name", ["nowhere", "nowhere.yaml", "shape"])
def test_an_unknown_source_lists_what_is_understood(name):
    with pytest.raises(UserError, match=r"no such file or folder; understood are 'shapes' .* COCO"):
        open_dataset(name)


def test_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match=r"this folder holds no data set; understood are"):
        open_dataset(tmp_path)


def test_a_folder_with_an_empty_annotations_folder(tmp_path):
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(UserError, match=r"this folder holds no data set"):
        open_dataset(tmp_path)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "data.csv").write_text("a,b")
    with pytest.raises(UserError, match=r"data\.csv: is no data set; understood are"):
        open_dataset(tmp_path / "data.csv")


@pytest.mark.parametrize("source", ["shapes", "shapes-overlap"])
def test_generated_shapes_have_the_same_interface(source):
    dataset = open_dataset(source, "val")
    assert len(dataset) == len(dataset.records) == 200
    record = dataset.records[0]
    assert dataset.load_image(0).shape == (record.height, record.width, 3)
    assert open_dataset(source, "val", names=dataset.names).names == dataset.names
    with pytest.raises(UserError, match=rf"{source} has the classes .*, not cow"):
        open_dataset(source, "val", names=["cow"])


# ---- pictures


def test_load_image_and_length(tmp_path):
    dataset = open_dataset(str(write_coco(tmp_path, [(1, 2, 3, 4)])))
    assert isinstance(dataset, Dataset)
    assert len(dataset) == 1
    image = dataset.load_image(0)
    assert image.shape == (20, 40, 3)
    assert image.dtype == np.uint8


def make_broken_pictures(folder):
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    for suffix in ("jpg", "png", "bmp"):
        Image.fromarray(noise).save(folder / f"whole.{suffix}")
        content = (folder / f"whole.{suffix}").read_bytes()
        (folder / f"truncated.{suffix}").write_bytes(content[: len(content) // 2])
        (folder / f"whole.{suffix}").unlink()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is not a picture")
    return ["truncated.jpg", "truncated.png", "truncated.bmp", "empty.jpg", "text.jpg"]


def test_broken_pictures_are_skipped_by_name_or_raised(tmp_path):
    names = make_broken_pictures(tmp_path)
    Image.new("RGB", (96, 64)).save(tmp_path / "whole.png")
    for name in [*names, "whole.png"]:
        (tmp_path / name).with_suffix(".txt").write_text("0 .5 .5 .5 .5")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [thing]\n")
    (tmp_path / "train.txt").write_text("\n".join([*names, "whole.png"]))
    dataset = open_dataset(tmp_path)
    assert [record.name for record in dataset.records] == ["whole"]
    assert [problem.name for problem in dataset.report.problems["broken picture"]] == names
    assert dataset.report.summary() == ["skipped 5 broken pictures (truncated.jpg, truncated.png, truncated.bmp, ...)"]
    for problem, name in zip(dataset.report.problems["broken picture"], names, strict=True):
        assert problem.message.startswith(f"{tmp_path / name}: is ")
        assert problem.message.count(name) == 1
    with pytest.raises(UserError, match=r"truncated\.jpg: is no whole picture"):
        open_dataset(tmp_path, strict=True)


def test_strict_stops_decoding_at_the_first_problem(tmp_path, monkeypatch):
    from yolov3.data import files

    seen = []

    def slow_picture_size(path):
        seen.append(path)
        time.sleep(0.005)
        raise UserError(f"{path}: broken")

    monkeypatch.setattr(files, "picture_size", slow_picture_size)
    (tmp_path / "data.yaml").write_text("train: .\nnames: [thing]\n")
    for number in range(100):
        (tmp_path / f"{number}.png").touch()
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(UserError, match=r"0\.png: broken"):
        open_dataset(tmp_path, strict=True)
    assert len(seen) < 50


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    path = write_coco(tmp_path, [(1, 2, 3, 4)])
    (tmp_path / "a.png").write_text("not a picture")
    with pytest.raises(
        UserError, match=r"split 'train' has no usable picture \(problems: 1, such as .*a\.png: is not a"
    ):
        open_dataset(path)


@pytest.mark.parametrize("content", [None, b"not a picture"])
def test_without_a_usable_picture_the_pictures_are_named_before_the_annotations(tmp_path, content):
    mask = {"size": [20, 40], "counts": "`"}
    path = write_coco(tmp_path, [(1, 2, 3, 4)])
    entries = json.loads(path.read_text())
    entries["annotations"].append({"id": 2, "image_id": 1, "category_id": 1, "segmentation": mask})
    path.write_text(json.dumps(entries))
    (tmp_path / "a.png").unlink()
    if content:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError) as error:
        open_dataset(path)
    reason = "a.png: is not a picture" if content else "a.json image 1 (id 1): its picture 'a.png' is in none of"
    assert "has no usable picture (problems: 2, such as " in str(error.value)
    assert reason in str(error.value)


def test_no_class_anywhere_is_an_error(tmp_path):
    for folder in ("Annotations", "JPEGImages"):
        (tmp_path / folder).mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation></annotation>")
    Image.new("RGB", (4, 4)).save(tmp_path / "JPEGImages" / "a.png")
    with pytest.raises(UserError, match="no annotation names a class"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("orientation", "expected"), [(0, (40, 20)), (1, (40, 20)), (3, (40, 20)), (6, (20, 40))])
def test_sizes_are_those_of_the_upright_picture(tmp_path, orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    path = write_coco(tmp_path, [(1, 1, 19, 19)], size=expected, picture="a.jpg", save=False)
    dataset = open_dataset(path, strict=True)
    assert (dataset.records[0].width, dataset.records[0].height) == expected
    assert dataset.load_image(0).shape == (expected[1], expected[0], 3)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10)])
def test_extreme_sizes(tmp_path, size):
    [record] = open_dataset(write_coco(tmp_path, [(0, 0, *size)], size), strict=True).records
    assert (record.width, record.height) == size
    assert record.boxes_xyxy.tolist() == [[0, 0, *size]]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "LA", "I;16"])
def test_colour_modes_are_no_problem(tmp_path, mode):
    name = "a.tif" if mode == "CMYK" else "a.png"
    Image.new(mode, (40, 20)).save(tmp_path / name)
    dataset = open_dataset(write_coco(tmp_path, [(1, 2, 3, 4)], picture=name, save=False), strict=True)
    assert dataset.load_image(0).shape == (20, 40, 3)


def test_another_size_than_stated_is_reported_and_boxes_stay_pixels(tmp_path):
    path = write_coco(tmp_path, [(1, 2, 3, 4)], size=(80, 40))
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    dataset = open_dataset(path)
    assert dataset.records[0].boxes_xyxy.tolist() == [[1, 2, 3, 4]]
    assert dataset.records[0].width == 40
    [problem] = dataset.report.problems["wrong picture size"]
    assert problem.message == (
        f"{path}: states a picture of 80x40 pixels (width x height) but a.png has 40x20; check its boxes"
    )
    with pytest.raises(UserError, match=r"states a picture of 80x40 pixels"):
        open_dataset(path, strict=True)


# ---- boxes


def test_a_box_over_the_border_is_clipped_and_reported(tmp_path):
    path = write_coco(tmp_path, [(-3, 5, 10, 15), (30, 10, 45.5, 22)])
    dataset = open_dataset(path)
    assert dataset.records[0].boxes_xyxy.tolist() == [[0, 5, 10, 15], [30, 10, 40, 20]]
    first, second = dataset.report.problems["box clipped"]
    assert (
        "annotation 1 (id 1): the box (-3, 5, 10, 15) crosses the border of the 40x20 picture by 3 p" in first.message
    )
    assert "by 5.5 pixels" in second.message
    assert dataset.report.summary()[1:] == [
        "clipped 2 boxes that cross the border (a.json annotation 1 (id 1), a.json annotation 2 (id 2))"
    ]
    with pytest.raises(UserError, match=r"a\.json annotation 1 \(id 1\): the box .* crosses the border"):
        open_dataset(path, strict=True)


@pytest.mark.parametrize("box", [(-4, 5, 9, 9), (5, -4, 9, 9), (5, 5, 44, 9), (5, 5, 9, 24)])
def test_every_side_is_clipped(tmp_path, box):
    dataset = open_dataset(write_coco(tmp_path, [box]))
    assert dataset.records[0].boxes_xyxy.tolist() == [np.clip(box, 0, [40, 20, 40, 20]).tolist()]
    [problem] = dataset.report.problems["box clipped"]
    assert "picture by 4 pixels" in problem.message


def test_less_than_a_pixel_over_the_border_is_rounding(tmp_path):
    dataset = open_dataset(write_coco(tmp_path, [(-0.9, 5, 10, 15), (30, 10, 40.5, 20)]), strict=True)
    assert dataset.records[0].boxes_xyxy.tolist() == [[0, 5, 10, 15], [30, 10, 40, 20]]
    assert dataset.report.boxes_rounded == 2
    assert dataset.report.summary()[1:] == []


@pytest.mark.parametrize(
    "box", [(-9, 1, -2, 8), (1, -9, 8, 0), (40, 1, 50, 8), (1, 20, 8, 29), (-9, -9, -1, -1), (40.2, 1, 40.8, 8)]
)
def test_a_box_wholly_outside_is_skipped(tmp_path, box):
    path = write_coco(tmp_path, [(1, 2, 3, 4), box])
    dataset = open_dataset(path)
    assert dataset.records[0].boxes_xyxy.tolist() == [[1, 2, 3, 4]]
    assert dataset.report.counts() == {"box outside": 1}
    with pytest.raises(UserError, match=r"annotation 2 \(id 2\): the box .* is outside the 40x20 picture"):
        open_dataset(path, strict=True)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 9, 5), (9, 5, 5, 9), (5, 5, 5.0001, 9), (5, 5, 5 + 1e-9, 9)])
def test_a_box_without_area_is_skipped(tmp_path, box):
    path = write_coco(tmp_path, [box, (1, 2, 3, 4)])
    dataset = open_dataset(path)
    assert dataset.records[0].boxes_xyxy.tolist() == [[1, 2, 3, 4]]
    assert dataset.report.summary()[1:] == ["skipped 1 zero-area box (a.json annotation 1 (id 1))"]
    with pytest.raises(UserError, match=r"annotation 1 \(id 1\): the box .* without area"):
        open_dataset(path, strict=True)


def test_duplicates_are_kept_and_reported(tmp_path):
    # 10x10 boxes shifted by 0.4: IoU 9.6 / 10.4 = 0.923; by 1: 9 / 11 = 0.818
    path = write_coco(tmp_path, [(5, 5, 15, 15), (5.4, 5, 15.4, 15), (20, 5, 30, 15), (21, 5, 31, 15)])
    dataset = open_dataset(path)
    assert len(dataset.records[0].labels) == 4
    [problem] = dataset.report.problems["duplicate box"]
    assert "annotation 2 (id 2): has nearly the same box (IoU 0.923) as annotation 1 (id 1)" in problem.message
    with pytest.raises(UserError, match=r"annotation 2 \(id 2\): has nearly the same box"):
        open_dataset(path, strict=True)


def test_the_same_box_of_another_class_or_of_a_crowd_is_no_duplicate(tmp_path):
    path = write_coco(tmp_path, [(5, 5, 15, 15), (5, 5, 15, 15)])
    content = json.loads(path.read_text())
    content["annotations"][1]["category_id"] = 2
    path.write_text(json.dumps(content))
    assert open_dataset(path, strict=True).report.counts() == {}
    assert open_dataset(write_coco(tmp_path, [(5, 5, 15, 15)] * 2, iscrowd=1), strict=True).report.counts() == {}


def test_duplicates_are_found_in_crowded_pictures(tmp_path):
    """More boxes than are compared at a time; the only pair is far apart in the list."""
    boxes = [(x, y, x + 1, y + 1) for y in range(20) for x in range(10)]
    boxes.insert(3, (30, 5, 39, 15))
    boxes.append((30, 5, 39, 15))
    [problem] = open_dataset(write_coco(tmp_path, boxes)).report.problems["duplicate box"]
    assert "annotation 202 (id 202): has nearly the same box (IoU 1.000) as annotation 4 (id 4)" in problem.message


def test_opening_twice_gives_the_same(tmp_path):
    path = write_coco(tmp_path, [(1, 2, 3, 4), (-3, 5, 10, 15), (5, 5, 5, 5)])
    first, second = open_dataset(path), open_dataset(path)
    assert first.report.summary() == second.report.summary()
    np.testing.assert_array_equal(first.records[0].boxes_xyxy, second.records[0].boxes_xyxy)
