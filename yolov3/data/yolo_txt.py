"""YOLO data sets: a ``data.yaml`` that names the splits and classes, and one text file of boxes per picture.

A line of a label file is ``class cx cy w h``, the box as fractions of the picture's width and height.  Sets for
segmentation have ``class x1 y1 x2 y2 x3 y3 ...``, the corners of the object's outline: its box is taken.  Sets for pose
(``kpt_shape`` in the yaml) add key points to each box: they are not used.
"""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from reprlib import repr as short_repr  # as repr, but of deep and long values only the beginning

import numpy as np

from yolov3.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from yolov3.data.coco import read_coco
from yolov3.data.files import is_file, pictures_in, read_bytes, read_text
from yolov3.data.outlines import POLYGON_NUMBERS, box_around
from yolov3.data.records import LabelledObject, LabelledPicture
from yolov3.errors import UserError

SPLITS = ("train", "val", "test")
YAML_LIMIT = 1_000_000  # bytes
LABEL_LIMIT = 1_000_000  # bytes: some 25,000 boxes
LIST_LIMIT = 100_000_000  # bytes
LONGEST_NUMBER = 40  # characters in a yaml
NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


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
        return read_coco(places[0], names or own_names, report, coco_files(config, base, yaml_file))
    own_names = class_names(config, yaml_file)
    listed = [picture for place in places for picture in pictures_of_entry(place, (place.parent, base), report)]
    return names or own_names, read_labels(listed, own_names, report, (yaml_file, split), key_points(config))


def read_labels(pictures, names, report, source_and_split, key_point_numbers=0):
    """A ``LabelledPicture`` for each of ``pictures``, from its label file; one without such a file is background.

    ``key_point_numbers``: how many numbers may follow each box.  Raises ``UserError``, which says whose pictures they
    are, if none of them has a label file.
    """
    pictures = list(dict.fromkeys(pictures))  # a picture that two entries name counts once
    labelled_pictures, missing = [], []
    for picture in pictures:
        annotation = label_file(picture)
        if not is_file(annotation):
            missing.append(annotation)
            labelled_pictures.append(LabelledPicture(picture, annotation, is_assumed=True))
            continue
        objects = read_label_file(annotation, names, report, key_point_numbers)
        if objects is not None:
            labelled_pictures.append(LabelledPicture(picture, annotation, objects, relative=True))
    if missing and len(missing) == len(pictures):
        source, split = source_and_split
        raise UserError(
            f"{source}: none of the pictures of split {split!r} has a label file; the first should be {missing[0]}"
        )
    return labelled_pictures


def yolo_splits(yaml_file):
    """Which of train, val and test a ``data.yaml`` names."""
    config = load_yaml(yaml_file)
    return [split for split in SPLITS if entry_of(config, split)]


def load_yaml(yaml_file):
    """The yaml file's mapping.  Raises ``UserError`` if it is anything else."""
    content = read_bytes(yaml_file, YAML_LIMIT)
    try:
        config = safe_yaml(content)
    except Exception as error:  # besides YAMLError: ValueError for a date 2024-13-45, KeyError for !!bool x, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{yaml_file}: is not valid YAML ({reason})") from error
    if not isinstance(config, dict):
        raise UserError(f"{yaml_file}: must hold keys such as train, val and names, but holds no mapping")
    return config


def safe_yaml(content):
    """What YAML text says, without anything that runs code or makes a small file large.

    An alias stands for a copy of another part: ten of ten of ten of them would be gigabytes, as soon as anybody looks
    at them all.  Only an alias of a single text or number is understood.  A number of 100,000 digits takes minutes to
    compute and cannot be printed.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent, index):
            is_alias = self.check_event(yaml.AliasEvent)
            node = super().compose_node(parent, index)
            if is_alias and not isinstance(node, yaml.ScalarNode):
                raise ValueError(
                    f"line {node.start_mark.line + 1}: an alias may only stand for a single text or number"
                )
            if node.tag in NUMBER_TAGS and len(node.value) > LONGEST_NUMBER:
                raise ValueError(f"line {node.start_mark.line + 1}: a number of {len(node.value):,} characters")
            return node

    return yaml.load(content, Loader)


def class_names(config, yaml_file):
    """The ``names`` of the yaml, as a list; ``[a, b]``, ``{0: a, 1: b}`` and ``{'0': a, '1': b}`` are understood."""
    names = config.get("names")
    if isinstance(names, dict):
        by_number = {_as_number(key): name for key, name in names.items()}
        if set(by_number) != set(range(len(names))):
            wanted = "0" if len(names) == 1 else f"the whole numbers from 0 to {len(names) - 1}"
            raise UserError(f"{yaml_file}: the keys of 'names' must be {wanted}, not {short_repr(list(names))}")
        names = [by_number[i] for i in range(len(names))]
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


def _as_number(key):
    """A key of ``names`` that is the text of a whole number as that number, any other as it is."""
    is_number = isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) <= LONGEST_NUMBER
    return int(key) if is_number else key


def key_points(config):
    """How many numbers each line has beyond its box, for key points: ``kpt_shape: [points, 2 or 3 numbers each]``."""
    shape = config.get("kpt_shape")
    is_shape = isinstance(shape, list) and len(shape) == 2 and all(isinstance(size, int) for size in shape)
    return max(0, shape[0] * shape[1]) if is_shape else 0


def entry_of(config, split):
    """What a ``data.yaml`` says about a split, None if nothing; ``val`` may also be spelled ``valid``."""
    return config.get(split) or (config.get("valid") if split == "val" else None)


def split_entries(config, split, yaml_file):
    """The entries of a split as a list of texts."""
    entry = entry_of(config, split)
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
    tried = ", ".join(dict.fromkeys(os.path.normpath(place) for place in places))
    raise UserError(f"{yaml_file}: {entry!r} does not exist; looked for {tried}")


def coco_files(config, base, yaml_file):
    """The COCO files among the splits of a ``data.yaml``, as far as they are there."""
    files = []
    for split in SPLITS:
        entry = entry_of(config, split)
        if isinstance(entry, str) and entry.lower().endswith(".json"):
            with suppress(UserError):  # said where that split is read
                files.append(locate(entry, base, yaml_file))
    return files


def pictures_of_entry(place, bases, report):
    """The pictures of a folder and its subfolders, or of a ``.txt`` list: see :func:`listed_pictures`."""
    if place.is_dir():
        return pictures_in(place, recursive=True)
    if place.suffix.lower() != ".txt":
        raise UserError(f"{place}: is neither a folder nor a .txt list of pictures")
    return listed_pictures(place, bases, report)


def listed_pictures(place, bases, report):
    """The pictures that a list names, one path per line, absolute or relative to one of the folders ``bases``.

    Backslashes, as Windows writes them, separate folders where no file has them in its name.
    """
    pictures = []
    for number, line in enumerate(read_text(place, LIST_LIMIT).splitlines(), 1):
        if not line.strip():
            continue
        spellings = (line.strip(), line.strip().replace("\\", "/"))
        places = [folder / spelling for spelling in spellings for folder in bases]
        picture = next((path for path in places if is_file(path)), None)
        if picture is None:
            report.add(
                "missing picture", place, f"{places[0]} does not exist; add it or cut the line", f"line {number}"
            )
        else:
            pictures.append(picture)
    return pictures


def label_file(picture):
    """``.../images/a.jpg -> .../labels/a.txt``: the last folder called ``images`` (or ``JPEGImages``) is replaced.

    Without such a folder, or where only that file exists, the label file lies beside the picture.
    """
    beside = picture.with_suffix(".txt")
    parts = list(beside.parts)
    found = [index for index, part in enumerate(parts[:-1]) if part in ("images", "JPEGImages")]
    if not found:
        return beside
    last = found[-1]
    in_labels = Path(*parts[:last], "labels", *parts[last + 1 :])
    return beside if is_file(beside) and not is_file(in_labels) else in_labels


def read_label_file(annotation, names, report, key_point_numbers=0):
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
            label, box_cxcywh, is_outline = read_line(words, key_point_numbers)
        except ValueError:
            broken += 1
            wanted = "a line is five numbers, 'class cx cy w h', or a class and the x y of three or more corners"
            report.add("broken annotation", annotation, f"{wanted}, but this one is {line.strip()[:60]!r}", where)
            continue
        if not 0 <= label < len(names):
            detail = f"class id {label:.0f} is not in 0 ... {len(names) - 1}, the {len(names)} names of the data set"
            report.add("class id out of range", annotation, f"{detail}; correct it or add the name", where)
            continue
        report.boxes_from_outlines += is_outline
        places.append((where, names[int(label)]))
        boxes_cxcywh.append(box_cxcywh)
    if filled and broken == filled:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found when the boxes are checked
        boxes_xyxy = cxcywh_to_xyxy(np.array(boxes_cxcywh).reshape(-1, 4))  # (n, 4)
    return [LabelledObject(*place, tuple(box)) for place, box in zip(places, boxes_xyxy.tolist(), strict=True)]


def read_line(words, key_point_numbers=0):
    """``(class id, (cx, cy, w, h) in fractions, whether from an outline)``; ``ValueError`` if the line is broken."""
    label, *numbers = (float(word) for word in words)
    if not label.is_integer():
        raise ValueError
    if len(numbers) == 4 + key_point_numbers:
        return label, tuple(numbers[:4]), False
    if len(numbers) < POLYGON_NUMBERS or len(numbers) % 2:
        raise ValueError
    with np.errstate(over="ignore", invalid="ignore"):
        return label, tuple(xyxy_to_cxcywh(np.array(box_around(numbers[0::2], numbers[1::2])))), True
