"""The parsers and how each is called, as a table: what is damaged, how, and what a valid result must look like."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from unittest.mock import patch

import numpy as np

from minidl.serialize import FileFormatError, load
from tests.fuzz import commands, samples
from tests.fuzz.formats import mutated_archive, mutated_png, mutated_weights
from tests.fuzz.mutate import mutated_bytes, mutated_json, mutated_text
from yolov3.checkpoint import load_checkpoint
from yolov3.data.dataset import open_dataset, splits_of
from yolov3.data.download import _unpack
from yolov3.data.files import picture_size
from yolov3.data.manifest import ManifestFile
from yolov3.errors import UserError
from yolov3.frames import open_frames
from yolov3.image import load_image
from yolov3.loading import load_detector
from yolov3.resume import load_run, settings_of


@dataclass(frozen=True)
class Parser:
    """One kind of file.

    files: of a valid sample, ``{path: content}``; targets: which of them are damaged, and how, ``{path: mutate}``;
    read: called with the folder of the sample and the damaged file, returns if that is valid; share: of all inputs.
    """

    name: str
    files: dict
    targets: dict
    read: Callable
    share: int = 1
    refusals: tuple = (UserError,)
    names_file: bool = True  # whether a refusal must say which file it is about


PICTURE_SIZE = samples.WIDTH, samples.HEIGHT


def _dataset(source, split="train"):
    def read(folder, target):
        # Pictures are damaged elsewhere: here they are not decoded, which takes two threads and most of the time.
        with patch("yolov3.data.records.picture_sizes", lambda paths: (size for size in [PICTURE_SIZE] * len(paths))):
            for name in splits_of(folder / source) if split is None else [split]:
                check_dataset(open_dataset(folder / source, name))

    return read


def check_dataset(dataset):
    """Whatever was wrong: what is left can be trained on."""
    for record in dataset.records:
        x_min, y_min, x_max, y_max = record.boxes_xyxy.T
        assert np.isfinite(record.boxes_xyxy).all()
        assert ((x_min >= 0) & (x_max <= record.width) & (x_min < x_max)).all()
        assert ((y_min >= 0) & (y_max <= record.height) & (y_min < y_max)).all()
        assert ((record.labels >= 0) & (record.labels < len(dataset.names))).all()
    assert all(isinstance(name, str) and name for name in dataset.names)
    for line in dataset.report.summary():
        check_sentence(line)


def check_sentence(sentence):
    """One line that a person can read."""
    assert "\n" not in sentence, f"more than one line: {sentence!r}"
    assert len(sentence) < 3000, f"{len(sentence)} characters: {sentence[:300]!r}"


def _picture(folder, target):
    try:
        size = picture_size(target)
    except UserError:
        size = None
    image = load_image(target)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert size in (None, image.shape[1::-1])


def _detector(folder, target):
    loaded = load_detector(folder / "n.weights", cfg=folder / "n.cfg")
    assert len(loaded.names) == loaded.model.classes


def _arrays(folder, target):
    found, _ = load(target)
    assert all(isinstance(array, np.ndarray) for array in found.values())


def _checkpoint(folder, target):
    loaded = load_checkpoint(target)
    assert len(loaded.names) == loaded.model.classes
    height, width = loaded.image_size
    assert height % 32 == width % 32 == 0


def _run(folder, target):
    checkpoint, path, _ = load_run(folder)
    settings, data = settings_of(checkpoint, path)
    assert isinstance(data["data"], str)
    assert isinstance(settings.epochs, int)


UNPACKED = [
    ManifestFile(path, sha256(content).hexdigest(), len(content))
    for path, content in (("a.txt", b"0 0.5 0.5 0.1 0.1\n"), ("images/b.bin", bytes(300)))
]


def _archive(folder, target):
    _unpack(target, UNPACKED, folder / "unpacked", target)


def _video(folder, target):
    with open_frames(target, limit=6) as frames:
        for frame in frames:
            assert frame.image.dtype == np.uint8


def _beside_commands(folder):
    """The files that commands are about."""
    found = {f"voc/{path}": content for path, content in samples.voc().items()}
    found |= samples.network(folder) | samples.checkpoint(folder) | {"p.png": samples.picture()}
    return found | {"run.npz": samples.run(folder)["last.npz"]}


def parsers(folder):
    """All parsers by name; ``folder`` is for what must be written to be made."""
    tables = (_data_sets(), _networks(folder), _pictures(), _command_lines(folder), _videos())
    return {parser.name: parser for table in tables for parser in table}


def _data_sets():
    voc, yolo = samples.voc(), samples.yolo()
    short = yolo | {"data.yaml": b"train: [images, more.txt]\nnames: [a, b]\nkpt_shape: [2, 3]\n"}
    coco = samples.coco()
    darknet = dict.fromkeys(("obj.data", "obj.names", "train.txt"), mutated_text)
    roboflow = dict.fromkeys(("train/_darknet.labels", "train/a.txt"), mutated_text)
    roboflow["valid/_annotations.coco.json"] = mutated_json
    return [
        Parser("VOC .xml", voc, {"Annotations/a.xml": mutated_text}, _dataset("."), 16),
        Parser("VOC list", voc, {"ImageSets/Main/trainval.txt": mutated_text}, _dataset("."), 5),
        Parser("data.yaml", yolo, {"data.yaml": mutated_text}, _dataset("data.yaml", None), 8),
        Parser("YOLO labels", short, {"labels/a.txt": mutated_text}, _dataset("data.yaml"), 16),
        Parser("picture list", short, {"more.txt": mutated_text}, _dataset("data.yaml"), 5),
        Parser("COCO .json", coco, {"instances_train.json": mutated_json}, _dataset("instances_train.json"), 24),
        Parser("Darknet .data", samples.darknet(), darknet, _dataset("obj.data"), 10),
        Parser("Roboflow", samples.roboflow(), roboflow, _dataset(".", None), 6),
    ]


def _networks(folder):
    network = {"n.cfg": mutated_text, "n.weights": mutated_weights, "n.names": mutated_text}
    arrays, checkpoint, run = samples.arrays(folder), samples.checkpoint(folder), samples.run(folder)
    return [
        Parser(".cfg .weights", samples.network(folder), network, _detector, 24),
        Parser("serialize", arrays, {"arrays.npz": mutated_archive}, _arrays, 26, (FileFormatError,)),
        Parser("checkpoint", checkpoint, {"last.npz": mutated_archive}, _checkpoint, 1),
        Parser("run", run, {"last.npz": mutated_archive}, _run, 1),
        Parser("archive", {"set.zip": samples.zipped()}, {"set.zip": mutated_archive}, _archive, 8),
    ]


def _pictures():
    pictures = samples.pictures()
    table = []
    for kind in ("jpg", "png", "gif", "bmp", "tif", "webp", "ppm"):
        files = {name: content for name, content in pictures.items() if name.endswith(kind)}
        targets = dict.fromkeys(files, mutated_png if kind == "png" else mutated_bytes)
        table.append(Parser(f"picture .{kind}", files, targets, _picture, 14))
    return table


def _command_lines(folder):
    parsed, run = commands.files_of(commands.RUN | commands.PARSED), commands.files_of(commands.RUN)
    how = {"refusals": (commands.Refused,), "names_file": False}
    mutate = commands.mutated_arguments
    return [
        Parser("arguments", parsed, dict.fromkeys(parsed, mutate), commands.parse, 30, **how),
        Parser("commands", _beside_commands(folder) | run, dict.fromkeys(run, mutate), commands.run, 2, **how),
    ]


def _videos():
    mp4 = samples.mp4()
    return [Parser("video .mp4", {"v.mp4": mp4}, {"v.mp4": mutated_bytes}, _video, 2)] if mp4 else []
