"""Data sets as files: each function writes the labels and lists of one format into a folder.

They all take ``(folder, names, splits)``: the class names in the order of the labels, and ``{split: list of
NewPicture}``.  The pictures themselves are put where :data:`PICTURE_FOLDERS` says by :mod:`yolov3.data.convert`, which
also leaves out what a format cannot hold.
"""

import json
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from yolov3.boxes import xyxy_to_cxcywh
from yolov3.data.records import Record

PICTURE_FOLDERS = {"yolo": "images/{split}", "voc": "JPEGImages", "coco": "images/{split}", "darknet": "images/{split}"}
DECIMALS = 6  # of a pixel; a float32 at 1,000 pixels has about four


class NewPicture(NamedTuple):
    """One picture of the new data set: its file name there and what it shows."""

    file_name: str
    record: Record

    @property
    def stem(self):
        return Path(self.file_name).stem


def write_yolo(folder, names, splits):
    """``data.yaml``, ``images/<split>/`` and ``labels/<split>/*.txt`` with a line ``class cx cy w h`` for each box."""
    import yaml

    write_label_files(folder, splits)
    config = {split: f"images/{split}" for split in splits} | {"names": dict(enumerate(names))}
    write_lines(folder / "data.yaml", [yaml.safe_dump(config, allow_unicode=True, sort_keys=False).rstrip()])


def write_darknet(folder, names, splits):
    """``obj.data``, ``obj.names``, ``<split>.txt`` with the pictures' paths, and label files as for YOLO.

    Paths are relative to ``folder``, from which the original program must then be started.
    """
    write_label_files(folder, splits)
    keys = {"train": "train", "val": "valid", "test": "test"}
    for split, pictures in splits.items():
        write_lines(folder / f"{split}.txt", [f"images/{split}/{picture.file_name}" for picture in pictures])
    write_lines(folder / "obj.names", names)
    options = {"classes": len(names)} | {keys[split]: f"{split}.txt" for split in splits} | {"names": "obj.names"}
    write_lines(folder / "obj.data", [f"{key} = {value}" for key, value in options.items()])


def write_label_files(folder, splits):
    """``labels/<split>/<stem>.txt`` for every picture, empty where there is nothing to see."""
    for split, pictures in splits.items():
        labels = folder / "labels" / split
        labels.mkdir(parents=True)
        for picture in pictures:
            record = picture.record
            boxes_xyxy = record.boxes_xyxy.astype(np.float64)  # (n, 4) pixels
            boxes_cxcywh = xyxy_to_cxcywh(boxes_xyxy / ([record.width, record.height] * 2))
            rows = zip(record.labels, boxes_cxcywh, strict=True)
            # All digits: with fewer, a box that ends at the border may be read as crossing it.
            lines = [f"{label} " + " ".join(map(str, box.tolist())) for label, box in rows]
            write_lines(labels / f"{picture.stem}.txt", lines)


def write_voc(folder, names, splits):
    """``Annotations/*.xml``, ``JPEGImages/`` and ``ImageSets/Main/<split>.txt``.

    Coordinates are written as our reader takes them (see :mod:`yolov3.data.voc`), with decimals where they have some,
    although VOC's own are whole numbers: rounding them would move boxes.
    """
    (folder / "Annotations").mkdir()
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for split, pictures in splits.items():
        write_lines(folder / "ImageSets" / "Main" / f"{split}.txt", [picture.stem for picture in pictures])
        for picture in pictures:
            tree = ElementTree.ElementTree(voc_annotation(picture, names))
            ElementTree.indent(tree)
            tree.write(folder / "Annotations" / f"{picture.stem}.xml", encoding="utf-8")


def voc_annotation(picture, names):
    """The ``<annotation>`` element of one picture."""
    record = picture.record
    annotation = ElementTree.Element("annotation")
    _add(annotation, "folder", "JPEGImages")
    _add(annotation, "filename", picture.file_name)
    size = _add(annotation, "size")
    for tag, value in {"width": record.width, "height": record.height, "depth": 3}.items():
        _add(size, tag, value)
    for label, box_xyxy, difficult in zip(record.labels, record.boxes_xyxy, record.difficult, strict=True):
        element = _add(annotation, "object")
        _add(element, "name", names[label])
        _add(element, "difficult", int(difficult))
        box = _add(element, "bndbox")
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box_xyxy, strict=True):
            _add(box, tag, int(value) if value == int(value) else value)
    return annotation


def _add(parent, tag, text=""):
    element = ElementTree.SubElement(parent, tag)
    element.text = str(text)
    return element


def write_coco(folder, names, splits):
    """``annotations/instances_<split>.json``; pictures in ``images/<split>/``.

    Category ids count from 1 in the order of ``names``.  A difficult object gets ``"ignore": 1``, as in COCO's own
    versions of Pascal VOC.
    """
    (folder / "annotations").mkdir()
    categories = [{"id": label + 1, "name": name, "supercategory": "none"} for label, name in enumerate(names)]
    for split, pictures in splits.items():
        images, annotations = [], []
        for image_id, picture in enumerate(pictures, 1):
            size = {"width": picture.record.width, "height": picture.record.height}
            images.append({"id": image_id, "file_name": picture.file_name, **size})
            for entry in coco_annotations(picture.record):
                annotations.append({"id": len(annotations) + 1, "image_id": image_id, **entry})
        content = {"images": images, "annotations": annotations, "categories": categories}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        write_lines(folder / "annotations" / f"instances_{split}.json", [text])


def coco_annotations(record):
    """The entries of one picture, without their ids."""
    columns = (record.labels, record.boxes_xyxy.astype(np.float64), record.areas, record.crowd, record.difficult)
    for label, (left, top, right, bottom), area, crowd, difficult in zip(*columns, strict=True):
        bbox = [round(float(number), DECIMALS) for number in (left, top, right - left, bottom - top)]
        entry = {"category_id": int(label) + 1, "bbox": bbox, "area": round(float(area), DECIMALS)}
        yield entry | {"iscrowd": int(crowd)} | ({"ignore": 1} if difficult else {})


def write_lines(path, lines):
    """A text file in UTF-8, its lines ended as on every system but Windows."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


WRITERS = {"yolo": write_yolo, "voc": write_voc, "coco": write_coco, "darknet": write_darknet}
