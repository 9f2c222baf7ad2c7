"""One door to every kind of data set: :func:`open_dataset` looks at what it is given and reads it."""

import os
from dataclasses import dataclass
from pathlib import Path

from yolov3.data.coco import find_annotation_file, read_coco
from yolov3.data.records import Record, build_records
from yolov3.data.report import Report
from yolov3.data.voc import read_voc
from yolov3.data.yolo_txt import read_yolo
from yolov3.errors import UserError

GENERATED = {"shapes": False, "shapes-overlap": True}
"""Data sets that need no file, and whether their labels overlap."""

UNDERSTOOD = (
    "'shapes' or 'shapes-overlap' (generated), a Pascal VOC folder (Annotations/*.xml), a YOLO data.yaml or a folder "
    "that holds one, a COCO .json or a folder with annotations/*.json"
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
    one, a COCO ``.json`` (which is one split, whatever ``split`` says) or a folder with ``annotations/*.json``.

    What is wrong is skipped, clipped or kept as ``Report`` says and listed in ``dataset.report``; with ``strict`` the
    first problem raises ``UserError`` (only boxes that cross the border by less than one pixel are still clipped).
    ``names`` fixes the classes and their order, for instance those of a trained model; boxes of other classes are
    then reported as unknown.

    Raises ``UserError`` for a source it does not understand and for a split without any usable picture.
    """
    if str(source) in GENERATED:
        return _open_shapes(str(source), split, names)
    report = Report(strict)
    names, labelled_pictures = _read(Path(source), split, None if names is None else list(names), report)
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


def _read(source, split, names, report):
    """Choose the reader by what is there: ``(names, list of LabelledPicture)``."""
    if os.path.isdir(source):  # Path.is_dir raises for a name too long to exist
        # The files decide, not the folder: some file systems cannot tell Annotations from annotations.
        if any((source / "Annotations").glob("*.xml")):
            return read_voc(source, split, names, report)
        for name in ("data.yaml", "data.yml"):
            if (source / name).is_file():
                return read_yolo(source / name, split, names, report)
        if any((source / "annotations").glob("*.json")):
            return read_coco(find_annotation_file(source / "annotations", split), names, report)
        raise UserError(f"{source}: this folder holds no data set; understood are {UNDERSTOOD}")
    if not os.path.exists(source):
        raise UserError(f"{source}: no such file or folder; understood are {UNDERSTOOD}")
    if source.suffix.lower() in (".yaml", ".yml"):
        return read_yolo(source, split, names, report)
    if source.suffix.lower() == ".json":
        report.notes.append(f"{source} is one file, so every split is the whole file")
        return read_coco(source, names, report)
    raise UserError(f"{source}: is no data set; understood are {UNDERSTOOD}")
