"""Do deeper networks train worse?  Plain and residual networks of 20 and 56 layers on small pictures (notes C2-C6).

The experiment of He et al. 2016 (section 4.2, figure 6), made small enough for a laptop: 5,000 CIFAR-10 pictures
averaged to 16x16, three stages of 8, 16 and 32 channels, batch 128, SGD with momentum 0.9, rate 0.1 after a linear
warm-up of 20 steps, decay 1e-4, shifts and flips.  What is reported is the running *training* error: the share of wrong
answers in the last 100 steps, on the very pictures the network is learning from.

``python chapters/experiments/degradation.py --steps 1000`` writes results/degradation.json.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minidl import Tensor, nn, one_blas_thread, ops
from minidl.optim import SGD, decay_groups

CHANNELS = (8, 16, 32)
BATCH = 128
WARM_UP = 20
KINDS = ("plain", "residual")
DEPTHS = (20, 56)
RESULTS = Path(__file__).parent / "results" / "degradation.json"


class Block(nn.Module):
    """Two 3x3 convolutions, each with batch norm; a residual block adds its input before the last ReLU.

    (batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs).  Where the sizes differ the
    shortcut takes every ``stride``-th pixel and leaves the new channels at zero: no parameters (He et al., option A).
    """

    def __init__(self, inputs, outputs, stride, residual, rng):
        self.residual = residual
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, bias=False, rng=rng)
        self.norm1 = nn.BatchNorm(outputs, slope=0.0)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, bias=False, rng=rng)
        self.norm2 = nn.BatchNorm(outputs, slope=1.0 if residual else 0.0)
        self.shortcut = nn.Shortcut(slope=0.0)

    def forward(self, x):
        y = self.norm2(self.conv2(self.norm1(self.conv1(x))))
        return self.shortcut(y, x) if self.residual else y


class SmallNetwork(nn.Module):
    """``depth`` = 6 n + 2 layers with weights: a first convolution, 3 stages of n blocks, a linear layer.

    Images (batch, 16, 16, 3) -> logits (batch, 10).
    """

    def __init__(self, depth, residual, seed=0):
        rng = np.random.default_rng(seed)
        blocks, widths = (depth - 2) // 6, (CHANNELS[0], *CHANNELS)
        self.stem = nn.Conv2d(3, CHANNELS[0], 3, bias=False, rng=rng)
        self.stem_norm = nn.BatchNorm(CHANNELS[0], slope=0.0)
        self.blocks = [
            Block(widths[stage + (index > 0)], widths[stage + 1], 2 if stage and not index else 1, residual, rng)
            for stage in range(3)
            for index in range(blocks)
        ]
        self.pool, self.output = nn.GlobalAveragePool(), nn.Linear(CHANNELS[-1], 10, rng=rng)

    def forward(self, images):
        x = self.stem_norm(self.stem(images))  # (batch, 16, 16, 8)
        for block in self.blocks:
            x = block(x)
        return self.output(self.pool(x))  # (batch, 4, 4, 32) -> (batch, 32) -> (batch, 10)


def moved(images, rng):
    """Each picture shifted by up to two pixels and mirrored half of the time, so that it is never quite the same."""
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    result = np.empty_like(images)
    for index, (down, right, mirror) in enumerate(rng.integers(0, (5, 5, 2), (len(images), 3))):
        crop = padded[index, down : down + 16, right : right + 16]
        result[index] = crop[:, ::-1] if mirror else crop
    return result


def train(depth, residual, images, labels, steps, seed=0, progress=None):
    """Train one network; the share of wrong answers in each step, an array (steps,).  ``progress()`` after each."""
    rng = np.random.default_rng((seed, 1))
    model = SmallNetwork(depth, residual, seed)
    optimizer = SGD(decay_groups(model, 1e-4), 0.1, momentum=0.9)
    errors = np.zeros(steps)
    for step in range(steps):
        chosen = rng.integers(0, len(images), BATCH)
        with one_blas_thread:
            logits = model(Tensor(moved(images[chosen], rng)))
            errors[step] = (logits.data.argmax(axis=1) != labels[chosen]).mean()
            optimizer.zero_grad()
            (ops.cross_entropy(logits, labels[chosen]) / BATCH).backward()
            optimizer.learning_rate = 0.1 * min(1, (step + 1) / WARM_UP)
            optimizer.step()
        if progress:
            progress()
    return errors


def running(errors, window=100):
    """The mean over the last ``window`` steps, at each step."""
    sums = np.cumsum(np.concatenate([[0], errors]))
    ends = np.arange(1, len(errors) + 1)
    return (sums[ends] - sums[np.maximum(ends - window, 0)]) / np.minimum(ends, window)


def cifar10(folder, count=5000):
    """The first ``count`` training pictures of cifar10_12k_jpeg.npz: (count, 16, 16, 3) around 0, labels (count,)."""
    from io import BytesIO
    from itertools import pairwise

    from PIL import Image

    arrays = np.load(Path(folder) / "cifar10_12k_jpeg.npz")
    blob, offsets = arrays["train_jpeg"].tobytes(), arrays["train_offset"]
    pictures = [np.asarray(Image.open(BytesIO(blob[a:b]))) for a, b in pairwise(offsets[: count + 1])]
    full = np.stack(pictures).astype(np.float32) / 255  # (count, 32, 32, 3)
    small = full.reshape(len(full), 16, 2, 16, 2, 3).mean(axis=(2, 4))  # 2x2 pixels averaged
    return (small - small.mean(axis=(0, 1, 2))) / small.std(axis=(0, 1, 2)), arrays["train_label"][:count].astype(int)


def generated(count=5000, seed=0):
    """Ten kinds of noisy stripes, rings and spots, for where CIFAR-10 is absent: pictures and labels as above."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    y, x = np.mgrid[:16, :16] - 7.5
    angle = rng.uniform(-0.3, 0.3, count) + (labels % 5) * np.pi / 5
    across = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    distance = np.hypot(x - rng.normal(0, 2, (count, 1, 1)), y - rng.normal(0, 2, (count, 1, 1)))
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    waves = np.where(
        labels[:, None, None] < 5, np.sin(across + phase), np.sin(distance * (1 + angle[:, None, None]) / 2)
    )
    colour = rng.normal(1, 0.5, (count, 1, 1, 3))
    return (waves[..., None] * colour + rng.normal(0, 1.0, (count, 16, 16, 3))).astype(np.float32), labels


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1, help="repeat with so many seeds (default 1)")
    options = parser.parse_args()
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10"
    images, labels = cifar10(folder) if folder.is_dir() else generated()
    data = "CIFAR-10, 5,000 pictures averaged to 16x16" if folder.is_dir() else "generated patterns"
    runs = {}
    RESULTS.parent.mkdir(exist_ok=True)
    with tqdm(total=options.steps * options.seeds * len(KINDS) * len(DEPTHS)) as bar:
        for seed in range(options.seeds):
            for depth in DEPTHS:
                for kind in KINDS:
                    bar.set_description(f"{kind}-{depth}, seed {seed}")
                    errors = train(depth, kind == "residual", images, labels, options.steps, seed, bar.update)
                    curve = running(errors)[9::10]  # every tenth step
                    runs.setdefault(f"{kind}-{depth}", []).append([round(float(each), 4) for each in curve])
                    found = {"data": data, "steps": options.steps, "every": 10, "runs": runs}
                    RESULTS.write_text(json.dumps(found) + "\n")
    for name, curves in runs.items():
        print(f"{name}: running training error {', '.join(f'{curve[-1]:.3f}' for curve in curves)}")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
