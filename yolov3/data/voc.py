"""Pascal VOC folders: ``Annotations/*.xml``, ``JPEGImages/``, ``ImageSets/Main/<split>.txt``.

VOC counts pixels from 1 and names a box's first and last pixel.  Many later sets (BCCD among them) use the same
tags for coordinates from 0, so the numbers are kept as they stand: ``boxes_xyxy = (xmin, ymin, xmax, ymax)``.
"""

import re
from xml.etree import ElementTree

from yolov3.data.files import is_file, pictures_in, read_bytes, read_text
from yolov3.data.records import LabelledObject, LabelledPicture
from yolov3.errors import UserError
from yolov3.wording import some_of

XML_LIMIT = 10_000_000  # bytes
LIST_LIMIT = 100_000_000  # bytes


def read_voc(folder, split, names, report):
    """Read one split of a VOC folder: ``(names, list of LabelledPicture)``.

    ``names=None`` takes the class names found over **all** annotation files, sorted by Unicode: the same for every
    split.  A picture is the file of ``JPEGImages/`` with the annotation's stem, else the one its ``<filename>``
    names.  Raises ``UserError`` if the folder has no such split.
    """
    if names is None:
        names = class_names([folder / "Annotations"])
    pictures = pictures_in(folder / "JPEGImages")
    stems = stems_of_split(folder, split, {picture.stem for picture in pictures}, report)
    return names, read_annotations(stems, folder / "Annotations", folder / "JPEGImages", report)


def read_annotations(stems, annotations, picture_folder, report):
    """A ``LabelledPicture`` for each stem of the folder ``annotations``; what cannot be read is reported."""
    pictures = pictures_in(picture_folder)
    by_stem = {picture.stem: picture for picture in pictures}
    by_name = {picture.name: picture for picture in pictures}
    labelled_pictures = []
    for stem in stems:
        annotation = annotations / f"{stem}.xml"
        if not is_file(annotation):
            report.add("missing annotation", annotation, f"does not exist; label picture {stem!r} or leave it out")
            continue
        try:
            root = parse_annotation(annotation)
        except UserError as error:
            report.add("broken annotation", annotation, str(error).removeprefix(f"{annotation}: "))
            continue
        file_name = text_of(root, "filename").replace("\\", "/").split("/")[-1]
        picture = by_stem.get(stem) or by_name.get(file_name)
        if picture is None:
            detail = f"its picture {file_name or stem!r} is not in {picture_folder}; add it or remove the file"
            report.add("missing picture", annotation, detail)
            continue
        objects = read_objects(root, annotation, report)
        labelled_pictures.append(LabelledPicture(picture, annotation, objects, stated_size(root)))
    return labelled_pictures


def class_names(folders):
    """The names of all objects in all readable annotation files of these folders, sorted."""
    names = set()
    for annotation in (path for folder in folders for path in folder.glob("*.xml")):
        try:
            root = parse_annotation(annotation)
        except UserError:
            continue  # reported by the split it belongs to
        names.update(text_of(element, "name") for element in root.findall("object"))
    return sorted(names - {""})


def stems_of_split(folder, split, picture_stems, report):
    """File stems of a split, in the order of its list: see :func:`list_of_split`.

    A folder without lists is one single split: every annotation and picture.
    """
    lists = split_lists(folder)
    known = {path.stem for path in (folder / "Annotations").glob("*.xml")} | picture_stems
    if not lists:
        report.notes.append(f"{folder} has no ImageSets/Main/*.txt, so every split is the whole folder")
        return sorted(known)
    chosen = list_of_split(lists, split)
    if chosen is None:
        present = some_of(sorted(lists), 10)
        raise UserError(f"{folder / 'ImageSets' / 'Main'} has no {split}.txt; its lists are {present}")
    stems = [stem_in(line, known) for line in read_text(lists[chosen], LIST_LIMIT).splitlines()]
    return list(dict.fromkeys(stem for stem in stems if stem))


def stem_in(line, known):
    """The file stem that a line of a list names, "" if none.

    VOC's lists for one class carry a second column: 1 it is there, -1 it is not, 0 only difficult ones.  Where "cell 1"
    is a file, though, the number is part of its name, as a no-break space at the end may be.
    """
    stem = line.strip()
    return next((name for name in (line, stem) if name in known), re.sub(r"\s+(-1|0|1)$", "", stem))


def split_lists(folder):
    """The lists of a VOC folder: ``{name: path}``."""
    return {path.stem: path for path in (folder / "ImageSets" / "Main").glob("*.txt")}


def list_of_split(lists, split):
    """The name of the list that is a split, None if there is none.  ``train`` and ``val`` never share a picture.

    ``train`` is ``trainval`` where a ``test`` is there to be tested on (or nothing smaller exists), else ``train``;
    ``val`` is ``test`` where ``trainval`` holds VOC's own ``val`` or there is no ``val``.  Any other split is the list
    of that name.
    """
    chosen = split
    if split == "train" and "trainval" in lists and ("test" in lists or "train" not in lists):
        chosen = "trainval"
    if split == "val" and "test" in lists and ("trainval" in lists or "val" not in lists):
        chosen = "test"
    return chosen if chosen in lists else None


def voc_splits(folder):
    """Which of train, val and test a VOC folder has; a folder without lists is ``train`` as a whole."""
    lists = split_lists(folder)
    chosen = {split: list_of_split(lists, split) for split in ("train", "val", "test")}
    if chosen["test"] == chosen["val"]:
        chosen["test"] = None  # the same pictures
    return [split for split, name in chosen.items() if name] if lists else ["train"]


class NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type declaration, in which a small file can define entities that grow to gigabytes."""

    def doctype(self, name, public_id, system_id):
        raise ValueError("a DOCTYPE is not allowed")


def parse_annotation(path):
    """The file's ``<annotation>`` element.  Raises ``UserError`` for anything that is not a VOC file."""
    try:
        parser = ElementTree.XMLParser(target=NoDoctype())
        root = ElementTree.fromstring(read_bytes(path, XML_LIMIT), parser)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding Python lacks
        raise UserError(f"{path}: is not valid XML ({error}); repair or remove it") from error
    if root.tag != "annotation":
        raise UserError(f"{path}: holds <{root.tag}> instead of <annotation>; is it a Pascal VOC file?")
    return root


def read_objects(root, annotation, report):
    """The file's ``<object>`` elements, numbered from 1; one that cannot be read is reported and left out."""
    objects = []
    for number, element in enumerate(root.findall("object"), 1):
        name = text_of(element, "name")
        where = f"object {number} ({name})" if name else f"object {number}"
        corners = {tag: text_of(element, f"bndbox/{tag}") for tag in ("xmin", "ymin", "xmax", "ymax")}
        try:
            box_xyxy = tuple(float(corner) for corner in corners.values())
        except ValueError:
            stated = ", ".join(f"{tag} {corner!r}" for tag, corner in corners.items())
            report.add("broken annotation", annotation, f"the box needs four numbers and has {stated}", where)
            continue
        if not name:
            report.add("broken annotation", annotation, "has no class; give it a <name>", where)
            continue
        objects.append(LabelledObject(where, name, box_xyxy, difficult=text_of(element, "difficult") == "1"))
    return objects


def stated_size(root):
    """``(width, height)`` of the ``<size>`` element; None where it is absent or not made of whole numbers."""
    try:
        return int(text_of(root, "size/width")), int(text_of(root, "size/height"))
    except ValueError:
        return None


def text_of(element, path):
    """The text at ``path`` below ``element`` without surrounding white space; "" if there is none."""
    return (element.findtext(path) or "").strip()
