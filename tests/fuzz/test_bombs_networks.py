"""Checkpoints, cfgs and runs that ask for a giant network or claim giant arrays: refused, and cheaply.

``tests/yolov3/darknet/test_cfg_fuzz.py`` has long cfg texts.
"""

import io
import os
import struct
import zipfile

import numpy as np
import pytest

from minidl.serialize import FileFormatError, load, save
from tests.fuzz import commands, samples
from tests.fuzz.formats import npy, settings_text
from tests.fuzz.memory import LITTLE, at_most, cheap_refusal, put
from yolov3.checkpoint import load_checkpoint
from yolov3.darknet.cfg import read_cfg
from yolov3.errors import UserError
from yolov3.loading import load_detector
from yolov3.model import LARGEST_AREA, YOLOv3, check_image_size
from yolov3.resume import load_run, settings_of


def archive(path, members, compression=zipfile.ZIP_STORED):
    """A zip archive of ``{name: bytes}``."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def array_header(shape, descr="<f4"):
    """The beginning of an ``.npy`` file of this shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


SETTINGS = {"settings.json.npy": settings_text({"format": 1})}


def cheap_load(path):
    with at_most(LITTLE), pytest.raises(FileFormatError) as error:
        load(path)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("shape", "descr"),
    [
        ((10**12,), "<f4"),
        ((10**9,), "<f4"),
        ((2**40, 2**40), "<f4"),
        ((2**63,), "<f8"),
        ((-1, -4), "<f4"),
        ((1,), "<U1000000000"),
        ((1,), "|V2000000000"),
        ((4,), "|O"),
        ((), [("a", "<f4", (100_000, 100_000))]),
    ],
)
def test_arrays_of_forged_shape(tmp_path, shape, descr):
    content = array_header(shape, descr) + bytes(16)
    sentence = cheap_load(archive(tmp_path / "forged.npz", SETTINGS | {"model/w.npy": content}))
    assert "model/w" in sentence


def test_an_archive_that_unpacks_to_gigabytes(tmp_path):
    """10 GB of zeros would be 40 MB; 600 MB are more than the memory here, and sooner made."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in SETTINGS.items():
            file.writestr(name, content)
        with file.open("model/w.npy", "w", force_zip64=True) as member:
            member.write(array_header((15 * 10**7,)))
            for _ in range(60):
                member.write(bytes(10**7))
    assert path.stat().st_size < 5_000_000
    assert "packed" in cheap_load(path)


def test_members_that_share_their_bytes(tmp_path):
    """A thousand entries of the archive's table that all point to the same megabyte."""
    path = archive(tmp_path / "shared.npz", SETTINGS | {"model/a.npy": npy(np.zeros(2**18, np.float32))})
    with zipfile.ZipFile(path, "a") as file:
        (first,) = [each for each in file.infolist() if each.filename == "model/a.npy"]
        for number in range(1000):
            same = zipfile.ZipInfo(f"model/b{number}.npy")
            same.header_offset, same.CRC = first.header_offset, first.CRC
            same.file_size, same.compress_size = first.file_size, first.compress_size
            file.filelist.append(same)
            file.NameToInfo[same.filename] = same
        file._didModify = True
    assert path.stat().st_size < 2**21
    cheap_load(path)


def test_settings_that_are_deep_or_long(tmp_path):
    for text in (b"[" * 100_000, b"9" * 100_000, b'{"a":' * 100_000):
        cheap_load(archive(tmp_path / "deep.npz", {"settings.json.npy": npy(np.frombuffer(text, np.uint8))}))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A good checkpoint of a training run: ``(arrays, settings)``."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "good.npz").write_bytes(samples.run(folder)["last.npz"])
    return load(folder / "good.npz")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"names": [f"c{n}" for n in range(300_000)]}, "channels"),
        ({"anchors": {stride: [[1, 1]] * 20_000 for stride in ("8", "16", "32")}}, "channels"),
        ({"names": "a" * 300_000}, "names"),
        ({"names": [["a"], "b"]}, "names"),
        ({"names": {"0": "a"}}, "names"),
        ({"image_size": [32 * 10**9, 32 * 10**9]}, "image size"),
        ({"image_size": [2**13, 2**13]}, "image size"),
        ({"image_size": [64] * 3}, "image size"),
        ({"image_size": [64]}, "image size"),
        ({"image_size": [64.5, 64]}, "image size"),
        ({"image_size": ["64", "64"]}, "image size"),
        ({"training": [["a", 1]]}, "training"),
    ],
    ids=range(12),
)
def test_checkpoints_that_ask_for_a_giant_network(tmp_path, detector, change, says):
    arrays, settings = detector
    save(tmp_path / "forged.npz", arrays, settings | change)
    sentence = cheap_refusal(load_checkpoint, tmp_path / "forged.npz")
    assert says in sentence
    assert len(sentence) < 3000


def test_networks_and_pictures_beyond_reason():
    with at_most(LITTLE), pytest.raises(UserError, match="channels"):
        YOLOv3(classes=10**9)
    with pytest.raises(UserError, match="image size"):
        check_image_size((10**30, 64))
    assert check_image_size((LARGEST_AREA // 32, 32)) == (LARGEST_AREA // 32, 32)


# --- .cfg and .weights --------------------------------------------------------------------------


def network_with(folder, cfg):
    """The sample network with another cfg; returns the cfg's path."""
    put(folder, samples.network(folder))
    (folder / "n.cfg").write_text(cfg)
    return folder / "n.cfg"


def read_detector(cfg):
    return load_detector(cfg.with_suffix(".weights"), cfg=cfg)


@pytest.mark.parametrize(
    "change",
    [
        ("filters=4", "filters=1000000"),
        ("width=32\nheight=32", "width=16384\nheight=16384"),
        ("width=32", "width=99999999999"),
        ("classes=2", "classes=1000000"),
        ("num=3", "num=1000000"),
        ("size=2\nstride=2", "size=999999\nstride=1"),
        ("layers=-2", "layers=" + "-1," * 100_000 + "-1"),
    ],
)
def test_cfgs_that_ask_for_a_giant_network(tmp_path, change):
    assert change[0] in samples.CFG
    path = network_with(tmp_path, samples.CFG.replace(*change))
    with at_most(LITTLE), pytest.raises(UserError, match=r"n\.(cfg|weights)"):
        read_detector(path)


def test_maps_that_are_kept_for_later(tmp_path):
    """Few weights and no single large map, but a hundred of them that must all stay until the end."""
    head = "[net]\nwidth=8192\nheight=8192\nchannels=3\n"
    conv, keep = "[convolutional]\nfilters=1\nactivation=linear\n", "[shortcut]\nfrom=-100\nactivation=linear\n"
    (tmp_path / "n.cfg").write_text(head + conv * 101 + keep * 100)
    assert "maps" in cheap_refusal(read_cfg, tmp_path / "n.cfg")


@pytest.mark.skipif(os.name != "posix", reason="files with holes are a POSIX matter")
def test_a_weights_file_that_is_nothing_but_a_hole(tmp_path):
    """Its length fits the network, 400 GB, and it takes no room on the disk."""
    layer = "[convolutional]\nfilters=40000\nactivation=linear\n"
    path = network_with(tmp_path, "[net]\nwidth=32\nheight=32\nchannels=3\n" + layer * 60)
    path.write_text(
        path.read_text() + "[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nanchors=1,2\nclasses=2\n"
    )
    assert "weights" in cheap_refusal(read_cfg, path)


def test_counts_in_a_weights_file_are_not_believed(tmp_path):
    path = network_with(tmp_path, samples.CFG)
    content = path.with_suffix(".weights").read_bytes()
    path.with_suffix(".weights").write_bytes(struct.pack("<iiiq", 0, 2, 0, 2**63 - 1) + content[20:])
    with at_most(LITTLE):
        assert len(read_detector(path).names) == 2


# --- runs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 1e308),
        ("epochs", "9"),
        ("epochs", 2.5),
        ("epochs", True),
        ("batch", None),
        ("batch", [8]),
        ("seed", 0.5),
        ("learning_rate", "0.1"),
        ("momentum", [0.1]),
        ("image_size", [10**12, 10**12]),
        ("image_size", "64"),
        ("model", ["yolov3"]),
        ("augmentation", {}),
        ("optimizer", 5),
    ],
)
def test_settings_of_a_run_that_cannot_be(tmp_path, detector, name, value):
    arrays, settings = detector
    training = settings["training"] | {"settings": settings["training"]["settings"] | {name: value}}
    save(tmp_path / "last.npz", arrays, settings | {"training": training})
    checkpoint, path, _ = load_run(tmp_path)
    with pytest.raises(UserError, match=r"last\.npz"):
        settings_of(checkpoint, path)


@pytest.mark.parametrize(
    "data", [{"data": 5, "strict": False}, {"data": ["a"], "strict": False}, {"data": "a", "strict": "no"}]
)
def test_data_of_a_run_that_cannot_be(tmp_path, detector, data):
    arrays, settings = detector
    save(tmp_path / "last.npz", arrays, settings | {"training": settings["training"] | {"data": data}})
    checkpoint, path, _ = load_run(tmp_path)
    with pytest.raises(UserError, match=r"last\.npz"):
        settings_of(checkpoint, path)


@pytest.mark.parametrize("value", ["text", [1], [[1, 2], 3], None, 5, {}])
@pytest.mark.parametrize("name", ["settings", "data"])
def test_a_run_without_settings_or_data(tmp_path, detector, name, value):
    arrays, settings = detector
    save(tmp_path / "last.npz", arrays, settings | {"training": settings["training"] | {name: value}})
    checkpoint, path, _ = load_run(tmp_path)
    with pytest.raises(UserError, match=r"last\.npz holds no training run to resume"):
        settings_of(checkpoint, path)


@pytest.mark.parametrize("part", [5, "text", [1], {"steps": "1"}, {"steps": 1, "sums": {}, "seconds": 10**400}])
def test_the_checkpoint_before_the_damaged_one_may_be_damaged_too(tmp_path, detector, part):
    arrays, settings = detector
    save(tmp_path / "previous.npz", arrays, settings | {"training": settings["training"] | {"part": part}})
    (tmp_path / "last.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"last\.npz.*, and so is the one before it, .*previous\.npz: start a new run"):
        load_run(tmp_path)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run that can be resumed, beside its data."""
    folder = tmp_path_factory.mktemp("resumed")
    put(folder / "voc", samples.voc())
    (folder / "line.arguments").write_text("train\n--resume\nrun.npz")
    return folder


@pytest.mark.parametrize(
    ("change", "is_good"),
    [
        ({}, True),
        ({"rows": [{"epoch": 1, "loss": 1, "mAP50": float("nan")}]}, True),
        ({"rows": [{"epoch": 1, "loss": "1"}]}, False),
        ({"rows": [{"loss": 1}]}, False),
        ({"rows": ["a"]}, False),
        ({"rows": {"epoch": 1}}, False),
        ({"rows": [{"epoch": 7}]}, False),
        ({"best": "high"}, False),
        ({"best": None}, False),
        ({"epoch": 1.0}, False),
        ({"epoch": -1, "rows": []}, False),
        ({"epoch": 10**30}, False),
        ({"pictures": 10**30}, False),
        ({"part": {"steps": -1, "sums": {}, "seconds": 1}}, False),
        ({"part": {"steps": 1, "sums": [1], "seconds": 1}}, False),
        ({"part": {"steps": 1, "sums": {"loss": "x"}, "seconds": 1}}, False),
        ({"part": [1]}, False),
        ({"part": "a"}, False),
        ({"part": {"steps": 1, "sums": {}, "seconds": 10**400}}, False),
        ({"part": {"steps": float("inf"), "sums": {}, "seconds": 1}}, False),
    ],
)
def test_the_progress_of_a_run_that_cannot_be(run_folder, detector, change, is_good):
    arrays, settings = detector
    save(run_folder / "run.npz", arrays, settings | {"training": settings["training"] | change})
    if is_good:
        commands.run(run_folder, run_folder / "line.arguments")
    else:
        with pytest.raises(commands.Refused, match=r"yolov3 train: (this checkpoint|the data changed)"):
            commands.run(run_folder, run_folder / "line.arguments")
