"""The inner part of training: from a batch to changed weights, or to a reason why not."""

import math

import numpy as np

from minidl import Tensor, one_blas_thread, ops
from minidl.anomaly import first_anomaly
from minidl.average import WeightAverage
from minidl.collective import ALONE, current_group, together
from minidl.device import to_device
from minidl.loss_scale import LossScale
from minidl.nn import BatchNorm
from minidl.optim import SGD, Adam, decay_groups
from yolov3.devices import computing_in, enough_memory, image_type
from yolov3.errors import UserError
from yolov3.loss import LossTerms, yolo_loss
from yolov3.postprocess import predict
from yolov3.targets import TargetSettings
from yolov3.watch import stopped, what_to_try, where_it_began

DECAY = 5e-4  # of the weights with SGD, as in the original (spec 6)


class Learner:
    """A network, and what changes it: :meth:`step` is one update.

    ``model`` is on ``device`` already; ``settings`` are :class:`yolov3.train_settings.TrainSettings`; ``schedule`` is
    the learning rate as a function of the step (:mod:`minidl.schedules`); ``precision`` as for
    :func:`yolov3.devices.choose_device`.

    ``average``: the running average of the weights (:class:`minidl.average.WeightAverage`), or None where the settings
    ask for none.  ``last_checkpoint``: the path of a good one to name in error messages, or None.
    """

    def __init__(self, model, settings, schedule, device="cpu", precision="fp32"):
        self.model, self.settings, self.schedule = model, settings, schedule
        self.device, self.precision = device, precision
        self.optimizer = _make_optimizer(settings, model)
        # In all but float16 the loss is not scaled, but its gradients are checked in the same way.
        self.loss_scale = LossScale() if precision == "fp16" else LossScale(1, double_after=None)
        self.average = WeightAverage(model, settings.ema) if settings.ema else None
        self.last_checkpoint = None
        model.configure_batchnorm(momentum=settings.momentum)

    def begin_epoch(self, epoch):
        """Get ready for steps of epoch number ``epoch``, from 0: training mode, and the backbone frozen or not.

        A frozen backbone does not change at all, and costs no backward pass: neither its weights nor the running
        statistics of its batch norms, which it also uses.
        """
        self.model.train()
        frozen = epoch < self.settings.freeze
        for module in self.model.backbone_modules():
            for parameter in module.parameters():
                parameter.requires_grad = not frozen
            if frozen:
                module.eval()

    @np.errstate(over="ignore", invalid="ignore")  # what overflows is found in the loss and the gradients
    def step(self, batch, step):
        """One update, of number ``step`` from 1.

        Returns numbers by name: ``loss`` and its terms; ``boxes`` in the batch; and ``matched_8``, ..., the predictions
        of each stride that had one to learn (:attr:`yolov3.loss.LossTerms.positives`).

        Raises UserError if the loss or a gradient is not finite; the weights are then those before the step.
        """
        self.optimizer.learning_rate = self.schedule(step)
        could_scale_down = self.loss_scale.factor > 1
        boxes = int((batch.truths[..., 2] > 0).sum())  # the rest is padding
        pictures = len(batch.images) * current_group().size
        with computing_in(self.precision), enough_memory(self.device, pictures, batch.images.shape[1:3]):
            is_finite, (*values, boxes) = self._learn(self._loss(batch), boxes)
        terms = dict(zip(("loss", *LossTerms.names), values, strict=False))
        counts = zip(self.model.strides, map(int, values[len(terms) :]), strict=True)
        if not math.isfinite(terms["loss"]):
            raise self._diverged(f"the loss became {terms['loss']}", step, lambda: self._scaled_loss(batch), terms)
        if not is_finite and not could_scale_down:
            raise self._diverged("a gradient became infinite or NaN", step, lambda: self._scaled_loss(batch))
        if self.average is not None:
            self.average.update(step)
        return terms | {"boxes": int(boxes)} | {f"matched_{stride}": count for stride, count in counts}

    def _loss(self, batch):
        """:class:`LossTerms` of a batch for the network as it is; in a group of processes, this one's share of them."""
        images = batch.images.astype(image_type(self.precision), copy=False)
        images, truths = to_device(images, self.device), to_device(batch.truths, self.device)
        with together(ALONE if self.settings.local_batchnorm else current_group()):
            heads = self.model(Tensor(images))
        if self.precision == "fp16":
            heads = [ops.cast(head, np.float32) for head in heads]
        targets = TargetSettings(ignore_threshold=self.settings.ignore_threshold)
        pictures = len(batch.images) * current_group().size
        return yolo_loss(heads, truths, self.model.anchors, self.model.strides, targets, batch=pictures)

    def _scaled_loss(self, batch):
        with computing_in(self.precision):
            return self.loss_scale.scale(self._loss(batch).total)

    def _learn(self, loss, boxes):
        """Move the weights against the gradient of the loss, if that and the loss are finite.

        Returns whether the gradient is, and as numbers the loss, its terms, the positives of each scale, and ``boxes``.
        Reading them is the one copy from a GPU, and the one time that a step waits for it.  In a group of processes all
        of this is of the whole batch: shares of losses, gradients and counts are added up.
        """
        group = current_group()
        self.optimizer.zero_grad()
        self.loss_scale.scale(loss.total).backward()
        local = self._local_statistics()
        group.sum_all(self.optimizer.gradients() + local)
        for statistics in local:
            statistics /= group.size
        terms = (getattr(loss, name) for name in LossTerms.names)
        is_finite, values = self.loss_scale.unscale_and_check(self.optimizer, loss.total, *terms, *loss.positives)
        values = group.sum(np.array([*values, boxes])).tolist()
        if is_finite and math.isfinite(values[0]):
            self.optimizer.step()
        return is_finite, values

    def _local_statistics(self):
        """Running statistics that each process of a group has found for itself; their mean is what evaluation uses."""
        if not self.settings.local_batchnorm or current_group().size == 1:
            return []
        norms = [each for _, each in self.model.named_modules() if isinstance(each, BatchNorm) and each.training]
        return [running.data for each in norms for running in (each.running_mean, each.running_variance)]

    def check_output(self, batch, step):
        """UserError if the network's output is not finite: the last loss was that of the weights before the step.

        The network is in evaluation mode afterwards.
        """
        try:
            predict(self.model, batch.images)
        except UserError as error:
            images = to_device(batch.images, self.device)
            what = "the network's output became infinite or NaN"
            raise self._diverged(what, step, lambda: self.model(Tensor(images))) from error

    @np.errstate(all="ignore")
    def _diverged(self, what, step, compute, terms=None):
        """The UserError for what is not finite; ``compute`` computes it again, to find where it began."""
        try:
            with one_blas_thread:
                anomaly = first_anomaly(self.model, compute)
        except MemoryError:  # it keeps more than a step does
            anomaly = None
        advice = what_to_try(self.settings, self.precision, self.last_checkpoint, step, anomaly)
        return stopped(what, step, where_it_began(anomaly, terms), advice)


def _make_optimizer(settings, model):
    if settings.optimizer == "sgd":
        return SGD(decay_groups(model, DECAY), settings.learning_rate)
    return Adam(model.parameters(), settings.learning_rate)
