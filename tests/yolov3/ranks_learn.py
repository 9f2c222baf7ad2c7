"""What test_ranks.py has several processes compute: ``python -m tests.yolov3.ranks_learn FOLDER DEVICE``.

Each rank writes ``FOLDER/RANK.npz``.
"""

import sys
from dataclasses import replace

import numpy as np

from minidl import Tensor
from minidl.collective import ALONE, MpiGroup, current_group, together
from yolov3.data.augment import RECIPE
from yolov3.data.batches import TrainingBatches, sizes_around
from yolov3.data.shapes import ShapesDataset
from yolov3.evaluate import evaluate
from yolov3.learner import Learner
from yolov3.loss import LossTerms, yolo_loss
from yolov3.model import build_model
from yolov3.train_settings import TrainSettings

SIZE, SMALL = (64, 64), (32, 32)
BATCH = 6
STEPS = 3
SETTINGS = TrainSettings(image_size=SIZE, batch=BATCH, optimizer="sgd", learning_rate=1e-3, ema=0.9)
DATA = ShapesDataset("train", size=20)


def batches(group, size):
    """This rank's share of the first batches, of sizes around ``size``."""
    sizes, share = sizes_around(size), (group.rank, group.size)
    return TrainingBatches(DATA, size, BATCH, RECIPE, 0, sizes=sizes, share=share).epoch(0)


def gradients(group):
    """{name: array}: loss terms and gradients of one batch, in float64."""
    model = build_model("yolov3-nano", 3, seed=1).astype(np.float64).train()
    batch = next(batches(group, SIZE))
    with together(group):
        heads = model(Tensor(batch.images.astype(np.float64)))
        whole = len(batch.images) * current_group().size
        loss = yolo_loss(heads, batch.truths.astype(np.float64), model.anchors, model.strides, batch=whole)
        loss.total.backward()
        group.sum_all([parameter.grad for parameter in model.parameters()])
    found = {f"gradient {name}": parameter.grad for name, parameter in model.named_parameters()}
    terms = [loss.total.data, *(getattr(loss, name) for name in LossTerms.names)]
    return found | {"terms": group.sum(np.array(terms, np.float64))}


def learn(group, device, size, steps, settings=SETTINGS):
    """{name: array}: the images seen, the numbers of some steps, the weights and their average behind them."""
    model = build_model("yolov3-nano", 3, seed=1).to(device)
    learner = Learner(model, settings, lambda step: settings.learning_rate, device)
    learner.begin_epoch(0)
    found = {}
    for step, batch in zip(range(1, steps + 1), batches(group, size), strict=False):
        with together(group):
            values = learner.step(batch, step)
        found |= {f"images {step}": batch.images, f"values {step}": np.array(list(values.values()))}
    found |= {f"weight {name}": array for name, array in model.state_dict().items()}
    return found | {f"average {name}": array for name, array in learner.average.state_dict().items()}


def learn_apart(group, device):
    """One step in which every rank's batch norms see its own pictures alone."""
    settings = replace(SETTINGS, local_batchnorm=True)
    return {f"apart {name}": array for name, array in learn(group, device, SMALL, 1, settings).items()}


def validate(group):
    """{name: array} of an evaluation of seven pictures, which two ranks cannot divide evenly."""
    model = build_model("yolov3-nano", 3, seed=1)
    evaluation = evaluate(model, ShapesDataset("val", size=7), SIZE, batch=2, group=group)
    boxes = np.concatenate([each.boxes_xyxy for each in evaluation.detections])
    counts = np.array([len(each.boxes_xyxy) for each in evaluation.detections])
    return {"mAP": np.array([evaluation.voc.mean_ap, evaluation.coco.ap]), "boxes": boxes, "counts": counts}


def compute(group, device):
    """All of it; on the emulator, which is slow, a single small step."""
    small = {f"small {name}": array for name, array in learn(group, device, SMALL, 1).items()}
    if device != "cpu":
        return small
    return small | learn_apart(group, device) | learn(group, device, SIZE, STEPS) | gradients(group) | validate(group)


def main():
    """Compute this rank's part and write it; alone where it was not started by mpiexec."""
    from mpi4py import MPI

    folder, device = sys.argv[1:]
    group = MpiGroup(MPI.COMM_WORLD, device) if MPI.COMM_WORLD.size > 1 else ALONE
    np.savez(f"{folder}/{group.rank}.npz", **compute(group, device))


if __name__ == "__main__":
    main()
