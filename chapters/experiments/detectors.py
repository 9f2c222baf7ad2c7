"""Small detectors that differ in one thing: scales, lateral connections, anchors, the target of objectness.

Trained for a few hundred steps on the aerial_kit pictures (tiny vehicles, all of one class here; every fourth picture
is held out), or on small generated shapes where those are absent.  ``python chapters/experiments/detectors.py`` writes
results/detectors.json; ``--only NAME ...`` runs some of the variants again and keeps the others' results.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minidl import Tensor, one_blas_thread, schedules
from minidl.optim import Adam
from yolov3.anchors import PUBLISHED_ANCHORS, anchors_by_stride_band, assign_by_rank, kmeans_anchors, network_sizes
from yolov3.boxes import iou_xyxy
from yolov3.darknet53 import Darknet53
from yolov3.data.augment import RECIPE
from yolov3.data.batches import TrainingBatches
from yolov3.data.records import LabelledPicture, build_records
from yolov3.data.report import Report
from yolov3.data.shapes import ShapesDataset
from yolov3.data.yolo_txt import read_label_file
from yolov3.evaluate import evaluate
from yolov3.fpn import DetectionBranch
from yolov3.image import load_image
from yolov3.loss import yolo_loss
from yolov3.model import SMALL, DetectionNetwork, YOLOv3
from yolov3.targets import TargetSettings

BATCH, RATE, WARM_UP = 8, 3e-3, 50
CHANNELS = 64  # at most, in every layer
RESULTS = Path(__file__).parent / "results" / "detectors.json"
CONFIDENCE = 0.5  # above which a detection counts for the recall that is reported


class OneScale(DetectionNetwork):
    """A detector without a pyramid: the backbone's map of one stride, and one detection branch on it."""

    def __init__(self, classes, anchors, seed):
        rng = np.random.default_rng(seed)
        self.strides = tuple(anchors)
        self.set_scales(classes, anchors)
        self.backbone = Darknet53(SMALL["blocks"], SMALL["width"], CHANNELS, rng=rng)
        self.index = (8, 16, 32).index(self.strides[0])
        inputs = self.backbone.channels[3 + self.index]
        self.branch = DetectionBranch(inputs, inputs // 2, self.outputs()[0], SMALL["pairs"], rng=rng)
        self.initialise_outputs([self.branch.output], rng)

    def forward(self, images):
        return (self.branch(self.backbone(images)[self.index])[1],)


class AerialPictures:
    """The vehicles of aerial_kit as one class; ``split`` is "train", or "val" for every fourth picture."""

    names = ("vehicle",)

    def __init__(self, folder, split):
        classes = (folder / "aerial.names").read_text().split()
        pictures = sorted((folder / "images").glob("*.jpg"))
        chosen = [each for index, each in enumerate(pictures) if (index % 4 == 0) == (split == "val")]
        report = Report()
        labelled = []
        for picture in chosen:
            file = folder / "labels" / f"{picture.stem}.txt"
            labelled.append(LabelledPicture(picture, file, read_label_file(file, classes, report), relative=True))
        records = build_records(labelled, classes, report)
        self.records = [replace(record, labels=np.zeros_like(record.labels)) for record in records]

    def __len__(self):
        return len(self.records)

    def load_image(self, index):
        return load_image(self.records[index].picture)


def data_sets():
    """``(training set, held-out set, (height, width), what it is)``."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "aerial_kit"
    if folder.is_dir():
        return AerialPictures(folder, "train"), AerialPictures(folder, "val"), (256, 832), "aerial_kit"
    return ShapesDataset("train", 200), ShapesDataset("val", 50), (96, 96), "generated shapes"


def anchors_of(kind, train_set, size):
    """Nine anchors, ``{stride: sizes}``, of a kind: ``published``, ``band``, ``rank`` or ``square``."""
    sizes = network_sizes(train_set.records, size[1], size[0])
    if kind == "published":
        return PUBLISHED_ANCHORS
    if kind == "square":  # the published areas, without their shapes
        return {stride: tuple((np.sqrt(w * h),) * 2 for w, h in group) for stride, group in PUBLISHED_ANCHORS.items()}
    if kind == "band":
        return anchors_by_stride_band(sizes).groups
    return {stride: tuple(map(tuple, group)) for stride, group in assign_by_rank(kmeans_anchors(sizes, 9)[0]).items()}


# name -> (strides, lateral connection, anchors, target of objectness)
VARIANTS = {
    "three scales, concat": ((32, 16, 8), "concat", "band", "one"),
    "three scales, add": ((32, 16, 8), "add", "band", "one"),
    "stride 32 only": ((32,), None, "band", "one"),
    "stride 8 only": ((8,), None, "band", "one"),
    "anchors by rank": ((32, 16, 8), "concat", "rank", "one"),
    "published anchors": ((32, 16, 8), "concat", "published", "one"),
    "square anchors": ((32, 16, 8), "concat", "square", "one"),
    "objectness target IoU": ((32, 16, 8), "concat", "band", "iou"),
}


def build(strides, lateral, groups, classes, seed):
    """The network of a variant.  One scale alone gets all nine anchors."""
    if len(strides) == 3:
        return YOLOv3(classes, groups, lateral=lateral, max_channels=CHANNELS, seed=seed, **SMALL)
    every = tuple(size for group in groups.values() for size in group)
    return OneScale(classes, {strides[0]: every}, seed)


def train(variant, steps, seed, progress=None):
    """Train a variant; ``(its scores by :func:`score`, the losses of all steps)``."""
    strides, lateral, anchors, target = VARIANTS[variant]
    train_set, held_out, size, _ = data_sets()
    model = build(strides, lateral, anchors_of(anchors, train_set, size), len(train_set.names), seed)
    optimizer = Adam(model.parameters(), RATE)
    schedule = schedules.burn_in(schedules.cosine(RATE, steps, 0.01), WARM_UP, power=1)
    batches, losses, epoch = TrainingBatches(train_set, size, BATCH, RECIPE, seed), [], 0
    while len(losses) < steps:
        for batch in batches.epoch(epoch):
            if len(losses) == steps:
                break
            with one_blas_thread:
                heads = model.train()(Tensor(batch.images))
                loss = yolo_loss(heads, batch.truths, model.anchors, model.strides, TargetSettings(objectness=target))
                optimizer.zero_grad()
                loss.total.backward()
                optimizer.learning_rate = schedule(len(losses) + 1)
                optimizer.step()
            losses.append(round(loss.total.item(), 3))
            if progress:
                progress()
        epoch += 1
    return score(model, held_out, size), losses


def score(model, held_out, size):
    """On the held-out pictures: mAP@0.5, and of what is surer than CONFIDENCE the recall and the mean score."""
    evaluation = evaluate(model, held_out, size)
    found, truths, scores = 0, 0, []
    for record, detections in zip(held_out.records, evaluation.detections, strict=True):
        sure = detections.scores > CONFIDENCE
        overlaps = iou_xyxy(record.boxes_xyxy[:, None], detections.boxes_xyxy[None, sure].astype(np.float32))
        found += int((overlaps.max(axis=1, initial=0) > 0.5).sum())
        truths += len(record.boxes_xyxy)
        scores += list(detections.scores[sure])
    return {
        "mAP50": round(evaluation.voc.mean_ap, 4),
        "recall": round(found / truths, 4),
        "mean_score": round(float(np.mean(scores)), 4) if scores else None,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1, help="repeat with so many seeds (default 1)")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), help="default: all")
    options = parser.parse_args()
    _, _, size, data = data_sets()
    kept = json.loads(RESULTS.read_text())["variants"] if RESULTS.exists() else {}
    with tqdm(total=options.steps * options.seeds * len(options.only)) as bar:
        for name in options.only:
            kept[name] = []
            for seed in range(options.seeds):
                bar.set_description(f"{name}, seed {seed}")
                scores, losses = train(name, options.steps, seed, bar.update)
                kept[name].append(scores | {"seed": seed, "losses": losses[9::10]})
                print(name, seed, scores, flush=True)
            found = {"data": data, "size": size, "steps": options.steps, "confidence": CONFIDENCE, "variants": kept}
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(found) + "\n")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
