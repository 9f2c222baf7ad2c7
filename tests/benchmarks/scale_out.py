"""How far training on COCO would scale over many GPUs: an estimate from formulas and published figures, as a table.

Run from the project's root: ``python -m tests.benchmarks.scale_out``.  Nothing is measured; what each number rests on
is said in ``chapters/scaling.md``.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from minidl.nn import BatchNorm, layer_table
from yolov3.model import build_model

PICTURES = 118_287  # of COCO's train2017
SCHEDULE = 500_200 * 64  # pictures that the original trains on: max_batches and batch of yolov3.cfg
NODE = 8  # GPUs in a computer
NVLINK, NETWORK = 450e9, NODE * 50e9  # bytes a second: of a GPU one way; of a computer's eight adapters of 400 Gbit/s
USED = 0.5  # of these bandwidths: an assumption
BASE, HOP, NETWORK_HOP = 6.8e-6, 0.6e-6, 5.0e-6  # seconds: NCCL's own model of a tree of short messages
RATES = {"fp32": 60e12, "tf32": 0.4 * 450e12}  # operations a second: an assumption
CASES = ((1, 8), (8, 8), (64, 8), (512, 8), (64, 1))  # GPUs, pictures on each


def latency(gpus):
    """Seconds of a short all-reduce: ``base + 2 ((GPUs in a computer - 1) hop + log2(computers) network hop)``."""
    computers = max(1, gpus // NODE)
    return BASE + 2 * ((min(gpus, NODE) - 1) * HOP + (computers.bit_length() - 1) * NETWORK_HOP)


def ring(gpus, size):
    """Seconds of an all-reduce of ``size`` bytes: each link carries ``2 (N - 1) / N`` times as many."""
    bandwidth = NVLINK if gpus <= NODE else NETWORK
    return 2 * (gpus - 1) / gpus * size / (USED * bandwidth)


def main():
    """Print the table."""
    model = build_model("yolov3")
    operations = 3 * sum(row.operations for row in layer_table(model, (416, 416, 3)))  # forward and twice backward
    messages = 2 * sum(isinstance(each, BatchNorm) for _, each in model.named_modules())
    size = 4 * model.parameter_count()
    print(f"{operations / 1e9:.1f} billion operations a picture, {messages} messages of batch norm, {size:,} bytes")
    columns = ("rate", "GPUs", "batch", "compute ms", "batch norm ms", "gradients ms", "step ms", "efficiency")
    columns += ("pictures/s each", "epoch s", "schedule h")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name, rate in RATES.items():
        for gpus, own in CASES:
            compute = own * operations / rate
            norm, gradients = (messages * latency(gpus), ring(gpus, size)) if gpus > 1 else (0, 0)
            step, batch = compute + norm + gradients, gpus * own
            times = [f"{1e3 * each:.1f}" for each in (compute, norm, gradients, step)]
            totals = [f"{own / step:.0f}", f"{PICTURES // batch * step:.1f}", f"{SCHEDULE / batch * step / 3600:.2f}"]
            print("| " + " | ".join([name, str(gpus), str(batch), *times, f"{compute / step:.0%}", *totals]) + " |")


if __name__ == "__main__":
    main()
