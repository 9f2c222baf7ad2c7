"""Labels that grow when they are read, that run code, or whose paths climb: refused, and cheaply.

Downloads have their tests beside them (``tests/yolov3/data/test_download.py``).
"""

import json
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.fuzz import samples
from tests.fuzz.guard import guarded
from tests.fuzz.memory import LITTLE, at_most, cheap_refusal, put
from tests.yolov3.refusals import refusal_of
from yolov3.data.convert import convert
from yolov3.data.dataset import open_dataset
from yolov3.data.records import MOST_OBJECTS
from yolov3.errors import UserError


def yolo_with(folder, text):
    """The sample data set with another ``data.yaml``; returns the yaml's path."""
    put(folder, samples.yolo())
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


def read_train(path):
    return open_dataset(path, "train")


LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 60))
MERGES = "a0: &a0 {x0: 1}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n  x{n}: 1\n" for n in range(1, 40)
)
HUGE_NUMBER = "0x" + "f" * 300_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LAUGHS + "train: *a59\nnames: [a]\n", "alias"),
        (LAUGHS + "train: images\nnames: [a, *a59]\n", "alias"),
        (LAUGHS + "train: images\nnames: [a]\nnc: *a59\n", "alias"),
        (MERGES + "train: images\nnames: [a]\n", "alias"),
        ("train: &a [*a]\nnames: [a]\n", "alias"),
        (f"train: images\nnames: [a]\nnc: {HUGE_NUMBER}\n", "number"),
        (f"train: images\nnames: [a]\nnc: 1{':59' * 300_000}\n", "number"),
        (f"train: images\nnames: [{HUGE_NUMBER}]\n", "number"),
        (f"train: {'[' * 50_000}\nnames: [a]\n", "YAML"),
        (f"train: {'{a: ' * 5_000}\nnames: [a]\n", "YAML"),
        ("train: images\nnames: [a]\nnc: 1000000000\n", "nc is 1000000000"),
        ("train: images\nnames: [a, b]\nnc: 1e999\n", "nc is"),
        ("train: images\nnames: !!python/object/apply:os.mkdir [executed]\n", "YAML"),
        ("train: !!python/name:os.system\nnames: [a]\n", "YAML"),
        ("a" * 2_000_000, "longer than"),
    ],
    ids=range(15),
)
def test_yaml_that_grows_or_runs(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    sentence = cheap_refusal(read_train, yolo_with(tmp_path / "set", text))
    assert says in sentence
    assert len(sentence) < 3000
    assert not (tmp_path / "executed").exists()


def test_an_alias_of_a_text_is_understood(tmp_path):
    path = yolo_with(tmp_path / "set", "train: &place images\nval: *place\nnames: [a, b]\nkpt_shape: [2, 3]\n")
    assert len(open_dataset(path, "val")) == 2


ENTITIES = '<!DOCTYPE a [<!ENTITY l0 "lol">' + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [
        f"{ENTITIES}]><annotation><object><name>&l11;</name></object></annotation>",
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>',
        '<!DOCTYPE a SYSTEM "http://localhost:9/a.dtd"><annotation/>',
        "<annotation>" + "<a>" * 50_000 + "</a>" * 50_000,
        "<annotation><filename>" + "&#65;" * 1_000_000 + "</filename>",
        "<annotation" + "".join(f" a{n}='{'x' * 90}'" for n in range(10_000)),
    ],
    ids=["laughs", "file", "address", "deep", "text", "attributes"],
)
def test_xml_that_grows(tmp_path, text):
    put(tmp_path, samples.voc())
    (tmp_path / "Annotations/a.xml").write_text(text)
    with at_most(LITTLE):
        dataset = read_train(tmp_path)
    assert [record.name for record in dataset.records] == ["b"]
    (problem,) = dataset.report.problems["broken annotation"]
    assert "a.xml: is not valid XML" in problem.message


def test_deep_xml_that_is_valid(tmp_path):
    put(tmp_path, samples.voc())
    deep = samples.VOC_XML.replace("</annotation>", "<a>" * 100_000 + "</a>" * 100_000 + "</annotation>")
    (tmp_path / "Annotations/a.xml").write_text(deep)
    with at_most(LITTLE):
        assert len(read_train(tmp_path)) == 2


def coco_with(folder, **changes):
    """The sample COCO file with changed top-level lists; returns its path."""
    put(folder, samples.coco())
    path = folder / "instances_train.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


DEEPER = 100_000  # than Python reads


@pytest.mark.parametrize("depth", [*range(800, 1000, 18), DEEPER])
def test_deep_json(tmp_path, depth):
    """Whatever Python can just read it must also be able to show."""
    nested = "[" * depth + "]" * depth
    for key in ("bbox", "category_id", "image_id"):
        path = coco_with(tmp_path)
        path.write_text(path.read_text().replace(f'"{key}": ', f'"{key}": {nested}, "x": ', 1))
        problems = []
        with suppress(UserError):  # deeper than Python reads
            problems = read_train(path).report.counts().values()
        assert sum(problems) == 1 or depth > 900


def test_masks_of_forged_size(tmp_path):
    entries = json.loads(samples.coco()["instances_train.json"])["annotations"]
    for size in ([2**23, 2**23], [10**12, 10**12], [0, 5], [2**24 - 1, 2**24 - 1]):
        entries[2]["segmentation"] = {"size": size, "counts": [0, size[0] * size[1]]}
        with at_most(LITTLE):
            dataset = read_train(coco_with(tmp_path, annotations=entries))
        assert sum(dataset.report.counts().values()) == 1


def test_many_categories_and_names_take_no_longer_than_their_number(tmp_path):
    """Looking each name up among all others would take minutes."""
    many = 100_000
    path = coco_with(tmp_path / "coco", categories=[{"id": n, "name": f"c{n}"} for n in range(many)])
    assert len(read_train(path).names) == many
    put(tmp_path / "darknet", samples.darknet())
    (tmp_path / "darknet/obj.names").write_text("".join(f"c{n}\n" for n in range(many)))
    (tmp_path / "darknet/obj.data").write_text(f"classes={many}\ntrain=train.txt\nnames=obj.names\n")
    assert len(read_train(tmp_path / "darknet/obj.data").names) == many


def test_one_box_again_and_again(tmp_path):
    """Every pair of them is a duplicate: a megabyte of labels would be billions of remarks."""
    path = yolo_with(tmp_path, "train: images\nnames: [a, b]\n")
    few = MOST_OBJECTS // 4
    (tmp_path / "labels/a.txt").write_text("0 .5 .5 .1 .1\n" * few)
    (tmp_path / "labels/b.txt").write_text("0 .5 .5 .1 .1\n" * (MOST_OBJECTS + 1))
    with at_most(LITTLE):
        dataset = read_train(path)
    assert [len(record.labels) for record in dataset.records] == [few]
    assert len(dataset.report.problems["duplicate box"]) == few - 1
    (problem,) = dataset.report.problems["broken annotation"]
    assert f"{MOST_OBJECTS + 1:,} objects" in problem.message


# --- paths that climb ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["yolo", "voc", "coco", "darknet"])
def test_a_conversion_writes_nothing_outside_its_folder(tmp_path, target):
    """Pictures that lie elsewhere are read where the labels say, and keep their names, but not their paths."""
    files = samples.coco()
    content = json.loads(files["instances_train.json"])
    content["images"][0]["file_name"] = "../../pictures/../pictures/a.png"
    content["images"][1]["file_name"] = str(tmp_path / "pictures/b..png")
    files = {"here/set/instances_train.json": json.dumps(content).encode()}
    put(tmp_path, files | {"pictures/a.png": samples.picture(), "pictures/b..png": samples.picture()})
    before = sorted(tmp_path.rglob("*"))
    dataset = open_dataset(tmp_path / "here/set/instances_train.json", "train")
    with guarded(tmp_path / "here"):
        convert({"train": dataset}, target, tmp_path / "here" / "new")
    written = set(tmp_path.rglob("*")) - set(before)
    assert {path.name for path in written} >= {"a.png", "b.png"} or {path.stem for path in written} >= {"a", "b"}
    assert all(path.is_relative_to(tmp_path / "here/new") for path in written)
    with pytest.raises(UserError, match="cannot be written"):
        convert({"train": replace(dataset, names=["../../a\n", "b"])}, target, tmp_path / "here" / "other")


def test_a_category_without_a_name(tmp_path):
    categories = [{"id": 3, "name": " "}, {"id": 11, "name": "cell"}]
    assert "category 1: needs" in refusal_of(read_train, coco_with(tmp_path, categories=categories))


def test_a_folder_that_changes_while_it_is_searched(tmp_path, monkeypatch):
    """As /proc does, where ``train: /`` leads."""

    def vanish(self, pattern):
        raise FileNotFoundError(2, "No such file or directory", "/proc/1/task/2")

    path = yolo_with(tmp_path, "train: images\nnames: [a, b]\n")
    monkeypatch.setattr("pathlib.Path.rglob", vanish)
    with pytest.raises(UserError, match="images: cannot be searched for pictures"):
        read_train(path)
