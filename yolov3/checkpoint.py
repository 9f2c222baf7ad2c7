"""Checkpoints: one ``.npz`` with a detector's arrays, the settings to build it again, and where training stands."""

import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from minidl.serialize import FileFormatError, load, save
from yolov3.errors import UserError
from yolov3.model import DetectionNetwork, build_model, check_image_size
from yolov3.runs import writing

FORMAT = 1


@dataclass
class Checkpoint:
    """A detector and what belongs to it.

    preset, lateral: by which :func:`yolov3.model.build_model` made it; names: of the classes; image_size: (height,
    width) it was trained at; training: settings and progress of its training run (JSON values); optimizer: the
    arrays of the optimiser's state, to resume from.
    """

    model: DetectionNetwork
    preset: str
    lateral: str
    names: list
    image_size: tuple
    training: dict = field(default_factory=dict)
    optimizer: dict = field(default_factory=dict)


def is_checkpoint(path):
    """Whether a path is meant to be one of ours: by its name, or because it is a zip archive, as they are."""
    return str(path).endswith(".npz") or (os.path.isfile(path) and zipfile.is_zipfile(path))


def save_checkpoint(path, checkpoint, keep=None):
    """Write a checkpoint, whole or not at all; the old file stays until the new one is complete.

    ``keep``: what the old file shall be called then, a path in the same folder; None to replace it.  Raises UserError
    where it cannot be written.
    """
    settings = {
        "format": FORMAT,
        "preset": checkpoint.preset,
        "lateral": checkpoint.lateral,
        "names": list(checkpoint.names),
        "anchors": checkpoint.model.anchor_groups(),
        "image_size": list(checkpoint.image_size),
        "training": checkpoint.training,
    }
    arrays = {f"model/{name}": array for name, array in checkpoint.model.state_dict().items()}
    arrays |= {f"optimizer/{name}": array for name, array in checkpoint.optimizer.items()}
    with writing(path):
        save(path, arrays, settings, keep)


def load_checkpoint(path):
    """Read a :class:`Checkpoint`.  Raises UserError where the file is missing, damaged, or not one of ours."""
    path = Path(path)
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
        names = [str(name) for name in settings["names"]]
        anchors = {int(stride): group for stride, group in settings["anchors"].items()}
        model = build_model(settings["preset"], len(names), anchors, settings["lateral"])
        model.load_state_dict(_part(arrays, "model/"))
        image_size = check_image_size(tuple(int(side) for side in settings["image_size"]))
        training, preset, lateral = dict(settings["training"]), settings["preset"], settings["lateral"]
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise UserError(f"{path} does not hold a whole detector: {error}") from error
    return Checkpoint(model.eval(), preset, lateral, names, image_size, training, _part(arrays, "optimizer/"))


def _part(arrays, prefix):
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
