"""Files of class names, and the .data files that lead to them."""

import pytest

from tests.yolov3.refusals import refusal_of
from yolov3.darknet.names import builtin_names, check_names, read_data, read_names
from yolov3.errors import UserError


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "content",
    [
        "cat\nhot dog\nköpek\n",
        "cat\r\nhot dog\r\nköpek\r\n",
        "\ufeffcat\nhot dog\nköpek",
        "cat \n hot dog\nköpek\n\n \n\r\n",
    ],
)
def test_names_one_per_line(tmp_path, content):
    assert read_names(written(tmp_path / "some.names", content)) == ["cat", "hot dog", "köpek"]


def test_a_name_may_repeat_and_hold_any_sign(tmp_path):
    assert read_names(written(tmp_path / "some.names", "#1\ncat=dog\n#1\n")) == ["#1", "cat=dog", "#1"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("cat\n\ndog\n", "line 2 is empty"),
        ("\ncat\n", "line 1 is empty"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        (b"\xff\xfe\x00", "not a text file"),
        ("x" * 1_000_001, "longer than 1 MB"),
    ],
)
def test_bad_names(tmp_path, content, says):
    assert says in refusal_of(read_names, written(tmp_path / "some.names", content))


def test_absent_names(tmp_path):
    assert "cannot be read" in refusal_of(read_names, tmp_path / "none.names")


def test_names_of_coco_and_voc():
    coco, voc = builtin_names("coco"), builtin_names("voc")
    assert (len(coco), len(set(coco)), len(voc), len(set(voc))) == (80, 80, 20, 20)
    # Positions that everybody's files agree on.
    assert [coco[label] for label in (0, 1, 2, 9, 16, 62, 79)] == [
        "person",
        "bicycle",
        "car",
        "traffic light",
        "dog",
        "tvmonitor",
        "toothbrush",
    ]
    assert voc == sorted(voc)
    assert set(voc) < set(coco)  # the original spells the common ones alike
    with pytest.raises(UserError, match=r"'imagenet'.*coco, voc"):
        builtin_names("imagenet")


def test_number_of_names():
    check_names(["cat", "dog"], 2, "some.names")
    with pytest.raises(UserError, match=r"some.names holds 2 names, too few for a network of 3 classes"):
        check_names(["cat", "dog"], 3, "some.names")
    with pytest.raises(UserError, match=r"some.names holds 2 names, too many for a network of 1 classes"):
        check_names(["cat", "dog"], 1, "some.names")


# ------------------------------------------------------------------------------------------------- data


DATA = (
    "\ufeff# COCO\r\nclasses= 80\r\n train  = data/my train.txt\r\n\r\nnames = data/coco.names # all\r\neval=coco\r\n"
)


@pytest.mark.parametrize("folder", ["cfg", ".", "elsewhere/cfg"])
def test_data_finds_names_beside_above_or_here(tmp_path, monkeypatch, folder):
    names = written(tmp_path / "data" / "coco.names", "cat\n")
    monkeypatch.chdir(tmp_path)
    options = read_data(written(tmp_path / folder / "coco.data", DATA))
    assert options.pop("names").resolve() == names.resolve()
    assert options == {"classes": 80, "train": "data/my train.txt", "eval": "coco"}


def test_data_by_a_relative_path(tmp_path, monkeypatch):
    names = written(tmp_path / "data" / "coco.names", "cat\n")
    written(tmp_path / "cfg" / "coco.data", DATA)
    monkeypatch.chdir(tmp_path / "cfg")
    assert read_data("coco.data")["names"].resolve() == names.resolve()


def test_names_beside_come_first(tmp_path, monkeypatch):
    names = [written(tmp_path / folder / "x.names", "cat\n") for folder in ("a/b", "a", ".")]
    data = written(tmp_path / "a" / "b" / "x.data", "names=x.names")
    monkeypatch.chdir(tmp_path)
    for path in names:
        assert read_data(data)["names"].resolve() == path.resolve()
        path.unlink()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("names=nowhere.names", "line 1: there is no file nowhere.names"),
        ("names=" + "x/" * 5000, "line 1: there is no file x/x/"),
        ("classes=2\n\nclasses=2", "line 3: classes stands here again, after"),
        ("classes=many", "line 1: classes=many is no number of classes"),
        ("classes=0", "line 1: classes=0 is no number of classes"),
        ("classes=" + "9" * 5000, "is no number of classes"),
        ("classes", "line 1: classes is neither"),
        ("classes=", "line 1: classes= has no value"),
        ("[net]", "line 1: [net] is neither"),
        (b"\x00", "not a text file"),
    ],
)
def test_bad_data(tmp_path, content, says):
    assert says in refusal_of(read_data, written(tmp_path / "some.data", content))
