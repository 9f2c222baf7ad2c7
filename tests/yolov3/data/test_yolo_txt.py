"""YOLO data sets: both forms of data.yaml, every layout of folders, every broken line by file and number."""

import shutil

import numpy as np
import pytest
from PIL import Image

from yolov3.data.dataset import open_dataset
from yolov3.data.yolo_txt import label_file
from yolov3.errors import UserError

YAML = "train: images\nval: images\nnames: [cat, dog]\n"


@pytest.fixture
def yolo(tmp_path):
    """Function ``yolo(a=text, ...)``: images/a.png of 40x20 pixels, labels/a.txt (None: no file), data.yaml."""

    def write(yaml=YAML, **labels):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for stem, text in labels.items():
            Image.new("RGB", (40, 20)).save(tmp_path / "images" / f"{stem}.png")
            if text is not None:
                content = text if isinstance(text, bytes) else text.encode()
                (tmp_path / "labels" / f"{stem}.txt").write_bytes(content)
        (tmp_path / "data.yaml").write_bytes(yaml if isinstance(yaml, bytes) else yaml.encode())
        return tmp_path / "data.yaml"

    return write


def names_of(dataset):
    return [record.name for record in dataset.records]


def test_fractions_become_pixels(yolo):
    data = yolo(a="1 0.5 0.5 0.5 0.5\n\n0 0.25 0.75 0.1 0.2\n")
    [record] = open_dataset(data, strict=True).records
    # 40x20 pixels: centre (20, 10), size 20x10; centre (10, 15), size 4x4
    np.testing.assert_allclose(record.boxes_xyxy, [[10, 5, 30, 15], [8, 13, 12, 17]], rtol=1e-6)
    assert record.boxes_xyxy.dtype == np.float32
    assert record.labels.tolist() == [1, 0]
    assert record.annotation.endswith("labels/a.txt")


@pytest.mark.parametrize(
    "names",
    [
        *("[cat, dog]", "{0: cat, 1: dog}", "{1: dog, 0: cat}", "\n  0: cat\n  1: dog", "\n- cat\n- dog"),
        *("{'0': cat, '1': dog}", "{'1': dog, 0: cat}", "{'01': dog, '00': cat}"),
    ],
)
def test_names_as_list_and_as_dict(yolo, names):
    data = yolo(f"train: images\nnc: 2\nnames: {names}\n", a="1 .5 .5 .5 .5")
    assert open_dataset(data).names == ["cat", "dog"]
    assert open_dataset(data.parent).names == ["cat", "dog"]  # the folder that holds data.yaml


def test_names_argument_maps_by_name(yolo):
    data = yolo(a="0 .5 .5 .2 .2\n1 .5 .5 .5 .5\n")
    dataset = open_dataset(data, names=["bird", "dog"])
    assert dataset.records[0].labels.tolist() == [1]
    assert [problem.name for problem in dataset.report.problems["unknown class"]] == ["a.txt line 1"]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (b"", "holds no mapping"),
        (b"- train\n- val\n", "holds no mapping"),
        (b"just text", "holds no mapping"),
        (b"train: [images\n", "is not valid YAML"),
        (b"train: images\nnames: [a]\ndate: 2024-13-45\n", "is not valid YAML"),
        (b"names: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        (b"\xff\x00\x81\x82", "is not valid YAML"),
        (b"[" * 5000, "is not valid YAML"),
        (b"train: images\n", "needs 'names'"),
        (b"train: images\nnames: 3\n", "needs 'names'"),
        (b"train: images\nnames: []\n", "needs 'names'"),
        (b"train: images\nnames: cat\n", "needs 'names'"),
        (b"train: images\nnames: {1: a, 2: b}\n", "keys of 'names' must be the whole numbers from 0 to 1, not [1, 2]"),
        (b"train: images\nnames: {'0': a, '2': b}\n", "the whole numbers from 0 to 1, not ['0', '2']"),
        (b"train: images\nnames: {'0': a, 0: b}\n", "the whole numbers from 0 to 1, not ['0', 0]"),
        (b"train: images\nnames: {'0': a, '-1': b}\n", "the whole numbers from 0 to 1, not ['0', '-1']"),
        (b"train: images\nnames: {'0': a, '1.0': b}\n", "the whole numbers from 0 to 1, not ['0', '1.0']"),
        (b"train: images\nnames:\n  ? '" + b"1" * 5000 + b"'\n  : a\n", "the keys of 'names' must be 0, not ['1111"),
        (b"train: images\nnames: {a: 0}\n", "the keys of 'names' must be 0, not ['a']"),
        (b"train: images\nnames: [yes, no]\n", "name 0 of 'names' is True, not text"),
        (b"train: images\nnames: [a, '']\n", "name 1 of 'names' is '', not text"),
        (b"train: images\nnames: [a, b, a]\n", "'names' has 'a' twice"),
        (b"train: images\nnames: [a, b]\nnc: 3\n", "nc is 3 but 'names' has 2 names"),
        (b"val: images\nnames: [a]\n", "has no split 'train'; it has val"),
        (b"train:\nnames: [a]\n", "has no split 'train'; it has none"),
        (b"train: 7\nnames: [a]\n", "'train' must be a folder"),
        (b"train: [images, 7]\nnames: [a]\n", "'train' must be a folder"),
        (b"train: nowhere\nnames: [a]\n", "'nowhere' does not exist"),
        (b"train: data.yaml\nnames: [a]\n", "is neither a folder nor a .txt list"),
        (b"path: 5\ntrain: images\nnames: [a]\n", "'path' must be a folder's name"),
        (b"#" * 1_000_001, "is longer than 1 MB"),
    ],
)
def test_a_wrong_yaml_is_one_clear_sentence(yolo, yaml, message):
    data = yolo(yaml, a="0 .5 .5 .5 .5")
    with pytest.raises(UserError) as error:
        open_dataset(data)
    assert message in str(error.value)
    assert "data.yaml" in str(error.value)
    assert "\n" not in str(error.value)


BROKEN_LINES = {
    "too few": "0 .5 .5 .5",
    "extra column": "0 .5 .5 .5 .5 .9",
    "half a corner": "0 .1 .1 .2 .1 .2 .2 .1",
    "two corners": "0 .1 .1 .2",
    "class of a polygon": "0.5 .1 .1 .2 .1 .2 .2",
    "word": "cat .5 .5 .5 .5",
    "comma": "0,.5,.5,.5,.5",
    "half a class": "0.5 .5 .5 .5 .5",
    "nan class": "nan .5 .5 .5 .5",
}


@pytest.mark.parametrize("line", BROKEN_LINES.values(), ids=BROKEN_LINES.keys())
def test_a_broken_line_is_skipped_and_the_rest_kept(yolo, line):
    data = yolo(a=f"0 .5 .5 .5 .5\n{line}\n1 .2 .2 .1 .1\n")
    dataset = open_dataset(data)
    assert dataset.records[0].labels.tolist() == [0, 1]
    [problem] = dataset.report.problems["broken annotation"]
    assert problem.name == "a.txt line 2"
    assert "a.txt line 2: a line is five numbers" in problem.message
    assert line in problem.message
    with pytest.raises(UserError, match=r"a\.txt line 2: a line is five numbers"):
        open_dataset(data, strict=True)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "1e308"])
@pytest.mark.parametrize("column", [1, 2, 3, 4])
def test_non_finite_numbers(yolo, number, column):
    words = ["0", ".5", ".5", ".5", ".5"]
    words[column] = number
    data = yolo(a="1 .5 .5 .5 .5\n" + " ".join(words))
    dataset = open_dataset(data)
    assert dataset.records[0].labels.tolist() == [1]
    assert dataset.report.summary() == ["skipped 1 non-finite box (a.txt line 2)"]
    with pytest.raises(UserError, match=r"a\.txt line 2: the box .* is not made of finite numbers"):
        open_dataset(data, strict=True)


@pytest.mark.parametrize("label", ["2", "-1", "80", "1e30"])
def test_class_id_out_of_range(yolo, label):
    data = yolo(a=f"0 .5 .5 .5 .5\n{label} .5 .5 .2 .2\n")
    dataset = open_dataset(data)
    assert dataset.records[0].labels.tolist() == [0]
    assert dataset.report.summary() == ["skipped 1 box with a class id out of range (a.txt line 2)"]
    with pytest.raises(UserError, match=r"a\.txt line 2: class id .* is not in 0 \.\.\. 1, the 2 names"):
        open_dataset(data, strict=True)


def test_negative_and_zero_sizes_have_no_area(yolo):
    data = yolo(a="0 .5 .5 -.5 .5\n0 .5 .5 0 .5\n0 .5 .5 .5 .5")
    dataset = open_dataset(data)
    assert len(dataset.records[0].labels) == 1
    first, second = dataset.report.problems["zero-area box"]
    assert "a.txt line 1: the box (30, 5, 10, 15) is -20 wide and 10 high" in first.message
    assert second.name == "a.txt line 2"


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "0 .5 .5 .5 .5".encode("utf-16"), b"x" * 1_000_001]
)
def test_a_file_that_is_no_label_text_is_skipped_with_its_picture(yolo, content):
    data = yolo(good="0 .5 .5 .5 .5", bad=content)
    dataset = open_dataset(data)
    assert names_of(dataset) == ["good"]
    [problem] = dataset.report.problems["broken annotation"]
    assert problem.name == "bad.txt"
    with pytest.raises(UserError, match=r"bad\.txt: is "):
        open_dataset(data, strict=True)


def test_a_file_of_broken_lines_only_does_not_become_background(yolo):
    data = yolo(good="0 .5 .5 .5 .5", broken="0 .1 .1 .2\n1 .1 .1 .2 .1 .2\n")
    dataset = open_dataset(data)
    assert names_of(dataset) == ["good"]
    assert dataset.report.counts() == {"broken annotation": 2}


def test_the_box_around_a_polygon_is_taken_and_counted(yolo):
    data = yolo(a="1 .1 .5 .4 .2 .3 .8\n0 .5 .5 .5 .5\n1 .75 .25 .75 .75 .25 .75 .25 .25")
    dataset = open_dataset(data, strict=True)
    [record] = dataset.records
    # 40x20 pixels: x 4, 16, 12 and y 10, 4, 16; then a box, and the same box by its four corners
    np.testing.assert_allclose(record.boxes_xyxy, [[4, 4, 16, 16], [10, 5, 30, 15], [10, 5, 30, 15]], rtol=1e-6)
    assert record.labels.tolist() == [1, 0, 1]
    assert dataset.report.boxes_from_outlines == 2
    assert dataset.report.summary() == ["2 outlines (polygons or masks) were replaced by the boxes around them"]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
def test_a_polygon_with_a_corner_that_is_no_number(yolo, number):
    dataset = open_dataset(yolo(a=f"0 .1 .1 {number} .2 .3 .3\n1 .5 .5 .5 .5"))
    assert dataset.records[0].labels.tolist() == [1]
    assert dataset.report.counts() == {"non-finite box": 1}


@pytest.mark.parametrize(("shape", "points"), [("[2, 3]", ".1 .1 2 .2 .2 0"), ("[2, 2]", ".1 .1 .2 .2")])
def test_key_points_of_a_pose_set_are_not_taken_for_a_polygon(yolo, shape, points):
    data = yolo(f"train: images\nnames: [person]\nkpt_shape: {shape}\n", a=f"0 .5 .5 .5 .5 {points}")
    dataset = open_dataset(data, strict=True)
    np.testing.assert_allclose(dataset.records[0].boxes_xyxy, [[10, 5, 30, 15]], rtol=1e-6)
    assert dataset.report.boxes_from_outlines == 0


def test_a_byte_order_mark_and_windows_lines_are_read(yolo):
    data = yolo(a=b"\xef\xbb\xbf0 .5 .5 .5 .5\r\n1 .2 .2 .1 .1\r\n")
    assert open_dataset(data, strict=True).records[0].labels.tolist() == [0, 1]


def test_an_empty_file_is_background_and_a_missing_one_too_but_reported(yolo):
    data = yolo(a="", b=None, c="0 .5 .5 .5 .5")
    dataset = open_dataset(data)
    assert [len(record.labels) for record in dataset.records] == [0, 0, 1]
    assert dataset.records[0].boxes_xyxy.shape == (0, 4)
    assert dataset.report.summary() == ["kept as background 1 picture without label file (b.txt)"]
    with pytest.raises(UserError, match=r"b\.txt: does not exist, so b\.png counts as background"):
        open_dataset(data, strict=True)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_broken_picture_without_a_label_file_is_not_kept_as_background(yolo, tmp_path, content):
    data = yolo(a="0 .5 .5 .5 .5", b=None)
    (tmp_path / "images" / "b.png").write_bytes(content)
    dataset = open_dataset(data)
    assert names_of(dataset) == ["a"]
    assert dataset.report.summary() == ["skipped 1 broken picture (b.png)"]
    with pytest.raises(UserError, match=r"b\.png: is not a picture"):
        open_dataset(data, strict=True)


def test_two_pictures_that_share_a_label_file_are_reported(yolo, tmp_path):
    data = yolo(a="0 .5 .5 .5 .5", b=None, c="")
    for name in ("a.jpg", "a.bmp", "b.jpg", "c.d.jpg"):
        Image.new("RGB", (40, 20)).save(tmp_path / "images" / name)
    dataset = open_dataset(data)
    assert names_of(dataset) == ["a", "a", "a", "b", "b", "c.d", "c"]
    assert dataset.report.counts() == {"shared label file": 2, "assumed background": 3}
    first, second = (problem.message for problem in dataset.report.problems["shared label file"])
    assert first.startswith(f"{tmp_path / 'labels' / 'a.txt'}: counts for both {tmp_path / 'images' / 'a.bmp'} and ")
    assert f"{tmp_path / 'images' / 'a.bmp'} and {tmp_path / 'images' / 'a.png'}" in second
    with pytest.raises(UserError, match=r"labels/a\.txt: counts for both"):
        open_dataset(data, strict=True)


def test_without_any_label_file_nothing_is_opened(yolo):
    with pytest.raises(UserError, match=r"none of the pictures of split 'train' has a label file.*labels/a\.txt"):
        open_dataset(yolo(a=None, b=None))


def test_a_folder_without_pictures_is_an_error(yolo):
    with pytest.raises(UserError, match=r"data\.yaml: split 'train' has no usable picture \(it is empty\)"):
        open_dataset(yolo())


def test_path_key_subfolders_and_several_entries(yolo, tmp_path):
    data = yolo("path: set\ntrain: [images/x, images/y]\nval: images\nnames: [cat]\n")
    for sub in ("x", "y/deep"):
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / sub).mkdir(parents=True)
        Image.new("RGB", (40, 20)).save(tmp_path / "set" / "images" / sub / f"{sub[0]}1.PNG")
        (tmp_path / "set" / "labels" / sub / f"{sub[0]}1.txt").write_text("0 .5 .5 .5 .5")
    assert names_of(open_dataset(data, strict=True)) == ["x1", "y1"]
    assert names_of(open_dataset(data, "val", strict=True)) == ["x1", "y1"]


def test_a_list_file_and_its_missing_picture(yolo, tmp_path):
    data = yolo("train: train.txt\nnames: [cat]\n", a="0 .5 .5 .5 .5", b="0 .5 .5 .5 .5")
    absolute = tmp_path / "images" / "a.png"
    (tmp_path / "train.txt").write_text(f"./images/b.png\n\nimages/ghost.png\n{absolute}\nimages/b.png\n")
    dataset = open_dataset(data)
    assert names_of(dataset) == ["b", "a"]  # b is listed twice and read once
    assert [problem.name for problem in dataset.report.problems["missing picture"]] == ["train.txt line 3"]
    with pytest.raises(UserError, match=r"train\.txt line 3: .*ghost\.png does not exist"):
        open_dataset(data, strict=True)


def test_a_list_may_be_relative_to_path(yolo, tmp_path):
    data = yolo("train: lists/train.txt\nnames: [cat]\n", a="0 .5 .5 .5 .5")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("images/a.png\n" + "long" * 200 + ".png\n")
    dataset = open_dataset(data)
    assert names_of(dataset) == ["a"]
    assert dataset.report.counts() == {"missing picture": 1}  # a name longer than any file's


def test_all_places_that_were_tried_are_named(yolo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    yolo("path: set\ntrain: ../valid/images\nnames: [cat]\n")
    with pytest.raises(UserError) as error:
        open_dataset(f"{tmp_path.name}/data.yaml")
    places = f"{tmp_path.name}/valid/images, valid/images"
    assert str(error.value).endswith(f"data.yaml: '../valid/images' does not exist; looked for {places}")
    yolo("train: nowhere\nnames: [cat]\n")
    with pytest.raises(UserError, match=rf"looked for {tmp_path}/nowhere$"):
        open_dataset(tmp_path)


def test_roboflow_layout(tmp_path):
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: ['cat']\nnc: 1\n")
    for split in ("train", "valid"):
        for kind in ("images", "labels"):
            (tmp_path / split / kind).mkdir(parents=True)
        Image.new("RGB", (40, 20)).save(tmp_path / split / "images" / f"{split}.png")
        (tmp_path / split / "labels" / f"{split}.txt").write_text("0 .5 .5 .5 .5")
    assert names_of(open_dataset(tmp_path, "train", strict=True)) == ["train"]
    assert names_of(open_dataset(tmp_path, "val", strict=True)) == ["valid"]


def test_valid_is_another_word_for_val(yolo):
    assert len(open_dataset(yolo("valid: images\nnames: [cat]\n", a="0 .5 .5 .5 .5"), "val")) == 1


def test_the_last_images_folder_becomes_labels(tmp_path):
    picture = tmp_path / "images" / "set" / "images" / "train" / "a.b.jpg"
    assert label_file(picture) == tmp_path / "images" / "set" / "labels" / "train" / "a.b.txt"
    assert label_file(tmp_path / "photos" / "a.jpg") == tmp_path / "photos" / "a.txt"
    assert label_file(tmp_path / "VOC2007" / "JPEGImages" / "a.jpg") == tmp_path / "VOC2007" / "labels" / "a.txt"
    assert label_file(tmp_path / "images") == tmp_path / "images.txt"  # a file of that name is no folder
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "c.txt").touch()  # a label file beside the picture is found as well
    assert label_file(tmp_path / "images" / "c.jpg") == tmp_path / "images" / "c.txt"


def test_aerial_kit(shared, tmp_path):
    folder = shared / "data" / "aerial_kit"
    names = (folder / "aerial.names").read_text().split()
    (tmp_path / "aerial.yaml").write_text(f"path: {folder}\ntrain: images\nnames: {names}\n")
    dataset = open_dataset(tmp_path / "aerial.yaml")
    assert len(dataset) == 65
    labels = np.concatenate([record.labels for record in dataset.records])
    assert np.bincount(labels, minlength=5).tolist() == [2546, 0, 25, 22, 0]
    # Six boxes cross the border, five of them by less than a pixel.
    assert dataset.report.boxes_rounded == 5
    [problem] = dataset.report.problems["box clipped"]
    assert problem.name == "MOS74.txt line 19"
    assert "by 1.14 pixels" in problem.message
    for record in dataset.records:
        assert (record.boxes_xyxy >= 0).all()
        assert (record.boxes_xyxy <= [record.width, record.height] * 2).all()
    with pytest.raises(UserError, match=r"MOS74\.txt line 19: "):
        open_dataset(tmp_path / "aerial.yaml", strict=True)


def test_bad_inputs_in_a_yolo_folder(shared, yolo):
    """Line 19 of the label file reaches over the lower edge; EXIF orientation 0 and a grey picture are no problem."""
    data = yolo("train: images\nnames: [thing]\n")
    bad, folder = shared / "data" / "bad_inputs", data.parent
    shutil.copy(bad / "MOS79_outside.txt", folder / "labels" / "MOS79.txt")
    shutil.copy(shared / "data" / "aerial_kit" / "images" / "MOS79.jpg", folder / "images")
    for stem in ("kangaroo_00076_exif0", "raccoon-150_gray"):
        shutil.copy(bad / f"{stem}.jpg", folder / "images")
        (folder / "labels" / f"{stem}.txt").write_text("0 .5 .5 .5 .5")
    dataset = open_dataset(data, strict=True)
    by_name = {record.name: record for record in dataset.records}
    assert len(by_name["MOS79"].labels) == 25
    assert by_name["MOS79"].boxes_xyxy[18, 3] == by_name["MOS79"].height == 547
    assert dataset.report.boxes_rounded == 1
    np.testing.assert_allclose(by_name["kangaroo_00076_exif0"].boxes_xyxy, [[120, 69.25, 360, 207.75]])
    np.testing.assert_allclose(by_name["raccoon-150_gray"].boxes_xyxy, [[68.75, 45.75, 206.25, 137.25]])
