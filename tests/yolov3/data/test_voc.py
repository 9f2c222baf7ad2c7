"""Pascal VOC folders: what is read, which pictures a split holds, and every problem by its file and object."""

import shutil

import numpy as np
import pytest
from PIL import Image

from yolov3.data.dataset import open_dataset
from yolov3.data.voc import read_voc
from yolov3.errors import UserError


def xml(objects, size=(40, 30), filename="a.png"):
    """A VOC file; ``objects`` are (name, xmin, ymin, xmax, ymax) or whole <object> texts."""
    parts = [f"<annotation><filename>{filename}</filename>"]
    parts.append(f"<size><width>{size[0]}</width><height>{size[1]}</height></size>")
    for item in objects:
        if isinstance(item, str):
            parts.append(item)
            continue
        name, *corners = item
        tags = ("xmin", "ymin", "xmax", "ymax")
        box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(tags, corners, strict=True))
        parts.append(f"<object><name>{name}</name><bndbox>{box}</bndbox></object>")
    return "".join(parts) + "</annotation>"


@pytest.fixture
def voc(tmp_path):
    """Function ``voc(a=text, b=text, lists={...})`` that writes a VOC folder with one 40x30 picture per text."""

    def write(lists=None, **texts):
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for stem, text in texts.items():
            content = text if isinstance(text, bytes) else text.encode()
            (tmp_path / "Annotations" / f"{stem}.xml").write_bytes(content)
            Image.new("RGB", (40, 30)).save(tmp_path / "JPEGImages" / f"{stem}.png")
        for name, stems in (lists or {"trainval": list(texts), "test": []}).items():
            (tmp_path / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(stems) + "\n")
        return tmp_path

    return write


GOOD = ("cat", 3, 4, 20, 25)


def test_reads_boxes_as_they_stand_and_sorts_the_names_of_all_files(voc):
    folder = voc(
        lists={"trainval": ["a"], "test": ["b"]},
        a=xml([("zebra", 1, 2, 40, 30), GOOD]),
        b=xml([("ape", 5, 5, 9, 9)]),
    )
    dataset = open_dataset(folder)
    assert dataset.names == ["ape", "cat", "zebra"]  # ape is only in the test split
    assert open_dataset(folder, "val").names == dataset.names
    [record] = dataset.records
    np.testing.assert_array_equal(record.boxes_xyxy, np.array([[1, 2, 40, 30], [3, 4, 20, 25]], np.float32))
    assert record.boxes_xyxy.dtype == np.float32
    assert record.labels.tolist() == [2, 1]
    assert record.labels.dtype == np.int64
    assert (record.name, record.width, record.height) == ("a", 40, 30)
    assert record.picture == folder / "JPEGImages" / "a.png"
    assert record.annotation == str(folder / "Annotations" / "a.xml")
    assert dataset.report.summary() == []


def test_difficult_objects_carry_their_flag(voc):
    hard = "<object><name>cat</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
    folder = voc(a=xml([GOOD, hard + "<ymax>9</ymax></bndbox></object>"]))
    [record] = open_dataset(folder).records
    assert record.difficult.tolist() == [False, True]
    assert record.crowd.tolist() == [False, False]


@pytest.mark.parametrize(
    ("lists", "split", "expected"),
    [
        (["train", "val", "trainval", "test"], "train", "trainval"),
        (["train", "val", "trainval", "test"], "val", "test"),
        (["train", "val", "trainval", "test"], "test", "test"),
        (["train", "val", "trainval"], "train", "train"),  # trainval would contain the pictures of val
        (["train", "val", "trainval"], "val", "val"),
        (["train", "val"], "train", "train"),
        (["trainval"], "train", "trainval"),
        (["train", "val", "test"], "val", "val"),  # no trainval is trained on that would hold it
        (["train", "test"], "val", "test"),
        (["train", "fold3"], "fold3", "fold3"),
    ],
)
def test_which_list_a_split_is(voc, lists, split, expected):
    stems = {name: name for name in lists}
    folder = voc(lists={name: [stem] for name, stem in stems.items()}, **{stem: xml([GOOD]) for stem in stems.values()})
    assert [record.name for record in open_dataset(folder, split).records] == [expected]


def test_lists_keep_their_order_ignore_blank_lines_and_the_second_column(voc):
    folder = voc(lists={"train": ["b  1", "", "a -1", "b"]}, a=xml([GOOD]), b=xml([GOOD]))
    assert [record.name for record in open_dataset(folder).records] == ["b", "a"]


@pytest.mark.parametrize(
    ("line", "stem"), [("cell 1", "cell 1"), ("cell 1  -1", "cell 1"), ("cell 2", "cell 2"), ("cell  0", "cell")]
)
def test_a_number_that_is_part_of_the_name_is_no_second_column(voc, line, stem):
    texts = {name: xml([GOOD]) for name in ("cell", "cell 1", "cell 2")}
    folder = voc(lists={"train": [line]}, **texts)
    assert [record.name for record in open_dataset(folder, strict=True).records] == [stem]


def test_a_no_break_space_may_end_a_name(voc):
    folder = voc(lists={"train": ["cell\xa0"]}, **{"cell\xa0": xml([GOOD])})
    assert [record.name for record in open_dataset(folder, strict=True).records] == ["cell\xa0"]


def test_an_unlabelled_picture_whose_name_ends_in_a_number_is_not_another_one(voc):
    folder = voc(lists={"train": ["cell", "cell 1"]}, **{"cell": xml([GOOD]), "cell 1": xml([GOOD])})
    (folder / "Annotations" / "cell 1.xml").unlink()
    dataset = open_dataset(folder)
    assert [record.name for record in dataset.records] == ["cell"]
    assert [problem.name for problem in dataset.report.problems["missing annotation"]] == ["cell 1.xml"]


def test_an_unknown_split_names_the_lists_there_are(voc):
    with pytest.raises(UserError, match=r"has no holdout\.txt; its lists are test, trainval"):
        open_dataset(voc(a=xml([GOOD])), "holdout")


def test_without_lists_every_split_is_the_whole_folder_and_says_so(voc):
    folder = voc(a=xml([GOOD]), b=xml([GOOD]))
    shutil.rmtree(folder / "ImageSets")
    Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / "unlabelled.png")
    dataset = open_dataset(folder, "val")
    assert [record.name for record in dataset.records] == ["a", "b"]
    assert "every split is the whole folder" in dataset.report.summary()[0]
    assert dataset.report.counts() == {"missing annotation": 1}  # a picture nobody labelled


def test_a_picture_is_found_by_stem_then_by_filename(voc):
    folder = voc(a=xml([GOOD], filename="b.png"), b=xml([GOOD]), c=xml([GOOD], filename="C:\\photos\\Other.JPG"))
    (folder / "JPEGImages" / "c.png").unlink()
    Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / "Other.JPG")
    assert [record.picture.name for record in open_dataset(folder).records] == ["a.png", "b.png", "Other.JPG"]


def test_names_argument_fixes_order_and_reports_other_classes(voc):
    folder = voc(a=xml([("dog", 1, 1, 9, 9), GOOD, ("zebra", 1, 1, 8, 8)]))
    dataset = open_dataset(folder, names=["zebra", "cat"])
    assert dataset.names == ["zebra", "cat"]
    assert dataset.records[0].labels.tolist() == [1, 0]
    [problem] = dataset.report.problems["unknown class"]
    assert problem.name == "a.xml object 1 (dog)"
    assert problem.message.startswith(f"{folder / 'Annotations' / 'a.xml'} object 1 (dog): class 'dog' is not among")
    with pytest.raises(UserError, match=r"a\.xml object 1 \(dog\): class 'dog'"):
        open_dataset(folder, names=["zebra", "cat"], strict=True)


BOX = "<xmin>1</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>9</ymax>"

BROKEN_FILES = {
    "empty": b"",
    "garbage": bytes(range(256)) * 4,
    "cut short": xml([GOOD])[:-30].encode(),
    "wrong encoding": '<?xml version="1.0" encoding="utf-8"?><annotation>\xe4</annotation>'.encode("latin-1"),
    "unknown encoding": b'<?xml version="1.0" encoding="klingon"?><annotation/>',
    "another root": b"<html><body/></html>",
    "text": b"a cat at 3, 4",
}


@pytest.mark.parametrize("content", BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_a_broken_file_is_skipped_by_name_or_raised(voc, content):
    folder = voc(good=xml([GOOD]), bad=content)
    dataset = open_dataset(folder)
    assert [record.name for record in dataset.records] == ["good"]
    [problem] = dataset.report.problems["broken annotation"]
    assert problem.name == "bad.xml"
    assert problem.message.startswith(f"{folder / 'Annotations' / 'bad.xml'}: ")
    assert dataset.report.summary() == ["skipped 1 broken annotation (bad.xml)"]
    with pytest.raises(UserError, match=r"bad\.xml: "):
        open_dataset(folder, strict=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entity_bombs_are_refused_in_any_encoding(voc, encoding):
    doctype = '<!DOCTYPE annotation [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    bomb = f"{doctype}<annotation><filename>&b;</filename></annotation>"
    folder = voc(good=xml([GOOD]), bomb=bomb.encode(encoding))
    [problem] = open_dataset(folder).report.problems["broken annotation"]
    assert "bomb.xml: is not valid XML (a DOCTYPE is not allowed)" in problem.message


def test_utf16_with_a_byte_order_mark_is_valid_xml(voc):
    folder = voc(a=xml([("Käfer", 3, 4, 20, 25)]).encode("utf-16"))
    assert open_dataset(folder).names == ["Käfer"]


@pytest.mark.parametrize(
    ("element", "where", "detail"),
    [
        ("<object><name>cat</name></object>", "object 2 (cat)", "needs four numbers"),
        (f"<object><name>cat</name><bndbox>{BOX.format('wide')}</bndbox></object>", "object 2 (cat)", "xmax 'wide'"),
        (f"<object><bndbox>{BOX.format(9)}</bndbox></object>", "object 2", "has no class"),
    ],
)
def test_a_broken_object_is_skipped_and_the_rest_kept(voc, element, where, detail):
    folder = voc(a=xml([GOOD, element, ("cat", 30, 1, 38, 9)]))
    dataset = open_dataset(folder)
    assert dataset.records[0].boxes_xyxy.tolist() == [[3, 4, 20, 25], [30, 1, 38, 9]]
    [problem] = dataset.report.problems["broken annotation"]
    assert problem.name == f"a.xml {where}"
    assert detail in problem.message
    with pytest.raises(UserError) as error:
        open_dataset(folder, strict=True)
    assert str(error.value) == problem.message


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "1e39"])
def test_non_finite_numbers(voc, number):
    folder = voc(a=xml([GOOD, ("cat", 1, 1, number, 9)]))
    dataset = open_dataset(folder)
    assert dataset.records[0].boxes_xyxy.tolist() == [[3, 4, 20, 25]]
    assert dataset.report.summary() == ["skipped 1 non-finite box (a.xml object 2 (cat))"]
    with pytest.raises(UserError, match=r"a\.xml object 2 \(cat\): the box .* is not made of finite numbers"):
        open_dataset(folder, strict=True)


def test_missing_annotation_and_missing_picture(voc):
    folder = voc(lists={"train": ["a", "ghost", "blind"]}, a=xml([GOOD]), blind=xml([GOOD], filename="blind.jpg"))
    (folder / "JPEGImages" / "blind.png").unlink()
    dataset = open_dataset(folder)
    assert [record.name for record in dataset.records] == ["a"]
    assert dataset.report.summary() == [
        "skipped 1 missing picture (blind.xml)",
        "skipped 1 picture without annotation file (ghost.xml)",
    ]
    with pytest.raises(UserError, match=r"ghost\.xml: does not exist"):
        open_dataset(folder, strict=True)


def test_a_broken_file_of_another_split_does_not_concern_this_one(voc):
    folder = voc(lists={"train": ["good"], "val": ["bad"]}, good=xml([GOOD]), bad=b"")
    assert len(open_dataset(folder, strict=True)) == 1


def test_read_voc_itself_checks_no_box(voc, tmp_path):
    from yolov3.data.report import Report

    folder = voc(a=xml([("cat", 5, 5, 5, 5)]))
    names, [picture] = read_voc(folder, "train", None, Report(strict=True))
    assert names == ["cat"]
    assert picture.objects[0].box_xyxy == (5.0, 5.0, 5.0, 5.0)
    assert picture.stated_size == (40, 30)


def test_bccd_as_published(shared):
    train, val = (open_dataset(shared / "data" / "bccd", split) for split in ("train", "val"))
    assert train.names == val.names == ["Platelets", "RBC", "WBC"]
    assert (len(train), len(val)) == (292, 72)

    def per_class(dataset):
        return np.bincount(np.concatenate([record.labels for record in dataset.records]), minlength=3)

    # 361 platelets, 4,155 red and 372 white cells, less the two red cells without area.
    assert (per_class(train) + per_class(val)).tolist() == [361, 4153, 372]
    assert train.report.counts() == {"zero-area box": 2, "duplicate box": 6}
    assert train.report.summary()[0] == (
        "skipped 2 zero-area boxes (BloodImage_00338.xml object 13 (RBC), BloodImage_00343.xml object 4 (RBC))"
    )
    assert val.report.counts() == {"duplicate box": 1}
    assert {(record.width, record.height) for record in train.records} == {(640, 480)}
    with pytest.raises(UserError, match=r"BloodImage_00\d+\.xml object \d+ \(RBC\): "):
        open_dataset(shared / "data" / "bccd", strict=True)


def test_bad_inputs_in_a_voc_folder(shared, voc):
    """The genuinely odd files: a box without area, a cell labelled twice, a grey picture, EXIF orientation 0."""
    bad = shared / "data" / "bad_inputs"
    folder = voc(kangaroo_00076_exif0=xml([("kangaroo", 84, 48, 377, 246)], size=(480, 277)))
    (folder / "JPEGImages" / "kangaroo_00076_exif0.png").unlink()
    for file in bad.glob("*.xml"):
        shutil.copy(file, folder / "Annotations")
    for file in bad.glob("*.jpg"):
        shutil.copy(file, folder / "JPEGImages")
    bccd_picture = shared / "data" / "bccd" / "JPEGImages" / "BloodImage_00020.jpg"
    shutil.copy(bccd_picture, folder / "JPEGImages")
    shutil.rmtree(folder / "ImageSets")

    dataset = open_dataset(folder)
    assert dataset.names == ["Platelets", "RBC", "WBC", "kangaroo", "raccoon"]
    by_name = {record.name: record for record in dataset.records}
    assert by_name["raccoon-150_gray"].boxes_xyxy.tolist() == [[80, 62, 187, 169]]
    kangaroo = by_name["kangaroo_00076_exif0"]
    assert (kangaroo.width, kangaroo.height) == (480, 277)
    assert [problem.name for problem in dataset.report.problems["zero-area box"]] == [
        "BloodImage_00338_zero_area.xml object 13 (RBC)"
    ]
    [duplicate] = dataset.report.problems["duplicate box"]
    assert duplicate.name == "BloodImage_00020_near_duplicate_box.xml object 15 (RBC)"
    # Found by <filename>; the same picture lies there without a label file of its own name.
    assert "BloodImage_00020" in by_name
    assert [problem.name for problem in dataset.report.problems["missing annotation"]] == ["BloodImage_00020.xml"]
