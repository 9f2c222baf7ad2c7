"""A detector from whatever file it is in: a checkpoint of this program, or the original's ``.weights`` and ``.cfg``."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from minidl import nn
from yolov3.checkpoint import PACKAGED, is_checkpoint, load_checkpoint
from yolov3.darknet.cfg import BUILTIN, builtin_cfg, read_cfg
from yolov3.darknet.names import builtin_names, check_names, read_data, read_names
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.darknet.published import PUBLISHED, fetch_weights, identify
from yolov3.darknet.weights import read_header, read_weights
from yolov3.errors import UserError
from yolov3.model import DetectionNetwork, check_image_size

NAMES_BY_COUNT = {80: "coco", 20: "voc"}  # of the classes that the shipped networks know


@dataclass(frozen=True)
class LoadedDetector:
    """A detector in evaluation mode, the names of its classes, and the (height, width) of its input."""

    model: DetectionNetwork
    names: list
    image_size: tuple


def load_detector(weights, cfg=None, model=None, names=None, image_size=None, rule=nn.STANDARD):
    """The detector in a file.

    Parameters
    ----------
    weights: path of a checkpoint (``.npz``) or of a ``.weights`` file, or the name of published weights
        (``yolov3``, ``yolov3-tiny``, ``yolov2``), which are fetched once, into the folder ``weights``
    cfg: path of the ``.cfg`` that belongs to a ``.weights`` file
    model: instead of a cfg, the name of a shipped one; not needed for published weights or for a file of that name
    names: path of a ``.names`` or ``.data`` file with the names of the classes; default: those in the checkpoint, or
        beside the cfg in a file of its name, or those of COCO and VOC for the shipped networks
    image_size: (height, width) of the input, multiples of 32; default: as trained, or as the cfg says
    rule: where epsilon stands in batch norm (:class:`minidl.nn.BatchNormRule`)

    Raises UserError for files that are missing, damaged, or do not belong together.
    """
    if is_checkpoint(weights):
        if cfg or model:
            raise UserError(f"{weights} is a checkpoint, which knows its network: leave out --cfg and --model")
        loaded = _from_checkpoint(weights, image_size)
    else:
        loaded = _from_weights(weights, cfg, model, image_size)
    if names:
        loaded = replace(loaded, names=_given_names(names, loaded.model.classes))
    loaded.model.configure_batchnorm(rule=rule)
    return loaded


def _given_names(path, classes):
    """The names in a ``.names`` file, or in the one that a ``.data`` file names."""
    if str(path).endswith(".data"):
        options = read_data(path)
        if "names" not in options:
            raise UserError(f"{path} has no line names=, which says where the names of the classes are")
        if options.get("classes", classes) != classes:
            raise UserError(f"{path} says classes={options['classes']}, but the network has {classes}: choose its own")
        path = options["names"]
    names = read_names(path)
    check_names(names, classes, path)
    return names


def _from_checkpoint(path, image_size):
    checkpoint = load_checkpoint(path)
    size = check_image_size(image_size) if image_size else checkpoint.image_size
    return LoadedDetector(checkpoint.model, checkpoint.names, size)


def _from_weights(weights, cfg, model, image_size):
    if cfg and model:
        raise UserError("--cfg and --model both say which network it is: give one of them")
    path, shipped = find_weights(weights)
    if cfg:
        cfg_path = Path(cfg)
        if str(cfg) in BUILTIN and not cfg_path.is_file():
            raise UserError(f"there is no file {cfg}: for the shipped network of that name write --model {cfg}")
    else:
        cfg_path = builtin_cfg(model or shipped or _by_file_name(path))
        image_size = check_image_size(image_size) if image_size else None
    network = load_network(cfg_path, path, image_size)
    _warn_of_other_anchors(path, shipped, cfg_path, network)
    names = _names_beside(cfg_path, network.classes) if cfg else builtin_names(NAMES_BY_COUNT[network.classes])
    return LoadedDetector(network, names, network.plan.input_shape[:2])


def _warn_of_other_anchors(path, shipped, cfg, network):
    """Say so where published weights are read with anchors that they were not trained with (spec 12)."""
    if shipped is None:
        return
    trained_with = [layer.kind.own_anchors for layer in read_cfg(builtin_cfg(shipped)).detections]
    if [layer.kind.own_anchors for layer in network.plan.detections] != trained_with:
        print(
            f"{path} are the published weights, which were trained with other anchors than {cfg} has: use --model "
            f"{shipped}",
            file=sys.stderr,
        )


def find_weights(weights):
    """The path of a weights file, fetched if it is the name of a published one, and the name of its cfg or None."""
    path = Path(weights)
    if not os.path.isfile(path):  # os.path, because Path raises for a name too long to exist
        if str(weights) in PUBLISHED:
            return fetch_weights(str(weights)), PUBLISHED[str(weights)].cfg
        if os.path.isdir(path):
            raise UserError(f"{path} is a folder: name the file in it, such as {path / 'last.npz'}")
        names = f"come with the program: {', '.join(PACKAGED)}; can be fetched: {', '.join(PUBLISHED)}"
        raise UserError(f"{path} does not exist; weights known by name {names}")
    name = identify(path)
    return path, PUBLISHED[name].cfg if name else None


def _by_file_name(path):
    """The shipped cfg whose name the file bears, such as ``yolov3-spp.weights``."""
    if path.stem in BUILTIN:
        return path.stem
    raise UserError(
        f"{path}: which network do these weights belong to? Give its file with --cfg, or with --model one of "
        f"{', '.join(BUILTIN)}"
    )


def load_network(cfg, weights, image_size=None):
    """The network of a cfg with the numbers of a ``.weights`` file, in evaluation mode; it must be a detector.

    The size of the file is checked before any memory is taken for the network.  Raises UserError.
    """
    plan = read_cfg(cfg, image_size)
    if not plan.detections:
        raise UserError(f"{cfg} has no detection layer: it describes a classifier, which finds no boxes")
    if plan.input_shape[2] != 3:
        raise UserError(f"{cfg}: pictures have 3 channels, not {plan.input_shape[2]}: set channels=3")
    float_counts = [(plan.places[each.index], each.floats) for each in plan.layers if each.floats]
    read_header(weights, float_counts)
    network = ConfiguredNetwork(plan)
    read_weights(weights, network)
    return network.eval()


def _names_beside(cfg, classes):
    """The names in ``NAME.names`` beside ``NAME.cfg``; numbers where there is no such file."""
    path = cfg.with_suffix(".names")
    return _given_names(path, classes) if path.is_file() else [f"class {number}" for number in range(classes)]
