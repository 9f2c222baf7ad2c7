"""Roboflow's exports that keep labels beside the pictures: folders ``train/``, ``valid/`` and ``test/`` with

- one ``_annotations.coco.json`` each (its COCO export), or
- an ``.xml`` for each picture (Pascal VOC), or
- a ``.txt`` for each picture and one ``_darknet.labels`` with the names of the classes (Darknet).

Its YOLO exports have a ``data.yaml`` and are read by :mod:`yolov3.data.yolo_txt`.
"""

from yolov3.darknet.names import read_names
from yolov3.data.coco import read_coco
from yolov3.data.files import pictures_in
from yolov3.data.voc import class_names, read_annotations
from yolov3.data.yolo_txt import read_labels
from yolov3.errors import UserError

COCO_FILE, NAMES_FILE = "_annotations.coco.json", "_darknet.labels"


def split_folders(folder):
    """``{split: folder}`` of the split folders that hold labels in one of the three ways; ``val`` may be ``valid``."""
    found = {}
    for split, name in (("train", "train"), ("val", "valid"), ("val", "val"), ("test", "test")):
        place = folder / name
        if split not in found and ((place / COCO_FILE).is_file() or (place / NAMES_FILE).is_file() or has_xml(place)):
            found[split] = place
    return found


def has_xml(folder):
    """Whether a folder holds ``.xml`` files, which may belong to its pictures."""
    return any(folder.glob("*.xml"))


def read_roboflow(folder, split, names, report):
    """Read one split of such a folder: ``(names, list of LabelledPicture)``.  Raises ``UserError`` if it has none."""
    folders = split_folders(folder)
    if split not in folders:
        raise UserError(f"{folder}: has no split {split!r}; it has {', '.join(folders)}")
    place = folders[split]
    if (place / COCO_FILE).is_file():
        others = [other / COCO_FILE for other in folders.values() if other != place]
        return read_coco(place / COCO_FILE, names, report, others)
    if (place / NAMES_FILE).is_file():
        own_names = read_names(place / NAMES_FILE)
        return names or own_names, read_labels(pictures_in(place), own_names, report, (place, split))
    stems = sorted(path.stem for path in [*place.glob("*.xml"), *pictures_in(place)])
    return names or class_names(folders.values()), read_annotations(dict.fromkeys(stems), place, place, report)
