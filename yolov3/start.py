"""What a training run starts from: anchors, and the first weights of its network."""

import os
import sys

from yolov3.anchors import anchors_by_stride_band, network_sizes
from yolov3.checkpoint import is_checkpoint, load_checkpoint
from yolov3.darknet.weights import LONG, SHORT, read_weights, weight_layers
from yolov3.errors import UserError
from yolov3.loading import find_weights
from yolov3.model import build_model, preset
from yolov3.wording import count_of


def choose_anchors(settings, train_set):
    """Anchors as the settings ask for: ``{stride: (anchors, 2)}``, or None for the published ones."""
    if settings.anchors == "published":
        return None
    height, width = settings.image_size
    strides = preset(settings.model)[0].strides
    sizes = network_sizes(train_set.records, width, height)
    return anchors_by_stride_band(sizes, seed=settings.seed, strides=tuple(sorted(strides))).groups


def fresh_model(settings, train_set):
    """A fresh network with anchors as the settings ask for."""
    anchors = choose_anchors(settings, train_set)
    return build_model(settings.model, len(train_set.names), anchors, settings.lateral, settings.seed)


def model_to_fine_tune(settings, train_set, start):
    """The network to train on, with what the file ``start`` knows.

    ``start``: a checkpoint (:func:`_from_checkpoint`), or a ``.weights`` file of the original or the name of a
    published one (:func:`_from_weights`).  What was taken over goes to stderr.  Raises UserError where the file does
    not fit.
    """
    return (_from_checkpoint if is_checkpoint(start) else _from_weights)(settings, train_set, start)


def _from_checkpoint(settings, train_set, start):
    """A checkpoint brings its anchors and all its weights, but for classes that it does not know.

    Of the output convolutions it keeps what finds boxes, and the classes that have the same name in the data; the
    channels of other classes start at random, whatever their number.
    """
    checkpoint = load_checkpoint(start)
    if (checkpoint.preset, checkpoint.lateral) != (settings.model, settings.lateral):
        raise UserError(f"{start} holds the model {checkpoint.preset} ({checkpoint.lateral}): ask for it with --model")
    if checkpoint.image_size != tuple(settings.image_size):
        size = "{}x{}".format(*checkpoint.image_size)
        print(f"{start} was trained at {size}: its anchors are sizes in pixels of that input", file=sys.stderr)
    old_names, names = list(checkpoint.names), list(train_set.names)
    if old_names == names:
        return checkpoint.model
    anchors = checkpoint.model.anchor_groups()
    model = build_model(settings.model, len(names), anchors, settings.lateral, settings.seed)
    _take_all_but_outputs(model, checkpoint.model)
    known = [(names.index(name), old_names.index(name)) for name in names if name in old_names]
    pairs = zip(_outputs(model), _outputs(checkpoint.model), model.anchors, strict=True)
    for (_, convolution), (_, old), group in pairs:
        for new_values, old_values in ((convolution.weight, old.weight), (convolution.bias, old.bias)):
            _take_channels(new_values.data, old_values.data, len(group), known)
    new = [name for name in names if name not in old_names]
    learned = f"; these start at random: {', '.join(new)}" if new else ""
    print(f"{start}: all but the classes, of which it knows {len(known)} of {len(names)}{learned}", file=sys.stderr)
    return model


def _take_channels(values, old_values, anchors, known):
    """Copy 4 coordinates, objectness and the known classes (new, old) of every anchor; channels are the last axis."""
    values = values.reshape(*values.shape[:-1], anchors, -1)  # (..., anchors, 5 + classes), a view
    old_values = old_values.reshape(*old_values.shape[:-1], anchors, -1)
    values[..., :5] = old_values[..., :5]
    for new, old in known:
        values[..., 5 + new] = old_values[..., 5 + old]


def _from_weights(settings, train_set, start):
    """A ``.weights`` file fills as many of the first layers as it holds; the others start at random.

    One of a whole network may know another number of classes.  Its output convolutions are taken only where that is
    the same and the anchors are those with which the published files were trained.
    """
    model = fresh_model(settings, train_set)
    path, _ = find_weights(start)
    total = len(weight_layers(model))
    classes = _classes_in(path, model)
    if classes is None:
        try:
            _, count = read_weights(path, model, partial=True)
        except UserError as error:
            raise UserError(f"{error} (read for --model {settings.model})") from error
    elif classes == model.classes and settings.anchors == "published":
        _, count = read_weights(path, model)
    else:
        whole = build_model(settings.model, classes, model.anchor_groups(), settings.lateral, settings.seed)
        read_weights(path, whole)
        _take_all_but_outputs(model, whole)
        reason = (
            f"it knows {count_of(classes, 'class')}"
            if classes != model.classes
            else "they belong to the published anchors"
        )
        print(f"{path}: all but its {len(_outputs(model))} output convolutions: {reason}", file=sys.stderr)
        return model
    rest = "" if count == total else f"; the other {total - count} start at random"
    print(f"{path}: the first {count} of {total} convolutions{rest}", file=sys.stderr)
    return model


def _classes_in(path, model):
    """How many classes a ``.weights`` file of the same network, but for them, knows; None for one that holds less.

    An output convolution has ``(inputs + 1) * anchors * (5 + classes)`` numbers, so the size of the file tells.
    """
    floats = sum(each.floats for each in weight_layers(model))
    outputs = zip(_outputs(model), model.anchors, strict=True)
    per_class = sum((convolution.weight.shape[2] + 1) * len(group) for (_, convolution), group in outputs)
    for header in (LONG, SHORT):
        more, rest = divmod(os.path.getsize(path) - header - 4 * floats, 4 * per_class)
        if rest == 0 and model.classes + more >= 1:
            return model.classes + more
    return None


def _outputs(model):
    """``(path, convolution)`` of the output convolutions: those without a batch norm behind them."""
    return [(each.name, each.layer) for each in weight_layers(model) if each.norm is None]


def _take_all_but_outputs(model, other):
    """Copy every array of ``other`` but those of the output convolutions to the same places of ``model``."""
    paths = tuple(f"{path}." for path, _ in _outputs(model))
    own = model.state_dict()
    taken = {path: array for path, array in other.state_dict().items() if not path.startswith(paths)}
    model.load_state_dict(own | taken)
