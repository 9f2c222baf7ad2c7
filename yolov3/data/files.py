"""Label files and pictures on the disk: reading with a size limit, listing, measuring."""

import os
from concurrent.futures import ThreadPoolExecutor

from yolov3.errors import UserError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that turn the picture by a quarter: width and height change places


def read_bytes(path, limit):
    """The file's bytes.  ``UserError`` if it cannot be read or is longer than ``limit`` bytes."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path}: is no file; name the file itself")  # a pipe would be waited for
    try:
        with open(path, "rb") as file:
            content = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)  # read(n) takes memory for n bytes
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > limit:
        raise UserError(f"{path}: is longer than {limit / 1e6:g} MB, too long for such a file; check what it is")
    return content


def read_text(path, limit):
    """The file's UTF-8 text, with or without a byte-order mark.  ``UserError`` if it is something else."""
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as plain UTF-8 text") from error


def is_file(path):
    """Whether ``path`` is a file; False for names no file can have (``Path.is_file`` raises on too long ones)."""
    return os.path.isfile(path)


def pictures_in(folder, recursive=False):
    """Every picture file of ``folder``, by its suffix, sorted by path; hidden files are left out.

    ``UserError`` where the folder cannot be searched, such as one that changes meanwhile.
    """
    try:
        found = folder.rglob("*") if recursive else folder.glob("*")
        return sorted(p for p in found if p.suffix.lower() in PICTURE_SUFFIXES and p.name[0] != "." and p.is_file())
    except OSError as error:
        raise UserError(f"{folder}: cannot be searched for pictures ({error})") from error


def picture_size(path):
    """``(width, height)`` in pixels, as the picture is seen: after its EXIF orientation.

    The whole file is decoded, which finds truncated ones: ``UserError`` for a file that is not a whole picture.
    """
    from PIL import UnidentifiedImageError

    from yolov3.image import open_picture

    try:
        with open_picture(path) as image:
            width, height = image.size
            # A JPEG is read to its last byte but built at an eighth of its size: three times as fast.
            image.draft(None, (1, 1))
            image.load()
            return (height, width) if _is_sideways(image) else (width, height)
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: is not a picture in a format that is read; replace or remove it") from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error, ...
        raise UserError(f"{path}: is no whole picture ({error}); replace or remove it") from error


def _is_sideways(image):
    return _orientation(image) in SIDEWAYS


def _orientation(image):
    from yolov3.image import EXIF_ORIENTATION

    try:
        return image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # damaged EXIF data beside good pixels: upright, as load_image takes it
        return None


def is_turned(path):
    """Whether a readable picture file's EXIF orientation turns or mirrors what is stored."""
    from yolov3.image import UPRIGHT, open_picture

    with open_picture(path) as image:
        return _orientation(image) in UPRIGHT


def picture_sizes(paths):
    """For each path, in order, its :func:`picture_size` or the ``UserError`` it raised: a generator.

    Two threads decode (Pillow lets go of Python's lock meanwhile); a bar appears on a terminal after two seconds.
    """
    from tqdm import tqdm

    def measure(path):
        try:
            return picture_size(path)
        except UserError as error:
            return error

    pool = ThreadPoolExecutor(max_workers=2)
    try:
        sizes = pool.map(measure, paths)
        yield from tqdm(sizes, "checking pictures", len(paths), leave=False, disable=None, delay=2)
    finally:
        pool.shutdown(cancel_futures=True)  # a strict reader may stop at the first problem
