"""``.cfg`` files: a network as text, read into a plan and written from one.

Read strictly: every section and option means what it means to the original program (spec 1), or is refused with one
sentence that names file, line and section.  Options that only training needs are passed over, and options that nobody
knows are reported.  The family that comes with this package is in the folder ``cfgs``.
"""

import sys
from dataclasses import asdict
from pathlib import Path

from yolov3.darknet import kinds
from yolov3.darknet.cfg_layers import read_layer
from yolov3.darknet.cfg_text import read_text, sections_of
from yolov3.darknet.plan import make_plan
from yolov3.errors import UserError

LARGEST_SIDE = 16384  # pixels of a network's input

NET = ("net", "network")
NET_TRAINING = (
    *("batch", "subdivisions", "learning_rate", "momentum", "decay", "burn_in", "power", "step", "scale", "steps"),
    *("scales", "gamma", "max_batches", "adam", "B1", "B2", "eps", "angle", "aspect", "saturation", "exposure", "hue"),
    *("max_crop", "min_crop", "max_ratio", "min_ratio", "center", "clip", "random", "notruth", "time_steps"),
)

BUILTIN = (
    "yolov3",
    "yolov3-tiny",
    "yolov3-tiny-published",
    "yolov3-spp",
    "yolov3-voc",
    "darknet53",
    "darknet19",
    "resnet50",
    "resnet101",
    "resnet152",
    "yolov2",
    "yolov2-voc",
)


def builtin_cfg(name):
    """The path of a file that comes with this package.  Raises UserError, with all names, for another name."""
    if name not in BUILTIN:
        raise UserError(f"there is no network {name!r}: choose one of {', '.join(BUILTIN)}")
    return Path(__file__).parent / "cfgs" / f"{name}.cfg"


def read_cfg(path, image_size=None, report=None):
    """The :class:`~yolov3.darknet.plan.Plan` of a ``.cfg`` file; arguments and errors as for :func:`parse_cfg`."""
    return parse_cfg(read_text(path), str(path), image_size, report)


def parse_cfg(text, name, image_size=None, report=None):
    """The :class:`~yolov3.darknet.plan.Plan` that a cfg text describes; ``name`` is the file's name in messages.

    - ``image_size``: (height, width) of the input in pixels, instead of those in [net];
    - ``report``: called with one sentence per unknown option, which is ignored; default: print it to stderr.

    Raises UserError for everything that is not clear: a section, option or value that does not exist, is missing,
    stands there twice or is not supported, and shapes that do not fit together.
    """
    sections = sections_of(text, name)
    if not sections:
        raise UserError(f"{name} is empty: a network begins with a section [net]")
    net, *layers = sections
    if net.title not in NET:
        raise UserError(f"{net.place}: the first section must be [net], in lower case")
    if not layers:
        raise UserError(f"{net.place}: no layers follow it: add sections such as [convolutional]")
    input_shape = _input_shape(net, image_size)
    layer_kinds = [read_layer(section, index) for index, section in enumerate(layers)]
    report = report or _print_to_stderr
    for section in sections:
        for sentence in section.left_over():
            report(sentence)
    return make_plan(layer_kinds, input_shape, tuple(section.place for section in layers))


def _print_to_stderr(sentence):
    print(sentence, file=sys.stderr)


def _input_shape(net, image_size):
    """(height, width, channels) of the input."""
    net.only(inputs=None)
    net.text("policy", "constant")  # a word, and for training only
    net.pass_over(*NET_TRAINING)
    height, width = (net.whole(key, 0, least=0, most=LARGEST_SIDE) for key in ("height", "width"))
    if image_size is not None:
        height, width = image_size
        if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
            raise UserError(f"an image size of {height}x{width} is not between 1 and {LARGEST_SIDE:,} pixels")
    if not height or not width:
        raise UserError(f"{net.place}: the size of the pictures is missing: set height= and width=")
    return height, width, net.whole("channels")


def format_cfg(plan, comment=None):
    """A cfg text of the plan, for the original program and for others that read its files.

    What it leaves out are the settings of training; ``comment`` stands above it, after ``#``.
    :func:`parse_cfg` reads the plan back.
    """
    height, width, channels = plan.input_shape
    net = {"batch": 1, "subdivisions": 1, "width": width, "height": height, "channels": channels}
    texts = [f"# {line}".rstrip() for line in (comment or "").splitlines()]
    texts += ["[net]", *_lines(net)]
    for layer in plan.layers:
        texts += ["", f"# layer {layer.index}", f"[{layer.section}]", *_lines(_options(layer))]
    return "\n".join(texts) + "\n"


def _lines(options):
    return [f"{key}={_value(value)}" for key, value in options.items()]


def _value(value):
    if isinstance(value, tuple):
        return ",".join(map(_value, value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(int(value) if isinstance(value, bool) else value)


def _options(layer):
    """The options of a layer in a cfg file, ``{key: value}``."""
    kind, index = layer.kind, layer.index
    match kind:
        case kinds.Convolutional():
            padding = {"pad": 1} if kind.padding == kind.size // 2 else {"padding": kind.padding}
            norm = {"batch_normalize": 1} if kind.batch_normalize else {}
            sizes = {"filters": kind.filters, "size": kind.size, "stride": kind.stride}
            return {**norm, **sizes, **padding, "activation": kind.activation}
        case kinds.Shortcut():
            return {"from": kind.source - index, "activation": kind.activation}
        case kinds.Route():
            return {"layers": tuple(_relative(source, index) for source in kind.sources)}
        case kinds.Yolo():
            rest = {"classes": kind.classes, "ignore_thresh": kind.ignore_threshold, "truth_thresh": 1}
            return {"mask": kind.mask, **_anchors(kind), **rest}
        case kinds.Region():
            return {**_anchors(kind), "classes": kind.classes, "coords": 4, "softmax": kind.softmax}
        case _:  # the names of the fields are those of the options
            return asdict(kind)


def _anchors(kind):
    return {"num": len(kind.anchors), "anchors": tuple(side for anchor in kind.anchors for side in anchor)}


def _relative(source, index):
    """Layers close by are counted back from here, as the original's own files do."""
    return source - index if index - source < 10 else source
