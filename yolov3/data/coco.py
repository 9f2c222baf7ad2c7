"""COCO detection files: one JSON with ``images``, ``annotations`` and ``categories`` for a whole split."""

import json
import math
import re
import sys
from reprlib import repr as short_repr  # as repr, but of deep and long values only the beginning

from yolov3.data.files import is_file, read_bytes
from yolov3.data.outlines import segmentation_box
from yolov3.data.records import LabelledObject, LabelledPicture
from yolov3.errors import UserError

JSON_LIMIT = 2_000_000_000  # bytes; instances_train2017.json has 470 million


def read_coco(json_file, names, report, others=()):
    """Read a COCO file: ``(names, list of LabelledPicture)``.

    ``names=None`` takes the categories sorted by id, so that the ids, which have gaps, become labels 0, 1, ...; one
    that is only the parent of the others (:func:`unused_parent`) is no class, unless it is one in ``others``, files
    of the same data set, whose splits must have the same classes.
    A ``bbox`` is ``[left, top, width, height]`` in pixels; an entry without one gets the box around its
    ``segmentation``.  ``iscrowd`` becomes the crowd flag, ``ignore`` (which COCO's versions of Pascal VOC use) the
    difficult flag, and ``area`` stays the object's.  Pictures are looked for by ``file_name`` in the folders of
    :func:`picture_folders`.  Raises ``UserError`` if the file as a whole is not a COCO file; single broken entries are
    reported and left out.
    """
    content = load_json(json_file)
    category_names, parent = read_categories(content, json_file)
    if parent and is_class_in(others, parent, category_names):
        category_names = dict(sorted([*category_names.items(), parent]))
    elif parent and names is None:
        category = f"category {short_repr(parent[0])} ({short_repr(parent[1])})"
        report.notes.append(f"{json_file}: {category} only groups the others and has no box: it is no class")
    images = read_images(content["images"], json_file, report)
    objects = {image_id: [] for image_id in images}
    for number, annotation in enumerate(content["annotations"], 1):
        where = f"annotation {number}"
        if isinstance(annotation, dict) and is_whole(annotation.get("id")):
            where += f" (id {annotation['id']})"
        try:
            image_id, labelled_object = read_object(annotation, where, objects, category_names)
        except UnknownCategory as error:
            report.add("unknown class", json_file, str(error), where)
        except UserError as error:
            report.add("broken annotation", json_file, str(error), where)
        else:
            objects[image_id].append(labelled_object)
            report.boxes_from_outlines += not annotation.get("bbox")
            report.outlines_beside_boxes += bool(annotation.get("bbox") and annotation.get("segmentation"))

    folders = picture_folders(json_file)
    labelled_pictures = []
    for image_id, (where, file_name, size) in images.items():
        picture = next((folder / file_name for folder in folders if is_file(folder / file_name)), None)
        if picture is None:
            places = ", ".join(str(folder) for folder in folders)
            detail = f"its picture {file_name!r} is in none of {places}; add it or remove the entry"
            report.add("missing picture", json_file, detail, where)
            continue
        labelled_pictures.append(LabelledPicture(picture, json_file, objects[image_id], size))
    return names or list(category_names.values()), labelled_pictures


class NoSuchSplit(UserError):
    """A folder of annotation files has none for a split."""


def find_annotation_file(folder, split):
    """The file of ``folder`` (a COCO ``annotations/``) that holds a split.

    The first of these rules that any file meets, and only one: ``<split>.json``; ``instances_<split>*.json``; the
    split as a word of the name.  Raises ``UserError`` if none or several do.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.json"))}
    word = rf"(?<![a-zA-Z]){re.escape(split)}(?![a-zA-Z])"
    for rule in (rf"{re.escape(split)}$", rf"instances_{word}", rf".*{word}"):
        matching = [stem for stem in files if re.match(rule, stem)]
        if len(matching) == 1:
            return files[matching[0]]
        if matching:
            raise UserError(
                f"{folder}: {', '.join(matching)} all look like split {split!r}; give the .json file itself"
            )
    raise NoSuchSplit(f"{folder}: no .json file for split {split!r}; there are {', '.join(files)}")


def coco_splits(folder):
    """Which of train, val and test have a file in ``folder``.  Raises ``UserError`` if several look like one."""
    splits = []
    for split in ("train", "val", "test"):
        try:
            find_annotation_file(folder, split)
        except NoSuchSplit:
            continue
        splits.append(split)
    return splits


def picture_folders(json_file):
    """Existing folders that may hold the pictures of ``json_file``, the likeliest first.

    Around the file and around its parent folder: the folder itself, ``images``, and folders called like the split
    (``train2017`` for ``instances_train2017.json``).
    """
    split = json_file.stem.split("_")[-1]
    folders = []
    for base in (json_file.parent, json_file.parent / ".."):
        folders += [base, base / "images", base / split, base / "images" / split]
    return [folder for folder in folders if folder.is_dir()]


def load_json(json_file):
    """The file's top-level object with its three lists.  Raises ``UserError`` if it is not a COCO file."""
    try:
        content = json.loads(read_bytes(json_file, JSON_LIMIT))
    except (ValueError, RecursionError) as error:  # ValueError: bad JSON, bad UTF-8, a number of 5,000 digits
        raise UserError(f"{json_file}: is not valid JSON ({error})") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(f"{json_file}: is no COCO detection file: it has no list {key!r}")
    return content


def is_whole(value):
    """Ids and sizes must be whole numbers; JSON's ``true`` is none, though Python counts it as 1."""
    return isinstance(value, int) and not isinstance(value, bool)


def read_categories(content, json_file):
    """``({category id: name} sorted by id, parent)`` of a file's ``content``.

    ``parent`` is the ``(id, name)`` of what :func:`unused_parent` finds, None if nothing; it may have the name of a
    class.  Raises ``UserError`` where ids or names are missing or repeated.
    """
    categories = content["categories"]
    for number, category in enumerate(categories, 1):
        if (
            not isinstance(category, dict)
            or not is_whole(category.get("id"))
            or not isinstance(category.get("name"), str)
            or not category["name"].strip()
        ):
            raise UserError(f"{json_file} category {number}: needs a whole number 'id' and a text 'name'")
    parent = unused_parent(content)
    ids, names = set(), {}
    for number, category in enumerate(categories, 1):
        category_id, name = category["id"], category["name"]
        if category_id in ids or (category is not parent and name in names):
            repeated = f"id {category_id} or name {name!r}"
            raise UserError(f"{json_file} category {number}: {repeated} is there twice; make them differ")
        ids.add(category_id)
        if category is not parent:
            names[name] = category_id
    by_id = sorted((number, name) for name, number in names.items())
    return dict(by_id), parent and (parent["id"], parent["name"])


def unused_parent(content):
    """The category that only groups the others, as Roboflow's exports have one; None if there is none.

    It has no ``supercategory`` or one called ``none``, all others have its name for theirs, and no annotation uses it.
    """
    categories = content["categories"]
    roots = [category for category in categories if category.get("supercategory") in (None, "", "none")]
    if len(roots) != 1 or len(categories) == 1:
        return None
    [root] = roots
    used = (entry.get("category_id") for entry in content["annotations"] if isinstance(entry, dict))
    is_parent = all(category is root or category["supercategory"] == root["name"] for category in categories)
    return root if is_parent and not any(is_whole(number) and number == root["id"] for number in used) else None


def is_class_in(others, parent, category_names):
    """Whether a file's unused ``parent``, ``(id, name)``, is a class in one of the ``others``.

    Not if its name is that of another category.  A file that cannot be read is reported by its own split.
    """
    if parent[1] in category_names.values():
        return False
    for json_file in others:
        try:
            other_names, _ = read_categories(load_json(json_file), json_file)
        except UserError:
            continue
        if parent[1] in other_names.values():
            return True
    return False


def read_images(images, json_file, report):
    """``{image id: (where, file name, (width, height) or None)}``; broken entries are reported and left out."""
    found = {}
    for number, image in enumerate(images, 1):
        where = f"image {number}"
        if not isinstance(image, dict) or not is_whole(image.get("id")) or not isinstance(image.get("file_name"), str):
            report.add("broken annotation", json_file, "needs a whole number 'id' and a text 'file_name'", where)
            continue
        if image["id"] in found:
            report.add("broken annotation", json_file, f"its id {image['id']} is there twice; make them differ", where)
            continue
        size = (image.get("width"), image.get("height"))
        found[image["id"]] = (
            f"{where} (id {image['id']})",
            image["file_name"],
            size if all(map(is_whole, size)) else None,
        )
    return found


class UnknownCategory(UserError):
    """An annotation whose category the file does not define."""


def read_object(annotation, where, image_ids, category_names):
    """``(image id, LabelledObject)`` of one entry of ``annotations``.  Raises ``UserError`` saying what is wrong."""
    if not isinstance(annotation, dict):
        raise UserError("is not an object with keys; repair or remove it")
    image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
    if not is_whole(image_id) or image_id not in image_ids:
        raise UserError(f"image_id {short_repr(image_id)} is not among the images; correct or remove it")
    if not is_whole(category_id) or category_id not in category_names:
        raise UnknownCategory(
            f"category_id {short_repr(category_id)} is not among the categories; correct or remove it"
        )
    labelled_object = LabelledObject(
        where,
        category_names[category_id],
        read_box(annotation),
        difficult=annotation.get("ignore") in (1, True),
        crowd=annotation.get("iscrowd") in (1, True),
        area=stated_area(annotation),
    )
    return image_id, labelled_object


def read_box(annotation):
    """``(left, top, right, bottom)`` of an entry, from its ``bbox`` or, without one, around its ``segmentation``."""
    bbox = annotation.get("bbox")
    if not bbox and annotation.get("segmentation"):
        return segmentation_box(annotation["segmentation"])
    try:
        left, top, width, height = (float(number) for number in bbox)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"bbox must be four numbers [left, top, width, height], not {short_repr(bbox)}") from None
    return left, top, left + width, top + height


def stated_area(annotation):
    """The ``area`` of an entry, that of the object's outline; NaN unless it is a finite number from 0 up."""
    area = annotation.get("area")
    is_number = isinstance(area, int | float) and not isinstance(area, bool)
    return float(area) if is_number and 0 <= area <= sys.float_info.max else math.nan
