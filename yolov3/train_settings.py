"""What a training run depends on, beside the data."""

import math
from dataclasses import dataclass, replace

from yolov3.data import augment
from yolov3.errors import UserError
from yolov3.fpn import LATERALS
from yolov3.model import check_image_size, preset

AUGMENTATIONS = {
    "none": augment.NONE,
    "recipe": augment.RECIPE,
    "original": augment.ORIGINAL,
    "mosaic": augment.MOSAIC,
}
SCHEDULES = ("cosine", "steps")
LARGEST = 10**18  # of whole numbers: with much larger ones even floating-point numbers end
OPTIMIZERS = ("adam", "sgd")
ANCHOR_CHOICES = ("band", "published")


@dataclass(frozen=True)
class TrainSettings:
    """Everything that a training run depends on, beside the data.

    model: a preset; image_size: (height, width); epochs; batch; learning_rate; optimizer: ``adam``, or ``sgd`` with
    momentum 0.9 and decay 5e-4 on the weights; anchors: ``band`` finds them in the training boxes by stride band,
    ``published`` takes YOLOv3's; augmentation: a name in AUGMENTATIONS; any_way_up: whether
    half of the pictures may be shown upside down, as the recipe and mosaics then do; lateral: ``concat`` or ``add``;
    ignore_threshold: of :class:`yolov3.targets.TargetSettings`; momentum: share of a new batch in the running
    statistics of batch norm, 0.1 for runs of a few hundred steps, 0.01 (the original's) for long ones; seed.

    schedule of the learning rate: ``cosine`` down to a hundredth, or ``steps`` as in the original, down to a tenth
    after 80 % and again after 90 % of the steps; burn_in: steps in which it rises before, at most a fifth of all;
    multi_scale: whether every ten batches get another size (:func:`yolov3.data.batches.sizes_around`); ema: decay of
    the running average of the weights (:class:`minidl.average.WeightAverage`), which then is what detects, or 0 for
    none; freeze: epochs in which the backbone stays as it is; patience: epochs without a better mAP@0.5 after which
    the run ends, or 0 for never; local_batchnorm: whether each of several processes normalises its pictures by
    themselves, not all those of the batch together.

    Raises UserError for values that cannot be.
    """

    model: str = "yolov3-nano"
    image_size: tuple = (192, 256)
    epochs: int = 41
    batch: int = 8
    learning_rate: float = 3e-3
    optimizer: str = "adam"
    anchors: str = "band"
    augmentation: str = "recipe"
    any_way_up: bool = False
    lateral: str = "concat"
    ignore_threshold: float = 0.7
    momentum: float = 0.1
    seed: int = 0
    schedule: str = "cosine"
    burn_in: int = 50
    multi_scale: bool = False
    ema: float = 0.0
    freeze: int = 0
    patience: int = 0
    local_batchnorm: bool = False

    def __post_init__(self):
        preset(self.model)
        check_image_size(self.image_size)
        for name in ("epochs", "batch", "seed", "burn_in", "freeze", "patience"):
            if getattr(self, name) > LARGEST:
                raise UserError(f"{name} must be at most {LARGEST}, not {getattr(self, name)}")
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("seed", "burn_in", "freeze", "patience"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema must be at least 0 and below 1, not {self.ema}")
        for name in ("ignore_threshold", "momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"the learning rate must be a positive number, not {self.learning_rate}")
        choices = {
            "optimizer": OPTIMIZERS,
            "anchors": ANCHOR_CHOICES,
            "augmentation": AUGMENTATIONS,
            "schedule": SCHEDULES,
            "lateral": LATERALS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"unknown {name} {getattr(self, name)!r}: choose one of {', '.join(allowed)}")

    @property
    def variation(self):
        """How pictures are varied: an :class:`yolov3.data.augment.Augmentation`."""
        chosen = AUGMENTATIONS[self.augmentation]
        return chosen if self.any_way_up else replace(chosen, vertical_flip=0.0)
