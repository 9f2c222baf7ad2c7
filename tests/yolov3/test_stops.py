"""A run that cannot go on says in which layer that began, keeps its weights and its checkpoint, and what to try."""

from pathlib import Path

import numpy as np
import pytest

from minidl import Tensor
from minidl.anomaly import Anomaly
from minidl.loss_scale import LossScale
from tests.yolov3.short_runs import SHORT
from yolov3.checkpoint import load_checkpoint
from yolov3.data.shapes import ShapesDataset
from yolov3.errors import UserError
from yolov3.fpn import DetectionBranch
from yolov3.learner import Learner
from yolov3.train import TrainingRun
from yolov3.train_settings import TrainSettings
from yolov3.watch import what_to_try, where_it_began


def tiny_run(device="cpu", precision="fp32"):
    dataset = ShapesDataset("train", size=4, image_size=64)
    settings = TrainSettings(image_size=(32, 32), batch=2, anchors="published", augmentation="none")
    return TrainingRun(settings, dataset, dataset, {}, device=device, precision=precision)


def sentence_of(run, step=7):
    """With which sentence a step is refused; the weights do not change."""
    batch = next(run.batches.epoch(0))
    run.model.train()
    before = [np.array(parameter.data) for parameter in run.model.parameters()]
    with pytest.raises(UserError) as error:
        run.learner.step(batch, step)
    for parameter, array in zip(run.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.data, array)
    assert run.learner.optimizer.step_count == 0
    return str(error.value)


def test_a_layer_that_overflows():
    run = tiny_run()
    run.model.pyramid.branch_16.output.weight.data[:] = 3e38
    sentence = sentence_of(run)
    assert sentence.startswith("the loss became nan in step 7: the first number that is not finite came out of conv2d")
    assert "in layer pyramid.branch_16.output; try a lower --lr than 0.003" in sentence
    assert "--precision" not in sentence


def test_damaged_weights():
    run = tiny_run()
    run.model.backbone.stem.norm.gamma.data[2] = np.nan
    sentence = sentence_of(run, step=1)
    assert "the parameter backbone.stem.norm.gamma is not finite itself" in sentence
    assert sentence.endswith("the weights it started from are damaged: start from others")
    run = tiny_run()
    run.model.backbone.stem.norm.gamma.data[2] = np.nan
    assert "--lr" in sentence_of(run, step=2)


def test_a_term_of_the_loss():
    run = tiny_run()
    for branch in (run.model.pyramid.branch_32, run.model.pyramid.branch_16, run.model.pyramid.branch_8):
        branch.output.bias.data.reshape(3, -1)[:, 2:4] = 1e25  # finite, but not its square
    sentence = sentence_of(run)
    assert sentence.startswith("the loss became ")
    assert "came out of squared_error in the loss (its term size)" in sentence


def test_a_gradient(monkeypatch):
    """The loss is finite; the gradient goes wrong on its way through one layer."""
    forward = DetectionBranch.forward

    def spoilt(self, x):
        features, logits = forward(self, x)
        if self.output.weight.shape[2] == run.model.pyramid.branch_8.output.weight.shape[2]:
            logits = Tensor.from_operation(logits.data, (logits,), lambda grad: [grad * np.float32(np.inf)], "spoilt")
        return features, logits

    run = tiny_run()
    monkeypatch.setattr(DetectionBranch, "forward", spoilt)
    sentence = sentence_of(run)
    assert sentence.startswith("a gradient became infinite or NaN in step 7: the first gradient that is not finite")
    assert "came out of spoilt in layer pyramid.branch_" in sentence
    assert ", going backwards; " in sentence


def test_on_a_gpu(gpu_device):
    run = tiny_run(gpu_device, "tf32")
    run.model.pyramid.branch_16.output.weight.data[:] = 3e38
    batch = next(run.batches.epoch(0))
    with pytest.raises(UserError, match=r"in layer pyramid\.branch_16\.output"):
        run.learner.step(batch, 3)


def test_gradients_that_overflow_are_an_error_only_where_the_scale_cannot_be_halved(monkeypatch):
    run = tiny_run()
    run.learner.loss_scale = LossScale(2.0)
    batch = next(run.batches.epoch(0))
    monkeypatch.setattr("minidl.kernels.cpu.unscale", lambda grads, factor: np.ones(1, np.int32))
    assert np.isfinite(run.learner.step(batch, 3)["loss"])
    assert run.learner.loss_scale.factor == 1
    with pytest.raises(UserError, match="a gradient became infinite or NaN in step 4"):
        run.learner.step(batch, 4)
    assert run.learner.optimizer.step_count == 0


def test_in_words():
    assert "layer a.b" in where_it_began(Anomaly("forward", "conv2d", "a.b"))
    assert "the pictures are not finite" in where_it_began(Anomaly("forward", "leaf", ""))
    assert "could not be found" in where_it_began(None)
    settings = TrainSettings(learning_rate=0.02)
    assert what_to_try(settings, "fp32", Path("runs/last.npz"), 5, None) == (
        "try a lower --lr than 0.02, from the last good checkpoint: --weights runs/last.npz --lr 0.002"
    )
    assert "or --precision fp32; if that does not help, yolov3 overfit" in what_to_try(settings, "fp16", None, 5, None)


def test_the_checkpoint_within_the_epoch_is_the_last_good_one(in_tmp_path, yolov3, voc, monkeypatch):
    """What it advises can be done: start from that checkpoint with a lower rate."""
    take_step = Learner.step

    def explode(self, batch, number):
        terms = take_step(self, batch, number)
        if number == 3:
            self.model.pyramid.branch_8.output.weight.data[:] = np.float32(3e38)
        return terms

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", explode)
        outcome = yolov3("train", "--data", voc, *SHORT, "--batch", 1, "--save-every", 0)
    assert outcome.code == 1
    assert "the network's output became infinite or NaN in step 3" in outcome.errors[-1]
    assert "in layer pyramid.branch_8.output" in outcome.errors[-1]
    last = Path("runs/train/exp/last.npz")
    assert f"--weights {last} --lr 0.0003" in outcome.errors[-1]
    found = load_checkpoint(last)
    assert found.training["part"]["steps"] == 2
    again = yolov3("train", "--data", voc, *SHORT, "--epochs", 1, "--weights", last, "--lr", 0.0003)
    assert again.code == 0
