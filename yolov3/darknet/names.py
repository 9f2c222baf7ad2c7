"""Names of classes: ``.names`` files, one name per line, and ``.data`` files, which say where such a file is."""

from pathlib import Path

from yolov3.darknet.cfg_text import lines_of, read_text, shown, split_option
from yolov3.errors import UserError

BUILTIN_NAMES = ("coco", "voc")


def builtin_names(name):
    """The class names, in order, of COCO (80) or Pascal VOC (20).  Raises UserError for another data set."""
    if name not in BUILTIN_NAMES:
        raise UserError(f"there are no names for {name!r}: choose one of {', '.join(BUILTIN_NAMES)}")
    return read_names(Path(__file__).parent / "names" / f"{name}.names")


def read_names(path):
    """The class names of a ``.names`` file: line 1 is class 0.

    Blanks around a name and empty lines at the end do not count.  Raises UserError for an empty line between names,
    which would shift those below it, and for a file without names.
    """
    names = [line.strip() for line in read_text(path).rstrip().split("\n")]
    if names == [""]:
        raise UserError(f"{path} is empty: write one class name on each line")
    for number, name in enumerate(names, 1):
        if not name:
            raise UserError(f"{path} line {number} is empty, which shifts the names below it: remove it")
    return names


def check_names(names, classes, path):
    """Raise UserError unless the file ``path`` of these names has one for each of a network's classes."""
    if len(names) != classes:
        much = "too few" if len(names) < classes else "too many"
        raise UserError(
            f"{path} holds {len(names)} names, {much} for a network of {classes} classes: choose the matching file"
        )


def read_data(path):
    """The options of a ``.data`` file, ``{key: text}``: lines ``key = value`` such as ``names = data/coco.names``.

    ``classes`` becomes a number.  ``names`` becomes the path of a file that exists: such files are written for one
    working folder, so it is looked for beside the ``.data`` file, in the folder above it, and in the current one.
    Raises UserError for lines that are no options, for a key that stands there twice and for names that are nowhere.
    """
    options, places = {}, {}
    for line, content in lines_of(read_text(path)):
        place = f"{path} line {line}"
        key, value = split_option(content, place)
        if key in options:
            raise UserError(f"{place}: {shown(key)} stands here again, after {places[key]}: keep one")
        options[key], places[key] = value, place
    if "classes" in options:
        options["classes"] = _class_count(options["classes"], places["classes"])
    if "names" in options:
        options["names"] = _find(options["names"], Path(path), places["names"])
    return options


def _class_count(text, place):
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text)):
        raise UserError(f"{place}: classes={shown(text)} is no number of classes")
    return int(text)


def _find(value, data_file, place):
    beside = data_file.absolute().parent
    for folder in (beside, beside.parent, Path()):
        try:
            if (folder / value).is_file():
                return folder / value
        except (OSError, ValueError):  # a name that no file can have
            continue
    raise UserError(f"{place}: there is no file {shown(value)} beside the .data file, above it or in this folder")
