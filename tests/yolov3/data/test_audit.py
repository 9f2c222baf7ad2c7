"""The report's sentences and the audit's table, against counts done by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolov3.data.audit import audit
from yolov3.data.dataset import Dataset, open_dataset
from yolov3.data.records import Record
from yolov3.data.report import KINDS, Report
from yolov3.errors import UserError


def record(name, size, boxes_xyxy, labels, difficult=0, crowd=0):
    """A Record whose first ``difficult`` boxes are difficult and first ``crowd`` ones crowds."""
    boxes_xyxy = np.array(boxes_xyxy, np.float32).reshape(-1, 4)
    index = np.arange(len(labels))
    flags = (index < difficult, index < crowd)
    return Record(Path(f"{name}.jpg"), name, f"{name}.txt", *size, boxes_xyxy, np.array(labels, np.int64), *flags)


@pytest.fixture
def dataset():
    records = [
        # areas 31*32 = 992 (small), 32*32 = 1024 (medium), 96*96 = 9216 (large)
        record("a", (200, 100), [(0, 0, 31, 32), (0, 0, 32, 32), (4, 4, 100, 100)], [0, 0, 1], difficult=1),
        record("b", (200, 100), [], []),
        record("c", (64, 48), [(10, 10, 20, 14)], [0], crowd=1),
    ]
    return Dataset(["cat", "elephant", "dodo"], records, Report())


def test_the_table(dataset):
    assert audit(dataset).splitlines() == [
        "pictures  3 (1 without boxes)",
        "boxes     4 (1 difficult, 1 crowd)",
        "",
        "class        boxes pictures    small   medium    large",
        "cat              3        2        2        1        0",
        "elephant         1        1        0        0        1",
        "dodo             0        0        0        0        0",
        "all              4        2        2        1        1",
        "",
        "(boxes in pixels)     least   median     most",
        "box width                10     31.5       96",
        "box height                4       32       96",
        "boxes per picture         0        1        3",
        "",
        "picture sizes (width x height)",
        "  200x100: 2",
        "  64x48: 1",
        "",
        "problems",
        "  1 of 3 classes without a box in train (dodo): can never be found: label some, or take the name out",
    ]


def test_problems_are_listed_with_their_sentences(dataset):
    for number in range(1, 24):
        dataset.report.add("zero-area box", "x/a.txt", "has no area", f"line {number}")
    dataset.report.add("missing picture", "x/b.xml", "its picture is gone")
    dataset.report.boxes_rounded += 2
    dataset.report.notes.append("the folder has no lists")
    lines = audit(dataset).splitlines()
    problems = lines[lines.index("problems") - 2 :]
    assert problems[:4] == [
        "note: the folder has no lists",
        "note: 2 boxes clipped at the border by less than a pixel",
        "problems",
        "  skipped 23 zero-area boxes",
    ]
    assert problems[4] == "    x/a.txt line 1: has no area"
    assert problems[23:27] == [
        "    x/a.txt line 20: has no area",
        "    ... and 3 more",
        "  skipped 1 missing picture",
        "    x/b.xml: its picture is gone",
    ]


def test_a_split_without_a_box_that_counts():
    problem = "nothing can be learned or measured with it, so label some objects"
    lines = audit(Dataset(["cat", "dog"], [record("a", (9, 9), [], [])], Report())).splitlines()
    assert lines[-2:] == ["problems", f"  no box in train: {problem}"]
    marked = record("a", (9, 9), [(1, 1, 5, 5), (2, 2, 6, 6)], [0, 1], crowd=2)
    lines = audit(Dataset(["cat", "dog"], [marked], Report()), "val").splitlines()
    assert lines[-2:] == ["problems", f"  no box in val but difficult and crowd ones: {problem}"]


def test_pictures_of_the_training_part_are_found_by_their_files(tmp_path):
    """Whatever their names: a link leads to the very picture, and a file of the same name is another."""
    for folder in ("train", "val"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").touch()
        (tmp_path / folder / f"{folder}.jpg").touch()
    (tmp_path / "val" / "link.jpg").symlink_to(tmp_path / "train" / "a.jpg")

    def dataset(*files):
        records = [record(tmp_path / file, (9, 9), [(1, 1, 5, 5)], [0]) for file in files]
        return Dataset(["cat"], records, Report())

    train_set = dataset("train/a", "train/train")
    advice = "its mAP is too high where they were learned by heart: take them out of one of the two"
    for files, said in (
        (["val/a", "val/val"], "problems: none"),
        (["val/a", "val/link"], f"  1 of 2 pictures of val in train, too (link.jpg): {advice}"),
        (["val/../train/a"], f"  1 of 1 picture of val in train, too (a.jpg): {advice}"),
        (["train/a"] * 6, f"  6 of 6 pictures of val in train, too ({'a.jpg, ' * 5}...): {advice}"),
    ):
        assert audit(dataset(*files), "val", train_set).splitlines()[-1] == said
    assert audit(train_set).splitlines()[-1] == "problems: none"


def test_a_split_with_other_classes():
    train_set, other = (
        Dataset([name], [record("a", (9, 9), [(1, 1, 5, 5)], [0])], Report()) for name in ("cat", "dog")
    )
    lines = audit(other, "val", train_set).splitlines()
    assert lines[-2] == "  val has the classes dog, train has cat: give both the same, in one order"


def test_check_data_compares_the_splits_with_the_training_part(succeeds, tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 20)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels" / f"{name}.txt").write_text("0 .5 .5 .5 .5\n")
    for split, names in {"train": "a", "val": "b", "test": "ab"}.items():
        (tmp_path / f"{split}.txt").write_text("".join(f"images/{name}.png\n" for name in names))
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: val.txt\ntest: test.txt\nnames: [cat]\n")
    lines = succeeds("check-data", "--data", tmp_path).lines
    assert [line for line in lines if line.startswith("problems: none")] == ["problems: none"] * 2
    assert lines[-1].startswith("  1 of 2 pictures of test in train, too (a.png): its mAP")


def test_many_picture_sizes_are_cut_short():
    records = [record(str(i), (100 + i, 50), [], []) for i in range(8)]
    lines = audit(Dataset(["cat"], records, Report())).splitlines()
    assert "  104x50: 1" in lines
    assert "  3 other sizes: 3" in lines
    assert not any(line.startswith("box width") for line in lines)  # there is no box to measure


def test_generated_shapes_can_be_audited():
    lines = audit(open_dataset("shapes", "val")).splitlines()
    assert lines[0] == "pictures  200 (0 without boxes)"
    assert lines[-1] == "problems: none"


def test_summary_counts_and_names_the_first_three():
    report = Report()
    assert report.summary() == []
    report.add("zero-area box", "deep/folder/a.xml", "has no area", "object 3 (cat)")
    assert report.summary() == ["skipped 1 zero-area box (a.xml object 3 (cat))"]
    for name in "bcd":
        report.add("zero-area box", f"deep/folder/{name}.xml", "has no area", "object 1")
    assert report.summary() == ["skipped 4 zero-area boxes (a.xml object 3 (cat), b.xml object 1, c.xml object 1, ...)"]
    assert report.counts() == {"zero-area box": 4}
    assert report.first_message() == "deep/folder/a.xml object 3 (cat): has no area"


@pytest.mark.parametrize("kind", KINDS)
def test_strict_raises_the_same_sentence(kind):
    lenient, strict = Report(), Report(strict=True)
    lenient.add(kind, "x/a.xml", "is wrong; mend it", "object 2")
    with pytest.raises(UserError) as error:
        strict.add(kind, "x/a.xml", "is wrong; mend it", "object 2")
    assert str(error.value) == lenient.problems[kind][0].message == "x/a.xml object 2: is wrong; mend it"


def test_bccd_audit(shared):
    lines = audit(open_dataset(shared / "data" / "bccd", "val")).splitlines()
    assert lines[:2] == ["pictures  72 (0 without boxes)", "boxes     945 (0 difficult, 0 crowd)"]
    counts = {line.split()[0]: [int(word) for word in line.split()[1:3]] for line in lines[4:8]}
    # 3 of the 72 pictures have no red cell labelled
    assert counts == {"Platelets": [69, 39], "RBC": [805, 69], "WBC": [71, 68], "all": [945, 72]}
    assert "  640x480: 72" in lines
