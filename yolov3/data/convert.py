"""From one format of data sets to another: what ``yolov3 convert`` does.

What is converted is what :func:`yolov3.data.dataset.open_dataset` reads, with every box checked and clipped, so the new
set opened by the same function gives the same records.  Where a format cannot hold something, the conversion says so.
"""

import os
import shutil
import unicodedata
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from yolov3.boxes import box_area
from yolov3.data.files import PICTURE_SUFFIXES, is_turned
from yolov3.data.writers import PICTURE_FOLDERS, WRITERS, NewPicture
from yolov3.errors import UserError

HOLDS = {"yolo": (), "darknet": (), "voc": ("difficult",), "coco": ("difficult", "crowd", "areas")}
"""What each format can say about an object besides its class and box."""

UNFINISHED = ".unfinished"
"""Ends the name of the folder that a conversion writes to; only a whole one is given the name asked for."""

# No line or XML file can hold these: control characters, ends of lines, halves of characters, no characters at all.
UNWRITABLE = ("Cc", "Zl", "Zp", "Cs", "Cn")


def convert(datasets, target, out, link=False):
    """Write ``datasets``, ``{split: Dataset}``, in the format ``target``, a key of ``WRITERS``, to folder ``out``.

    Pictures are copied, or with ``link`` symbolic links lead to them.  They keep their names, except where two would
    be one file or a list of pictures could not hold the name.  Classes are united by their names.

    Returns a list of sentences on what the format could not hold.  ``out`` appears when all is written; until then the
    folder is called ``out.unfinished``, and a killed conversion leaves that.  Raises ``UserError`` if either exists,
    and for a class or picture that has no place in a data set's files.
    """
    names = list(dict.fromkeys(name for dataset in datasets.values() for name in dataset.names))
    check_names(names)
    if target == "voc" and not any(len(record.labels) for dataset in datasets.values() for record in dataset.records):
        raise UserError("there is no box to convert, and without one a Pascal VOC folder has no classes")
    splits = new_pictures(datasets, names, target)
    lost = losses(datasets, names, target)
    renamed = sum(new.file_name != new.record.picture.name for pictures in splits.values() for new in pictures)
    if renamed:
        what = "1 file name" if renamed == 1 else f"{renamed} file names"
        lost.append(f"{what} changed: another picture has the name, or lists cannot hold it")
    with new_folder(out) as folder:
        place_pictures(folder, target, splits, link)
        WRITERS[target](folder, names, splits)
    return lost


def new_pictures(datasets, names, target):
    """``{split: list of NewPicture}``: each picture with its new name and what ``target`` can hold of its record."""
    splits, taken = {}, {}
    label_of = {name: label for label, name in enumerate(names)}
    for split, dataset in datasets.items():
        if "{split}" in PICTURE_FOLDERS[target]:
            taken = {}  # a folder of its own
        new_labels = np.array([label_of[name] for name in dataset.names], np.int64)  # (classes of this split,)
        splits[split] = [
            NewPicture(new_name(record.picture, taken), prepared(record, new_labels, target))
            for record in dataset.records
        ]
    return splits


def check_names(names):
    """Raise ``UserError`` for a class name that the lines of a text file cannot hold."""
    for name in names:
        if not name or name != name.strip() or any(unicodedata.category(character) in UNWRITABLE for character in name):
            reason = "it is empty, has blanks at an end, or holds characters that no line of text can"
            raise UserError(f"class {name!r} cannot be written ({reason}): rename it")


def prepared(record, new_labels, target):
    """The record as ``target`` can hold it, with ``new_labels[label]`` for each label."""
    record = replace(record, labels=new_labels[record.labels])
    if target == "voc":
        return replace(record, difficult=record.difficult | record.crowd)
    if "crowd" in HOLDS[target]:
        return record
    single = ~record.crowd  # (n,)
    columns = ("boxes_xyxy", "labels", "difficult", "crowd", "areas")
    return replace(record, **{column: getattr(record, column)[single] for column in columns})


def losses(datasets, names, target):
    """A sentence for each thing that is there and that ``target`` cannot hold."""
    records = [record for dataset in datasets.values() for record in dataset.records]
    crowd = sum(int(record.crowd.sum()) for record in records)
    difficult = sum(int((record.difficult & ~record.crowd).sum()) for record in records)
    areas = sum(int((~_is_box_area(record) & ~record.crowd).sum()) for record in records)
    used = {
        dataset.names[label] for dataset in datasets.values() for record in dataset.records for label in record.labels
    }
    lost = []
    if crowd and target == "voc":
        one, many = "1 crowd box becomes a difficult one", f"{crowd} crowd boxes become difficult ones"
        lost.append(f"{one if crowd == 1 else many}: the format has no mark for crowds")
    elif crowd and "crowd" not in HOLDS[target]:
        what = "1 crowd box is" if crowd == 1 else f"{crowd} crowd boxes are"
        lost.append(f"{what} left out: the format has no mark for crowds, and a crowd is no single object")
    if difficult and "difficult" not in HOLDS[target]:
        one, many = "1 difficult box becomes an ordinary one", f"{difficult} difficult boxes become ordinary ones"
        lost.append(f"{one if difficult == 1 else many}: the format has no mark for it")
    if areas and "areas" not in HOLDS[target]:
        what = "1 area of an outline is" if areas == 1 else f"{areas} areas of outlines are"
        lost.append(f"{what} lost: the format has only boxes")
    outlines = sum(dataset.report.outlines_beside_boxes for dataset in datasets.values())
    if outlines:
        one, many = "1 outline (polygon or mask)", f"{outlines} outlines (polygons or masks)"
        what = f"{one} of an object with a box is" if outlines == 1 else f"{many} of objects with a box are"
        lost.append(f"{what} lost: only boxes are converted")
    if target == "voc" and names != sorted(used):
        lost.append("the order of the classes, and those without a box, are lost: the format has no list of classes")
    turned = sum(is_turned(record.picture) for record in records) if target == "darknet" else 0
    if turned:
        what = "1 picture is" if turned == 1 else f"{turned} pictures are"
        lost.append(f"{what} stored turned, and Darknet itself, unlike this program, does not see the EXIF orientation")
    return lost


def _is_box_area(record):
    return np.isclose(record.areas, box_area(record.boxes_xyxy.astype(np.float64)), rtol=1e-3)  # (n,)


def new_name(picture, taken):
    """A file name for ``picture`` whose stem is not in ``taken``, to which it is added; its own name if possible.

    Stems that differ in nothing but small and capital letters count as the same: some file systems think so.
    ``taken`` is ``{stem in small letters: the last number that was added to it}``.
    """
    suffix = picture.suffix
    if suffix.lower() not in PICTURE_SUFFIXES:
        known = ", ".join(PICTURE_SUFFIXES)
        raise UserError(f"{picture}: its name does not end as pictures in folders must ({known}): rename it")
    unwritable = {c: "_" for c in picture.stem if unicodedata.category(c) in UNWRITABLE}
    first = stem = picture.stem.translate(str.maketrans(unwritable)).strip(" .") or "picture"
    number = taken.get(_folded(first), 1)
    while _folded(stem) in taken:
        number += 1
        stem = f"{first}_{number}"
    taken[_folded(first)] = number
    taken.setdefault(_folded(stem), 1)
    return stem + suffix


def _folded(stem):
    return unicodedata.normalize("NFC", stem).casefold()


@contextmanager
def new_folder(out):
    """A folder to write to, which becomes ``out`` if nothing goes wrong, and else is removed.  Raises ``UserError``."""
    out = Path(os.path.abspath(out))
    unfinished = out.with_name(out.name + UNFINISHED)
    if os.path.lexists(out):
        raise UserError(f"{out} exists, and nothing in it is overwritten: choose another folder with --out")
    try:
        unfinished.mkdir(parents=True)
    except FileExistsError:
        raise UserError(
            f"{unfinished} is what an interrupted conversion left, or one that still runs: remove it"
        ) from None
    except (OSError, ValueError) as error:  # the second for what no file system can call a file
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{out} cannot be made ({reason}): choose another folder with --out") from error
    try:
        yield unfinished
        os.rename(unfinished, out)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise UserError(f"{out} cannot be written ({reason}): make room or choose another with --out") from error
        raise


def place_pictures(folder, target, splits, link):
    """Copy the pictures into the new set, or link to them."""
    from tqdm import tqdm

    for split, pictures in splits.items():
        place = folder / PICTURE_FOLDERS[target].format(split=split)
        place.mkdir(parents=True, exist_ok=True)
        for picture in tqdm(pictures, f"{split}: pictures", leave=False, disable=None, delay=2):
            source, new = picture.record.picture, place / picture.file_name
            if link:
                new.symlink_to(source.resolve())
            else:
                shutil.copyfile(source, new)
