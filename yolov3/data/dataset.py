"""One door to every kind of data set: :func:`open_dataset` looks at what it is given and reads it."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from yolov3.data.coco import coco_splits, find_annotation_file, read_coco
from yolov3.data.darknet_data import darknet_splits, read_darknet
from yolov3.data.records import Record, build_records
from yolov3.data.report import Report
from yolov3.data.roboflow import read_roboflow, split_folders
from yolov3.data.voc import read_voc, voc_splits
from yolov3.data.yolo_txt import read_yolo, yolo_splits
from yolov3.errors import UserError

GENERATED = {"shapes": False, "shapes-overlap": True}
"""Data sets that need no file, and whether their labels overlap."""

UNDERSTOOD = (
    "'shapes' or 'shapes-overlap' (generated), a Pascal VOC folder (Annotations/*.xml), a YOLO data.yaml or a folder "
    "that holds one, a COCO .json or a folder with annotations/*.json, a Darknet .data file or a folder with one, "
    "Roboflow's folders train/, valid/ and test/"
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The usable pictures of one split: class ``names``, one ``Record`` per picture, and the ``report`` on the rest."""

    names: list[str]
    records: list[Record]
    report: Report

    def __len__(self):
        return len(self.records)

    def load_image(self, index):
        """The picture of record ``index``: (height, width, 3) uint8 RGB."""
        from yolov3.image import load_image

        return load_image(self.records[index].picture)


def open_dataset(source, split="train", strict=False, names=None):
    """Open one split of a data set and check every label of it.

    ``source`` is ``shapes`` or ``shapes-overlap`` (generated; a folder of that name is ``./shapes``), a Pascal VOC
    folder, a ``data.yaml`` (YOLO text files, or COCO where the split's entry ends in ``.json``) or a folder that holds
    one, a COCO ``.json`` (which is one split, whatever ``split`` says) or a folder with ``annotations/*.json``, a
    Darknet ``.data`` file or a folder with one, or Roboflow's folders ``train/``, ``valid/`` and ``test/``.

    What is wrong is skipped, clipped or kept as ``Report`` says and listed in ``dataset.report``; with ``strict`` the
    first problem raises ``UserError`` (only boxes that cross the border by less than one pixel are still clipped).
    ``names`` fixes the classes and their order, for instance those of a trained model; boxes of other classes are
    then reported as unknown.

    Raises ``UserError`` for a source it does not understand and for a split without any usable picture.
    """
    if str(source) in GENERATED:
        return _open_shapes(str(source), split, names)
    report = Report(strict)
    read, _ = _reader_of(Path(source))
    names, labelled_pictures = read(split, None if names is None else list(names), report)
    records = build_records(labelled_pictures, names, report)
    if not records:
        first = report.first_message()
        reason = f"problems: {sum(report.counts().values())}, such as {first}" if first else "it is empty"
        raise UserError(f"{source}: split {split!r} has no usable picture ({reason})")
    if not names:
        raise UserError(f"{source}: no annotation names a class, so there is nothing to learn; label some objects")
    return Dataset(names, records, report)


def _open_shapes(source, split, names):
    from yolov3.data.shapes import ShapesDataset

    dataset = ShapesDataset(split=split, overlap=GENERATED[source])
    if names is not None and list(names) != list(dataset.names):
        raise UserError(f"{source} has the classes {', '.join(dataset.names)}, not {', '.join(names)}; use other data")
    return dataset


def splits_of(source):
    """Which of ``train``, ``val`` and ``test`` a source has; one that is a single split as a whole has ``train``."""
    if str(source) in GENERATED:
        return ["train", "val"]
    _, splits = _reader_of(Path(source))
    found = splits()
    if not found:
        raise UserError(f"{source}: has none of the splits train, val and test; name them so, or give the file itself")
    return found


def _reader_of(source):
    """Choose by what is there: ``read(split, names, report) -> (names, list of LabelledPicture)`` and ``splits()``."""
    if os.path.isdir(source):  # Path.is_dir raises for a name too long to exist
        return _reader_of_folder(source)
    if not os.path.exists(source):
        raise UserError(f"{source}: no such file or folder; understood are {UNDERSTOOD}")
    suffix = source.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return partial(read_yolo, source), partial(yolo_splits, source)
    if suffix == ".data":
        return partial(read_darknet, source), partial(darknet_splits, source)
    if suffix == ".json":
        return partial(_read_coco_file, source), lambda: ["train"]
    raise UserError(f"{source}: is no data set; understood are {UNDERSTOOD}")


def _reader_of_folder(folder):
    # The files decide, not the folder: some file systems cannot tell Annotations from annotations.
    if any((folder / "Annotations").glob("*.xml")):
        return partial(read_voc, folder), partial(voc_splits, folder)
    for name in ("data.yaml", "data.yml"):
        if (folder / name).is_file():
            return partial(read_yolo, folder / name), partial(yolo_splits, folder / name)
    if any((folder / "annotations").glob("*.json")):
        return partial(_read_coco_folder, folder / "annotations"), partial(coco_splits, folder / "annotations")
    data_files = sorted(folder.glob("*.data"))
    if len(data_files) == 1:
        return partial(read_darknet, data_files[0]), partial(darknet_splits, data_files[0])
    if data_files:
        raise UserError(f"{folder}: holds {', '.join(path.name for path in data_files)}; give one of these files")
    if split_folders(folder):
        return partial(read_roboflow, folder), lambda: list(split_folders(folder))
    raise UserError(f"{folder}: this folder holds no data set; understood are {UNDERSTOOD}")


def _read_coco_file(json_file, split, names, report):
    report.notes.append(f"{json_file} is one file, so every split is the whole file")
    return read_coco(json_file, names, report)


def _read_coco_folder(annotations, split, names, report):
    return read_coco(find_annotation_file(annotations, split), names, report, sorted(annotations.glob("*.json")))
