"""Checkpoints: one ``.npz`` with a detector's arrays, the settings to build it again, and where training stands."""

import os
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from minidl.serialize import FileFormatError, load, save
from yolov3.errors import UserError
from yolov3.model import DetectionNetwork, build_model, check_image_size
from yolov3.runs import writing

FORMAT = 1
# Trained detectors that come with the program, by name: yolov3/pretrained/README.md says how they were made.
PACKAGED = {"blood-cells": Path(__file__).with_name("pretrained") / "blood-cells.npz"}


@dataclass
class Checkpoint:
    """A detector and what belongs to it.

    preset, lateral: by which :func:`yolov3.model.build_model` made it; names: of the classes; image_size: (height,
    width) it was trained at.  To resume from: training: settings and progress of its training run (JSON values);
    optimizer: the arrays of the optimiser's state; trained: the weights that are being trained where the model has
    their average, and else empty.
    """

    model: DetectionNetwork
    preset: str
    lateral: str
    names: list
    image_size: tuple
    training: dict = field(default_factory=dict)
    optimizer: dict = field(default_factory=dict)
    trained: dict = field(default_factory=dict)


def is_checkpoint(path):
    """Whether a path is meant to be one of ours: by its name, or because it is a zip archive, as they are.

    The name of one that comes with the program is one, too, if there is no such file.
    """
    if str(path) in PACKAGED:
        return not os.path.isfile(path) or zipfile.is_zipfile(path)
    return str(path).endswith(".npz") or (os.path.isfile(path) and zipfile.is_zipfile(path))


def save_checkpoint(path, checkpoint, keep=None):
    """Write a checkpoint, whole or not at all; the old file stays until the new one is complete.

    ``keep``: what the old file shall be called then, a path in the same folder; None to replace it.  Raises UserError
    where it cannot be written.
    """
    arrays = {f"model/{name}": array for name, array in checkpoint.model.state_dict().items()}
    arrays |= {f"optimizer/{name}": array for name, array in checkpoint.optimizer.items()}
    arrays |= {f"trained/{name}": array for name, array in checkpoint.trained.items()}
    with writing(path):
        save(path, arrays, _settings(checkpoint), keep)


def save_compact(path, checkpoint):
    """Write the detector of a checkpoint alone, its kernels in float16: a sixth of the size of one with Adam's state.

    It is read like any other; there is nothing in it to resume from.  Raises UserError where it cannot be written, or
    float16, which ends at 65504, cannot hold a weight.
    """
    arrays = {}
    for name, array in checkpoint.model.state_dict().items():
        with np.errstate(over="ignore"):
            small = array.astype(np.float16) if array.ndim > 1 else array
        if not np.isfinite(small).all():
            raise UserError(f"{path} cannot be written: float16 cannot hold the numbers of {name}")
        arrays[f"model/{name}"] = small
    with writing(path):
        save(path, arrays, _settings(replace(checkpoint, training={})))


def _settings(checkpoint):
    return {
        "format": FORMAT,
        "preset": checkpoint.preset,
        "lateral": checkpoint.lateral,
        "names": list(checkpoint.names),
        "anchors": checkpoint.model.anchor_groups(),
        "image_size": list(checkpoint.image_size),
        "training": checkpoint.training,
    }


def load_checkpoint(path):
    """Read a :class:`Checkpoint`; ``path`` may also be a name in PACKAGED.

    Raises UserError where the file is missing, damaged, or not one of ours.
    """
    path = PACKAGED[str(path)] if str(path) in PACKAGED and not os.path.isfile(path) else Path(path)
    try:
        arrays, settings = load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such checkpoint") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: name the checkpoint in it, such as {path / 'last.npz'}") from None
    except FileFormatError as error:
        raise UserError(str(error)) from error
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this program, or of another version of it")
    try:
        names = _checked_names(settings["names"])
        anchors = {int(stride): group for stride, group in settings["anchors"].items()}
        model = build_model(settings["preset"], len(names), anchors, settings["lateral"])
        model.load_state_dict(_part(arrays, "model/"))
        image_size = _checked_size(settings["image_size"])
        preset, lateral, training = settings["preset"], settings["lateral"], settings["training"]
        if not isinstance(training, dict):
            raise ValueError("training must be a mapping")
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError, UserError) as error:
        raise UserError(f"{path} does not hold a whole detector: {error}") from error
    optimizer, trained = _part(arrays, "optimizer/"), _part(arrays, "trained/")
    return Checkpoint(model.eval(), preset, lateral, names, image_size, training, optimizer, trained)


def _checked_names(names):
    """The names of the classes.  ValueError unless they are a list of texts."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("names must be a list of texts")
    return names


def _checked_size(size):
    """(height, width).  ValueError unless these are two whole numbers; UserError as check_image_size."""
    if not isinstance(size, list) or [type(side) for side in size] != [int, int]:
        raise ValueError("an image size must be two whole numbers, height and width")
    return check_image_size(tuple(size))


def _part(arrays, prefix):
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
