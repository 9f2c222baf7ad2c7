"""yolov3 convert: what is said to be lost, the folder that is written, and what the command refuses."""

import errno
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.yolov3.data.small_sets import record, reopened
from yolov3.data import convert as module
from yolov3.data.convert import convert
from yolov3.data.dataset import Dataset, open_dataset
from yolov3.data.report import Report
from yolov3.data.writers import WRITERS
from yolov3.errors import UserError

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
