"""YOLO data sets: a ``data.yaml`` that names the splits and classes, and one text file of boxes per picture.

A line of a label file is ``class cx cy w h``, the box as fractions of the picture's width and height.
"""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from yolov3.boxes import cxcywh_to_xyxy
from yolov3.data.coco import read_coco
from yolov3.data.files import is_file, pictures_in, read_bytes, read_text
from yolov3.data.records import LabelledObject, LabelledPicture
from yolov3.errors import UserError

YAML_LIMIT = 1_000_000  # bytes
LABEL_LIMIT = 1_000_000  # bytes: some 25,000 boxes
LIST_LIMIT = 100_000_000  # bytes


def read_yolo(yaml_file, split, names, report):
    """Read one split of a ``data.yaml``: ``(names, list of LabelledPicture)``.

    Keys: ``path`` (folder that the rest is relative to; default and starting point: the yaml's own), ``train`` /
    ``val`` / ``test`` (a folder, searched recursively, a ``.txt`` list of pictures, a list of these, or a COCO
    ``.json``), ``names`` (list, or dict from 0), ``nc`` (optional, checked).  The argument ``names`` overrides the
    file's order and choice of classes.  Raises ``UserError`` for a file that does not say these things.
    """
    config = load_yaml(yaml_file)
    base = base_folder(config, yaml_file)
    places = [locate(entry, base, yaml_file) for entry in split_entries(config, split, yaml_file)]
    if places[0].suffix.lower() == ".json":
        if len(places) > 1:
            raise UserError(f"{yaml_file}: {split!r} lists several entries, but a COCO .json must stand alone")
        own_names = class_names(config, yaml_file) if "names" in config else None
        return read_coco(places[0], names or own_names, report)
    own_names = class_names(config, yaml_file)

    listed = [picture for place in places for picture in pictures_of_entry(place, base, report)]
    pictures = list(dict.fromkeys(listed))  # a picture that two entries name counts once
    labelled_pictures, missing = [], []
    for picture in pictures:
        annotation = label_file(picture)
        if not is_file(annotation):
            missing.append(annotation)
            detail = f"does not exist, so {picture.name} counts as background; make an empty file if that is right"
            report.add("assumed background", annotation, detail)
            labelled_pictures.append(LabelledPicture(picture, annotation))
            continue
        objects = read_label_file(annotation, own_names, report)
        if objects is not None:
            labelled_pictures.append(LabelledPicture(picture, annotation, objects, relative=True))
    if missing and len(missing) == len(pictures):
        raise UserError(
            f"{yaml_file}: none of the pictures of split {split!r} has a label file; the first should be {missing[0]}"
        )
    return names or own_names, labelled_pictures


def load_yaml(yaml_file):
    """The yaml file's mapping.  Raises ``UserError`` if it is anything else."""
    import yaml

    content = read_bytes(yaml_file, YAML_LIMIT)
    try:
        config = yaml.safe_load(content)
    except Exception as error:  # besides YAMLError: ValueError for a date 2024-13-45, KeyError for !!bool x, ...
        reason = " ".join(str(error).split())
        raise UserError(f"{yaml_file}: is not valid YAML ({reason})") from error
    if not isinstance(config, dict):
        raise UserError(f"{yaml_file}: must hold keys such as train, val and names, but holds no mapping")
    return config


def class_names(config, yaml_file):
    """The ``names`` of the yaml, as a list; both ``[a, b]`` and ``{0: a, 1: b}`` are understood."""
    names = config.get("names")
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise UserError(f"{yaml_file}: the keys of 'names' must be 0, 1, ... {len(names) - 1} without a gap")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise UserError(f"{yaml_file}: needs 'names', a list of class names or a mapping from 0, 1, ... to them")
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{yaml_file}: name {i} of 'names' is {name!r}, not text; put it in quotes")
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise UserError(f"{yaml_file}: 'names' has {twice!r} twice; every class needs a name of its own")
    count = config.get("nc", len(names))
    if count != len(names):
        raise UserError(f"{yaml_file}: nc is {count!r} but 'names' has {len(names)} names; correct one of them")
    return names


def split_entries(config, split, yaml_file):
    """The entries of a split as a list of texts; ``val`` may also be spelled ``valid``."""
    entry = config.get(split) or (config.get("valid") if split == "val" else None)
    entries = entry if isinstance(entry, list) else [entry]
    if not entry:
        present = [name for name in ("train", "val", "valid", "test") if config.get(name)]
        raise UserError(f"{yaml_file}: has no split {split!r}; it has {', '.join(present) or 'none'}")
    if not all(isinstance(item, str) and item for item in entries):
        raise UserError(f"{yaml_file}: {split!r} must be a folder, a .txt or .json file or a list of these: {entry!r}")
    return entries


def base_folder(config, yaml_file):
    """The folder that the splits are relative to: ``path``, below the yaml's own folder, or that folder itself."""
    path = config.get("path") or "."
    if not isinstance(path, str):
        raise UserError(f"{yaml_file}: 'path' must be a folder's name, not {path!r}")
    return yaml_file.parent / path


def locate(entry, base, yaml_file):
    """Where a split's entry is: below ``base``, else beside the yaml.

    Roboflow's exports say ``../train/images`` for ``train/images`` beside the yaml; that is tried last.
    """
    here = yaml_file.parent
    places = [base / entry, here / entry, here / entry.removeprefix("../")]
    for place in places:
        if os.path.exists(place):
            return place
    raise UserError(f"{yaml_file}: {entry!r} does not exist; looked for {os.path.normpath(places[0])}")


def pictures_of_entry(place, base, report):
    """The pictures of a folder and its subfolders, or of a ``.txt`` list with one path per line.

    Paths in a list are relative to the list's own folder or to ``base``, the data set's ``path``.
    """
    if place.is_dir():
        return pictures_in(place, recursive=True)
    if place.suffix.lower() != ".txt":
        raise UserError(f"{place}: is neither a folder nor a .txt list of pictures")
    pictures = []
    for number, line in enumerate(read_text(place, LIST_LIMIT).splitlines(), 1):
        if not line.strip():
            continue
        places = [folder / line.strip() for folder in (place.parent, base)]
        picture = next((path for path in places if is_file(path)), None)
        if picture is None:
            report.add(
                "missing picture", place, f"{places[0]} does not exist; add it or cut the line", f"line {number}"
            )
        else:
            pictures.append(picture)
    return pictures


def label_file(picture):
    """``.../images/a.jpg -> .../labels/a.txt``: the last folder called ``images`` is replaced.

    Without such a folder, or where only that file exists, the label file lies beside the picture.
    """
    beside = picture.with_suffix(".txt")
    parts = list(beside.parts)
    if "images" not in parts:
        return beside
    last = len(parts) - 1 - parts[::-1].index("images")
    in_labels = Path(*parts[:last], "labels", *parts[last + 1 :])
    return beside if is_file(beside) and not is_file(in_labels) else in_labels


def read_label_file(annotation, names, report):
    """The objects of one label file, boxes as fractions of the picture.

    Broken lines are reported and left out.  None, if the file or every line of it is broken: then the picture is
    left out too, because without its boxes it would teach that there is nothing to see.
    """
    try:
        lines = read_text(annotation, LABEL_LIMIT).splitlines()
    except UserError as error:
        report.add("broken annotation", annotation, str(error).removeprefix(f"{annotation}: "))
        return None
    places, boxes_cxcywh, broken, filled = [], [], 0, 0
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        filled += 1
        where = f"line {number}"
        try:
            label, cx, cy, w, h = (float(word) for word in words)
            if not label.is_integer():
                raise ValueError
        except ValueError:
            broken += 1
            wanted = "a line is five numbers, 'class cx cy w h' (polygons are not read)"
            report.add("broken annotation", annotation, f"{wanted}, but this one is {line.strip()[:60]!r}", where)
            continue
        if not 0 <= label < len(names):
            detail = f"class id {label:.0f} is not in 0 ... {len(names) - 1}, the {len(names)} names of the data set"
            report.add("class id out of range", annotation, f"{detail}; correct it or add the name", where)
            continue
        places.append((where, names[int(label)]))
        boxes_cxcywh.append((cx, cy, w, h))
    if filled and broken == filled:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found when the boxes are checked
        boxes_xyxy = cxcywh_to_xyxy(np.array(boxes_cxcywh).reshape(-1, 4))  # (n, 4)
    return [LabelledObject(*place, tuple(box)) for place, box in zip(places, boxes_xyxy.tolist(), strict=True)]
