"""Pictures: reading a file, resizing, and the letterbox that fits any picture into the network's input.

A picture is (height, width, 3), red-green-blue: uint8 from a file, float32 in [0, 1] for the network.
"""

import os
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from minidl.device import array_module
from yolov3.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from yolov3.errors import UserError

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM")
"""What is read, in Pillow's words.  Pillow knows many more, among them PostScript, whose pictures are programs."""

LARGEST_PICTURE = 2**27  # pixels, 134 million; decoding takes 4 to 16 bytes for each, whatever the file's own size is

# Pillow warns of pictures from two thirds of that on; whether they are read is decided in open_picture.
warnings.filterwarnings("ignore", "Image size .* exceeds limit", Image.DecompressionBombWarning)

GREY = 0.5  # what the network sees where there is no picture

# Work on pictures goes band by band: intermediate results of this many numbers stay in the processor's
# cache, which makes it two to four times as fast as working on whole pictures.
CACHED_VALUES = 2**15

EXIF_ORIENTATION = 0x0112
# How to turn the stored pixels so that they stand upright; 1 is upright, anything else is nonsense.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(path):
    """Read a picture file: (height, width, 3) uint8 RGB, upright.

    The EXIF orientation is applied (0 and other nonsense count as upright).  Grey, palette and CMYK
    pictures become RGB; what is transparent shows white, as in a viewer; 16-bit grey keeps its high
    byte; of an animation the first frame is taken.

    Raises UserError, naming the file, if it is absent, damaged, not a picture, or of more pixels than
    LARGEST_PICTURE, which a file of a few bytes can claim.
    """
    name = os.fspath(path)
    try:
        with open_picture(path) as picture:
            picture.load()  # only now are mode and EXIF data final in every format
            rgb = _to_rgb(picture)
            turn = UPRIGHT.get(_orientation(picture))
            return np.array(rgb if turn is None else rgb.transpose(turn))  # (height, width, 3) uint8
    except FileNotFoundError as error:
        raise UserError(f"{name}: there is no such file; check the path") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{name}: this is not a picture in a format that is read; replace or remove it") from error
    except Exception as error:  # decoders raise nearly anything when fed with damaged bytes
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(
            f"{name}: this picture cannot be read ({reason.strip().rstrip('.')}); replace or remove it"
        ) from error


def open_picture(path):
    """A picture file, opened by Pillow but not yet decoded: a context manager.

    Raises what Pillow raises, and ValueError for what is no file (a pipe would be waited for) and for more pixels than
    LARGEST_PICTURE.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("this is no file")
    picture = Image.open(path, formats=FORMATS)
    width, height = picture.size
    if width * height > LARGEST_PICTURE:
        picture.close()
        raise ValueError(f"{width}x{height} are more than {LARGEST_PICTURE:,} pixels")
    return picture


def _orientation(picture):
    try:
        return picture.getexif().get(EXIF_ORIENTATION)
    except Exception:  # damaged EXIF data beside good pixels
        return None


def _to_rgb(picture):
    """A Pillow picture of any mode as 8-bit RGB."""
    if picture.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it at 255
        return Image.fromarray(np.clip(np.asarray(picture) >> 8, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":  # grey as floats, by convention in [0, 1]
        fractions = np.clip(np.nan_to_num(np.asarray(picture)), 0, 1)
        return Image.fromarray(np.rint(fractions * 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        background = Image.new("RGBA", picture.size, "white")
        background.alpha_composite(picture.convert("RGBA"))
        return background.convert("RGB")
    return picture.convert("RGB")


def white_level(image):
    """The value of full brightness in a picture: 255 for uint8, 1 for floats."""
    return np.float32(255 if image.dtype == np.uint8 else 1)


def sample_bilinear(image, columns, rows):
    """Values of a picture between its pixels, on the grid of the given source positions.

    With x = i + dx and y = j + dy (i, j whole, 0 <= dx, dy < 1), per colour:

        (1 - dy) * [(1 - dx) * p[j, i]   + dx * p[j, i+1]]
           + dy  * [(1 - dx) * p[j+1, i] + dx * p[j+1, i+1]]

    ``image`` (height, width, 3) uint8 or float32; ``columns`` (w,) in [0, width - 1] and ``rows`` (h,) in
    [0, height - 1], float32.  Returns (h, w, 3) float32 in the picture's own units.
    """
    source_height, source_width = image.shape[:2]
    i, dx = _split_positions(columns)
    j, dy = _split_positions(rows)
    next_i = np.minimum(i + 1, source_width - 1)  # where the minimum bites, dx is 0
    next_j = np.minimum(j + 1, source_height - 1)

    # Rows are handled flat, as 3 * width numbers: one long run per row instead of many of three.
    flat = image.reshape(source_height, 3 * source_width)
    left, right = _flat_index(i), _flat_index(next_i)  # (3w,)
    dx, dy = np.repeat(dx, 3), dy[:, None]  # (3w,) and (h, 1)

    def blend_columns(source_rows):  # (band, 3 * source_width) -> (band, 3w)
        left_values = source_rows.take(left, axis=1).astype(np.float32)
        right_values = source_rows.take(right, axis=1).astype(np.float32)
        return (1 - dx) * left_values + dx * right_values

    blended = np.empty((len(rows), 3 * len(columns)), dtype=np.float32)
    rows_per_band = max(1, CACHED_VALUES // max(1, 3 * len(columns)))
    for start in range(0, len(rows), rows_per_band):
        band = slice(start, start + rows_per_band)
        upper, lower = blend_columns(flat[j[band]]), blend_columns(flat[next_j[band]])
        blended[band] = (1 - dy[band]) * upper + dy[band] * lower
    return blended.reshape(len(rows), len(columns), 3)


def _split_positions(positions):
    whole = positions.astype(np.intp)
    return whole, positions - whole.astype(np.float32)


def _flat_index(columns):
    return (3 * columns[:, None] + np.arange(3)).reshape(-1)


def resize_bilinear(image, width, height):
    """Resize so that the corner pixels keep their values ("align corners"), without anti-aliasing.

    Target column c takes the source position ``c * (source_width - 1) / (width - 1)``, rows likewise,
    and :func:`sample_bilinear` interpolates there.  Positions are float32, as in the original program,
    except that the last row and column (the only ones where a side is 1) are exactly the source's last:
    the original's rounding turns the last row black for some sizes (640x480 to height 240, for one).

    ``image`` (source_height, source_width, 3) uint8 or float32; returns (height, width, 3) float32 in
    the same units.
    """
    source_height, source_width = image.shape[:2]
    return sample_bilinear(image, _aligned_positions(source_width, width), _aligned_positions(source_height, height))


def _aligned_positions(source_size, size):
    scale = np.float32(source_size - 1) / np.float32(max(size - 1, 1))
    positions = np.arange(size, dtype=np.float32) * scale  # (size,)
    positions[-1] = source_size - 1
    return positions


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies inside the network's input: scaled as a whole, in the middle of grey borders.

    All in pixels: the picture's size, the network's input, the size of the scaled picture in it, and
    the input pixel (``left``, ``top``) at which its first pixel is put.

    Pixels need a whole offset, so an odd border of ``net - new`` pixels is split into floor and rest.
    Boxes are mapped with the exact half, as in the original program: its detections are reproduced, the
    two directions are each other's inverse, and with an odd border boxes are half an input pixel away
    from the pixels, in training and detection alike.
    """

    picture_width: int
    picture_height: int
    net_width: int
    net_height: int
    new_width: int
    new_height: int
    left: int
    top: int

    @classmethod
    def fit(cls, picture_width, picture_height, net_width, net_height):
        """The largest fit without distortion; the other side is rounded down, but never to 0."""
        new_width, new_height = net_width, net_height
        if net_width * picture_height < net_height * picture_width:  # the width is what limits
            new_height = max(1, picture_height * net_width // picture_width)
        else:
            new_width = max(1, picture_width * net_height // picture_height)
        left, top = (net_width - new_width) // 2, (net_height - new_height) // 2
        return cls(picture_width, picture_height, net_width, net_height, new_width, new_height, left, top)

    def to_network(self, boxes_xyxy):
        """Boxes (..., 4) in pixels of the picture as ``boxes_cxcywh`` in fractions of the network input."""
        picture, net, new, border = self._sizes(boxes_xyxy)
        return xyxy_to_cxcywh((boxes_xyxy * new / picture + border) / net)

    def to_picture(self, boxes_cxcywh):
        """Boxes (..., 4) in fractions of the network input as ``boxes_xyxy`` in pixels of the picture.

        Nothing is clipped: a box may reach over the picture's edge.
        """
        picture, net, new, border = self._sizes(boxes_cxcywh)
        return (cxcywh_to_xyxy(boxes_cxcywh) * net - border) * picture / new

    def _sizes(self, boxes):
        """Sizes and border for (x, y, x, y), in the boxes' own library and type (whole numbers become floats)."""
        xp = array_module(boxes)
        dtype = np.result_type(boxes.dtype, np.float32)
        picture = (self.picture_width, self.picture_height) * 2
        net = (self.net_width, self.net_height) * 2
        new = (self.new_width, self.new_height) * 2
        border = ((self.net_width - self.new_width) / 2, (self.net_height - self.new_height) / 2) * 2
        return (xp.asarray(sizes, dtype=dtype) for sizes in (picture, net, new, border))


def letterbox(image, net_width, net_height):
    """A picture as the network wants it: resized without distortion, centred on grey 0.5.

    ``image`` (height, width, 3): uint8 is divided by 255, float32 is taken to be in [0, 1].
    Returns ``(input, frame)``: (net_height, net_width, 3) float32 and the :class:`Letterbox` that
    maps boxes between the two.
    """
    height, width = image.shape[:2]
    frame = Letterbox.fit(width, height, net_width, net_height)
    canvas = np.full((net_height, net_width, 3), GREY, dtype=np.float32)
    inside = canvas[frame.top : frame.top + frame.new_height, frame.left : frame.left + frame.new_width]
    np.divide(resize_bilinear(image, frame.new_width, frame.new_height), white_level(image), out=inside)
    return canvas, frame
