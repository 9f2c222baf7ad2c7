"""The sections of a ``.cfg`` file, one function each, that say what a layer is (spec 1.3 and 1.4).

Where an option is absent it has the original's default, even where that surprises: a convolution's activation is then
``logistic``.  Options that change the result and are not supported here are refused, unless they hold the value that
changes nothing; what only training needs is passed over.
"""

from yolov3.darknet import kinds
from yolov3.darknet.cfg_text import LARGEST
from yolov3.errors import UserError

LARGEST_WINDOW = 255  # pixels: far above any in use, and the work grows with its square
EVERY_LAYER_TRAINING = ("learning_rate", "truth", "onlyforward", "stopbackward", "smooth", "clip")
EVERY_LAYER_ONLY = {"dontload": 0, "dontloadscales": 0, "dontsave": 0, "numload": 0}  # they change the weights file


def read_layer(section, index):
    """The layer ``index``, counted from 0, as one of the :mod:`~yolov3.darknet.kinds`.

    Raises UserError for sections, options and values that are not supported.
    """
    name = ALIASES.get(section.title, section.title)
    if name not in READERS:
        advice = "write it in lower case" if name.lower() in READERS else f"only {', '.join(READERS)} are"
        raise UserError(f"{section.place}: this section is not supported, {advice}")
    section.only(**EVERY_LAYER_ONLY)
    section.pass_over(*EVERY_LAYER_TRAINING)
    return READERS[name](section, index)


def _convolutional(section, index):
    size, stride = section.whole("size", 1), section.whole("stride", 1)
    section.only(groups=1, binary=0, xnor=0, flipped=0, dot=0)
    section.only(dilation=1, stride_x=stride, stride_y=stride, antialiasing=0, share_index=None, bin_output=0)
    section.only(cbn=0, deform=0, sway=0, rotate=0, stretch=0, stretch_sway=0, assisted_excitation=0, coordconv=0)
    padding = section.whole("padding", 0, least=0, most=LARGEST_WINDOW)
    return kinds.Convolutional(
        filters=section.whole("filters", 1),
        size=size,
        stride=stride,
        padding=size // 2 if section.flag("pad") else padding,  # pad is no number of pixels
        batch_normalize=section.flag("batch_normalize"),
        activation=section.choice("activation", kinds.ACTIVATIONS, "logistic"),
    )


def _connected(section, index):
    return kinds.Connected(
        output=section.whole("output", 1),
        batch_normalize=section.flag("batch_normalize"),
        activation=section.choice("activation", kinds.ACTIVATIONS, "logistic"),
    )


def _absolute(number, index):
    """A layer's number; a negative one counts back from the layer ``index``."""
    return index + number if number < 0 else number


def _shortcut(section, index):
    section.only(alpha=1, beta=1, weights_type="none", weights_normalization="none", weights_normalizion="none")
    return kinds.Shortcut(
        source=_absolute(section.whole("from", least=-LARGEST), index),
        activation=section.choice("activation", kinds.RECTIFIERS, "linear"),
    )


def _route(section, index):
    section.only(groups=1, group_id=0)
    return kinds.Route(tuple(_absolute(number, index) for number in section.wholes("layers")))


def _upsample(section, index):
    section.only(scale=1)
    return kinds.Upsample(section.whole("stride", 2))


def _maxpool(section, index):
    stride = section.whole("stride", 1)
    size = section.whole("size", stride, most=LARGEST_WINDOW)
    section.only(stride_x=stride, stride_y=stride, maxpool_depth=0, out_channels=1, antialiasing=0)
    return kinds.MaxPool(size, stride, padding=section.whole("padding", size - 1, least=0))


def _avgpool(section, index):
    return kinds.AvgPool()


def _softmax(section, index):
    section.only(tree=None, spatial=0)
    section.pass_over("noloss")
    return kinds.Softmax(groups=section.whole("groups", 1), temperature=section.number("temperature", 1.0, least=1e-6))


def _dropout(section, index):
    return kinds.Dropout(section.number("probability", 0.5, least=0, most=0.99))


def _cost(section, index):
    section.text("type", "sse")
    section.pass_over("scale", "ratio", "noobj", "thresh")
    return kinds.Cost()


def _reorg(section, index):
    section.only(reverse=0, flatten=0, extra=0)
    return kinds.Reorg(section.whole("stride", 1))


def _anchors(section):
    """The (width, height) pairs, of which there must be ``num``."""
    numbers = section.numbers("anchors", least=1e-6)
    if len(numbers) % 2:
        raise section.mistake("anchors", f"{len(numbers)} numbers are no pairs of width and height")
    count = section.whole("num", 1)
    if 2 * count != len(numbers):
        raise section.mistake("anchors", f"these are {len(numbers) // 2} pairs, but num={count}: make them equal")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _yolo(section, index):
    section.only(map=None, scale_x_y=1, new_coords=0)
    section.pass_over("max", "jitter", "truth_thresh", "random")
    anchors = _anchors(section)
    return kinds.Yolo(
        mask=section.wholes("mask", tuple(range(len(anchors))), least=0, most=len(anchors) - 1),
        anchors=anchors,
        classes=section.whole("classes", 20),
        ignore_threshold=section.number("ignore_thresh", 0.5, least=0),
    )


def _region(section, index):
    section.only(coords=4, log=0, sqrt=0, background=0, tree=None, map=None)
    section.pass_over("max", "jitter", "thresh", "rescore", "classfix", "absolute", "random", "bias_match")
    section.pass_over("coord_scale", "object_scale", "noobject_scale", "class_scale", "mask_scale")
    return kinds.Region(
        anchors=_anchors(section), classes=section.whole("classes", 20), softmax=section.flag("softmax")
    )


READERS = {
    "convolutional": _convolutional,
    "shortcut": _shortcut,
    "route": _route,
    "upsample": _upsample,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "connected": _connected,
    "softmax": _softmax,
    "dropout": _dropout,
    "cost": _cost,
    "reorg": _reorg,
    "region": _region,
    "yolo": _yolo,
}
ALIASES = {"conv": "convolutional", "conn": "connected", "max": "maxpool", "avg": "avgpool", "soft": "softmax"}
