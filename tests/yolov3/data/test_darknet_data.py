"""Darknet's .data files: where lists, pictures and names are looked for, and every mistake by its file."""

import numpy as np
import pytest
from PIL import Image

from yolov3.data.dataset import open_dataset, splits_of
from yolov3.errors import UserError

DATA = "classes = 2\ntrain = data/train.txt\nvalid = data/val.txt\nnames = data/obj.names\nbackup = backup/\n"


@pytest.fixture
def darknet(tmp_path):
    """Function ``darknet(data=..., train=..., names=...)``: the folders of AlexeyAB's guide; returns data/obj.data."""

    def write(data=DATA, train="data/images/a.jpg\ndata/images/b.JPG\n", names="red cell\nZelle ü\n"):
        for folder in ("images", "labels"):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        for name in ("a.jpg", "b.JPG", "c.jpg"):
            Image.new("RGB", (40, 20)).save(tmp_path / "data" / "images" / name)
            (tmp_path / "data" / "labels" / name).with_suffix(".txt").write_text("1 .5 .5 .5 .5\n")
        texts = {"obj.data": data, "train.txt": train, "val.txt": f"{tmp_path}/data/images/c.jpg\n", "obj.names": names}
        for name, text in texts.items():
            (tmp_path / "data" / name).write_text(text)
        return tmp_path / "data" / "obj.data"

    return write


def test_paths_relative_to_the_working_folder_of_darknet(darknet):
    """The .data file lies in data/, and its paths begin with data/: they count from the folder above it."""
    data = darknet()
    for source in (data, data.parent):  # the folder that holds the file
        dataset = open_dataset(source, strict=True)
        assert dataset.names == ["red cell", "Zelle ü"]
        assert [record.picture.name for record in dataset.records] == ["a.jpg", "b.JPG"]
        np.testing.assert_allclose(dataset.records[0].boxes_xyxy, [[10, 5, 30, 15]])
        assert dataset.records[0].labels.tolist() == [1]
        assert [record.name for record in open_dataset(source, "val", strict=True).records] == ["c"]
        assert splits_of(source) == ["train", "val"]


@pytest.mark.parametrize(
    "line", ["images/a.jpg", "./images/a.jpg", "data/images/a.jpg", "  images/a.jpg \r", r"data\images\a.jpg"]
)
def test_other_places_where_paths_may_begin(darknet, line):
    assert [record.name for record in open_dataset(darknet(train=f"{line}\n"), strict=True).records] == ["a"]


def test_paths_that_begin_in_the_current_folder(darknet, tmp_path, monkeypatch):
    data = darknet(train="pictures/d.jpg\n")
    Image.new("RGB", (40, 20)).save(tmp_path / "d.jpg")
    (tmp_path / "here" / "pictures").mkdir(parents=True)
    (tmp_path / "d.jpg").rename(tmp_path / "here" / "pictures" / "d.jpg")
    (tmp_path / "here" / "pictures" / "d.txt").write_text("0 .5 .5 .5 .5 \n")  # beside the picture
    monkeypatch.chdir(tmp_path / "here")
    assert [record.name for record in open_dataset(data, strict=True).records] == ["d"]


def test_labels_of_a_voc_set_as_darknets_script_makes_them(darknet, tmp_path):
    """scripts/voc_label.py puts labels/ beside JPEGImages/."""
    for folder in ("JPEGImages", "labels"):
        (tmp_path / "VOC2007" / folder).mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(tmp_path / "VOC2007" / "JPEGImages" / "v.jpg")
    (tmp_path / "VOC2007" / "labels" / "v.txt").write_text("0 .5 .5 .5 .5\n")
    dataset = open_dataset(darknet(train=f"{tmp_path}/VOC2007/JPEGImages/v.jpg\n"), strict=True)
    assert len(dataset.records[0].labels) == 1


def test_names_argument_and_a_missing_picture(darknet):
    dataset = open_dataset(darknet(train="images/ghost.jpg\nimages/a.jpg\n"), names=["x", "Zelle ü"])
    assert dataset.records[0].labels.tolist() == [1]
    assert [problem.name for problem in dataset.report.problems["missing picture"]] == ["train.txt line 1"]


def test_file_names_with_signs(darknet, tmp_path):
    names = ["a #1.jpg", "b=2.jpg", "50% c.jpg", "ä 猫.jpg"]
    data = darknet(train="".join(f"images/{name}\n" for name in names))
    for name in names:
        Image.new("RGB", (40, 20)).save(tmp_path / "data" / "images" / name)
        (tmp_path / "data" / "labels" / name).with_suffix(".txt").write_text("0 .5 .5 .5 .5\n")
    assert [record.picture.name for record in open_dataset(data, strict=True).records] == names


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"data": DATA.replace("names = data/obj.names\n", "")}, r"obj\.data: names no classes"),
        ({"data": DATA.replace("obj.names", "no.names")}, r"there is no file data/no\.names"),
        ({"data": DATA.replace("classes = 2", "classes = 3")}, r"obj\.names holds 2 names, too few .* of 3 classes"),
        ({"data": DATA.replace("train = data/train.txt\n", "")}, r"no split 'train', .*'train'; it has valid"),
        ({"data": DATA.replace("train.txt", "nowhere.txt")}, r"train = data/nowhere\.txt does not exist"),
        ({"data": "just text"}, r"obj\.data line 1"),
        ({"names": "cell\ncell\n"}, r"has 'cell' twice"),
        ({"train": ""}, r"split 'train' has no usable picture"),
    ],
)
def test_mistakes(darknet, written, says):
    with pytest.raises(UserError, match=says) as error:
        open_dataset(darknet(**written))
    assert "\n" not in str(error.value)


def test_a_folder_with_two_data_files_asks_for_one(darknet):
    data = darknet()
    (data.parent / "voc.data").write_text(DATA)
    with pytest.raises(UserError, match=r"holds obj\.data, voc\.data; give one of these files"):
        open_dataset(data.parent)
