"""What each part of the training recipe brings: BCCD, yolov3-nano, everything alike but for one thing.

``python chapters/experiments/recipe.py --data datasets/bccd`` trains each variant with three seeds, judges the last
weights on the 72 test pictures, writes results/recipe.json and prints the table of it; about five minutes a run.
``--only NAME ...`` runs some of the variants again and keeps the others' results; ``--table`` only prints.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean

from tqdm import tqdm

from minidl import schedules
from yolov3.data.augment import RECIPE
from yolov3.data.dataset import open_dataset
from yolov3.demo import run_demo
from yolov3.start import model_to_fine_tune
from yolov3.train import FINAL_RATE, TrainingRun
from yolov3.train_settings import TrainSettings

RESULTS = Path(__file__).parent / "results" / "recipe.json"
SEEDS = (0, 1, 2)


def _whole_pictures(run):
    run.batches.augmentation = replace(RECIPE, zoom=1.0, aspect=0.0, shift=0.0)


def _fourth_power(run):
    rate = schedules.cosine(run.settings.learning_rate, run.total_steps, FINAL_RATE)
    run.learner.schedule = schedules.burn_in(rate, run.settings.burn_in, power=4)


def _knows_shapes(settings, train_set):
    """The network to fine-tune that ``yolov3 demo`` gives, which has seen nothing but generated shapes."""
    with tempfile.TemporaryDirectory() as folder:
        run_demo(Path(folder), 1000, settings.seed)
        return model_to_fine_tune(settings, train_set, Path(folder) / "last.npz")


# name -> (what it changes in the settings, what it changes in the run)
VARIANTS = {
    "recipe": ({}, None),
    "right way up": ({"any_way_up": False}, None),
    "whole pictures": ({}, _whole_pictures),
    "original augmentation": ({"augmentation": "original"}, None),
    "mosaic": ({"augmentation": "mosaic"}, None),
    "multi-scale": ({"multi_scale": True}, None),
    "steps": ({"schedule": "steps"}, None),
    "burn-in to the fourth power": ({}, _fourth_power),
    "averaged weights": ({"ema": 0.998}, None),
    "stopped early": ({"patience": 6}, None),
    "published anchors": ({"anchors": "published"}, None),
    "from shapes": ({}, None),
    "from shapes, frozen at first": ({"freeze": 10}, None),
}


def train(name, seed, data):
    """One run of a variant: the scores of its last weights on the test pictures, and how many epochs it took."""
    changes, adapt = VARIANTS[name]
    settings = TrainSettings(**{"seed": seed, "any_way_up": True} | changes)
    start = _knows_shapes(settings, data[0]) if name.startswith("from shapes") else None
    run = TrainingRun(settings, *data, {}, model=start)
    if adapt is not None:
        adapt(run)
    with tempfile.TemporaryDirectory() as folder, tqdm(total=run.total_steps, desc=f"{name}, seed {seed}") as bar:
        found = run.run(folder, bar)
    classes = dict(zip(data[1].names, found.voc.class_ap.tolist(), strict=True))
    return {"mAP50": found.voc.mean_ap, "AP": found.coco.ap, "classes": classes, "epochs": run.epoch}


def table(results):
    """The scores as text, and what each variant gains over the recipe."""
    lines = [f"{'variant':<30} {'mAP@0.5 (seeds)':<24} {'gain':>6}  {'AP@[.5:.95]':>11} {'gain':>6}"]
    base = {key: mean(run[key] for run in results["recipe"].values()) for key in ("mAP50", "AP")}
    for name, runs in results.items():
        map50, ap = (mean(run[key] for run in runs.values()) for key in ("mAP50", "AP"))
        seeds = " ".join(f"{run['mAP50']:.3f}" for run in runs.values())
        gains = f"{map50 - base['mAP50']:+.3f}", f"{ap - base['AP']:+.3f}"
        lines.append(f"{name:<30} {f'{map50:.3f} ({seeds})':<24} {gains[0]:>6}  {ap:>11.3f} {gains[1]:>6}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="datasets/bccd", help="a BCCD folder (yolov3 download bccd)")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="NAME", help="some of the variants")
    parser.add_argument("--table", action="store_true", help="only print the table of the results")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not options.table:
        data = [open_dataset(options.data, split) for split in ("train", "val")]
        for name in options.only or VARIANTS:
            results[name] = {str(seed): train(name, seed, data) for seed in SEEDS}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
