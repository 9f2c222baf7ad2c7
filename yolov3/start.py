"""What a training run starts from: anchors, and the first weights of its network."""

import sys

from yolov3.anchors import anchors_by_stride_band, network_sizes
from yolov3.checkpoint import is_checkpoint, load_checkpoint
from yolov3.darknet.weights import read_weights, weight_layers
from yolov3.errors import UserError
from yolov3.loading import find_weights
from yolov3.model import build_model, preset


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

    A checkpoint's classes must be those of the data.  A ``.weights`` file of the original, or the name of a published
    one, fills as many of the first layers as it holds; the others start at random.
    """
    if not is_checkpoint(start):
        model = fresh_model(settings, train_set)
        path, _ = find_weights(start)
        _, count = read_weights(path, model, partial=True)
        total = len(weight_layers(model))
        rest = "" if count == total else f"; the other {total - count} start at random"
        print(f"{path}: the first {count} of {total} convolutions{rest}", file=sys.stderr)
        return model
    checkpoint = load_checkpoint(start)
    if list(checkpoint.names) != list(train_set.names):
        raise UserError(
            f"{start} knows the classes {', '.join(checkpoint.names)}, the data {', '.join(train_set.names)}: "
            "they must be the same"
        )
    if (checkpoint.preset, checkpoint.lateral) != (settings.model, settings.lateral):
        raise UserError(f"{start} holds the model {checkpoint.preset} ({checkpoint.lateral}): ask for it with --model")
    return checkpoint.model
