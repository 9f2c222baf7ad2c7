"""Darknet's own data sets: a ``.data`` file that names the number of classes, their names, and lists of pictures.

The label files are those of :mod:`yolov3.data.yolo_txt`, and found the same way.
"""

from collections import Counter
from pathlib import Path

from yolov3.darknet.names import check_names, read_data, read_names
from yolov3.data.files import is_file
from yolov3.data.yolo_txt import listed_pictures, read_labels
from yolov3.errors import UserError

KEYS = {"train": "train", "val": "valid", "test": "test"}  # our word for a split: the word in the file


def read_darknet(data_file, split, names, report):
    """Read one split of a ``.data`` file: ``(names, list of LabelledPicture)``.

    Keys: ``train``, ``valid`` and ``test`` (a list with one picture per line), ``names`` (a file with one name per
    line) and ``classes`` (optional, checked).  Such files are written for one working folder, so paths in them are
    looked for in the folders of :func:`bases`.  The argument ``names`` overrides the file's order and choice of
    classes.  Raises ``UserError`` for a file that does not say these things.
    """
    options = read_data(data_file)
    if "names" not in options:
        raise UserError(f"{data_file}: names no classes; add a line such as names = obj.names")
    own_names = read_names(options["names"])
    twice, count = Counter(own_names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{options['names']} has {twice!r} twice; every class needs a name of its own")
    check_names(own_names, options.get("classes", len(own_names)), options["names"])
    key = KEYS.get(split, split)
    if key not in options:
        present = ", ".join(key for key in KEYS.values() if key in options) or "none"
        raise UserError(f"{data_file}: has no split {split!r}, which it would call {key!r}; it has {present}")
    places = [folder / options[key] for folder in bases(data_file)]
    place = next((path for path in places if is_file(path)), None)
    if place is None:
        tried = ", ".join(dict.fromkeys(map(str, places)))
        raise UserError(f"{data_file}: {key} = {options[key]} does not exist; looked for {tried}")
    pictures = listed_pictures(place, (place.parent, *bases(data_file)), report)
    return names or own_names, read_labels(pictures, own_names, report, (data_file, split))


def darknet_splits(data_file):
    """Which of train, val and test a ``.data`` file names."""
    options = read_data(data_file)
    return [split for split, key in KEYS.items() if key in options]


def bases(data_file):
    """Where relative paths may begin: beside the ``.data`` file, in the folder above it, and in the current one."""
    return data_file.parent, data_file.absolute().parent.parent, Path()
