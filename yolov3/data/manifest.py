"""What a downloaded data set must hold, file by file, and how each file is recognised.

A manifest is a text file with one line per file: ``check size path``, where the path is that inside the
finished data set.  There are two kinds of line:

- ``<64 hex digits> <bytes> <path>``: the sha256 and length of exactly these bytes;
- ``thumbnail:<512 hex digits> <width>x<height> <path>``: a picture of that size which, averaged over 16x16
  equal areas in grey, gives these 256 brightnesses.  It recognises a picture by what it shows, in any
  lossless or nearly lossless format.
"""

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

from yolov3.errors import UserError

MANIFESTS = Path(__file__).parent / "manifests"
THUMBNAIL_SIDE = 16
# Averages over thousands of pixels hardly change with the format (by 1 for a good JPEG), while
# even neighbouring frames of the aerial films differ by 6 somewhere.
THUMBNAIL_TOLERANCE = 2


@dataclass(frozen=True)
class ManifestFile:
    """One file known by its sha256; ``largest_size`` is where reading may stop."""

    path: str
    sha256: str
    largest_size: int

    def fits(self, content):
        """Whether these bytes are the file."""
        return len(content) == self.largest_size and hashlib.sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True)
class ManifestPicture:
    """One picture known by its size and its :func:`thumbnail`."""

    path: str
    thumbnail: bytes
    width: int
    height: int

    @property
    def largest_size(self):
        """Bytes of the picture without any compression, and some for what else its file says."""
        return 4 * self.width * self.height + 65536

    def fits(self, content):
        """Whether these bytes are a file of the picture."""
        from PIL import Image

        from yolov3.image import FORMATS

        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                # Only the header has been read so far: a picture of another size is never decoded.
                if len(content) > self.largest_size or image.size != (self.width, self.height):
                    return False
                found = thumbnail(image)
        except Exception:  # Pillow's readers raise nearly anything when fed with damaged bytes
            return False
        return all(abs(a - b) <= THUMBNAIL_TOLERANCE for a, b in zip(found, self.thumbnail, strict=True))


def thumbnail(image):
    """The mean brightness of 16x16 equal areas of a Pillow image, row by row: 256 bytes."""
    from PIL import Image

    return image.convert("L").resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX).tobytes()


def read_manifest(name):
    """The files of the data set ``name``: a list of :class:`ManifestFile` and :class:`ManifestPicture`."""
    file = MANIFESTS / f"{name}.txt"
    return [_parse_line(line, f"{file} line {number}") for number, line in enumerate(file.read_text().splitlines(), 1)]


def _parse_line(line, place):
    if match := re.fullmatch(r"([0-9a-f]{64}) (\d+) (.+)", line):
        return ManifestFile(match[3], match[1], int(match[2]))
    if match := re.fullmatch(r"thumbnail:([0-9a-f]{512}) (\d+)x(\d+) (.+)", line):
        return ManifestPicture(match[4], bytes.fromhex(match[1]), int(match[2]), int(match[3]))
    raise UserError(f"{place} is not a line of a manifest: reinstall the package")
