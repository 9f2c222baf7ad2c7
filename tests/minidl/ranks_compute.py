"""What test_collective.py has several processes compute: ``python -m tests.minidl.ranks_compute FOLDER DEVICE``.

Each rank writes ``FOLDER/RANK.npz``.  Inputs come from seeds, so that the test makes the same ones.
"""

import sys

import numpy as np

from minidl import Tensor, collective, nn, ops
from minidl.anomaly import first_anomaly
from minidl.collective import MpiGroup, together
from minidl.device import array_library, to_cpu
from minidl.kernels.batchnorm_rules import BATCHNORM_RULES

SHAPE = 12, 5, 4, 7  # batch (for 1, 2, 3 ranks), height, width, channels
SIZES = 3, 400, 5, 1000, 2, 2  # of arrays to be added up together
BUCKET = 500


def part(array, group):
    """This rank's share of a batch."""
    count = len(array) // group.size
    return array[group.rank * count : (group.rank + 1) * count]


def batchnorm_inputs(dtype, offset=0.0):
    """x and the gradient of the result (SHAPE), gamma and beta (channels,), float64 random numbers in ``dtype``.

    Every picture has a mean of its own, so that the statistics of a part are not those of the batch.
    """
    rng = np.random.default_rng(5)
    x = rng.normal(size=SHAPE) + rng.normal(size=(SHAPE[0], 1, 1, SHAPE[-1])) + offset
    grad, gamma, beta = rng.normal(size=SHAPE), rng.normal(size=SHAPE[-1]), rng.normal(size=SHAPE[-1])
    return [each.astype(dtype) for each in (x, grad, gamma, beta)]


def batchnorm(group, device, dtype, rule, offset=0.0):
    """{name: array} of a batch-norm layer's pass over this rank's part of the batch, forwards and backwards."""
    xp = array_library(device)
    x, grad, gamma, beta = batchnorm_inputs(dtype, offset)
    layer = nn.BatchNorm(SHAPE[-1], momentum=0.3, slope=0.1, rule=BATCHNORM_RULES[rule]).astype(dtype).to(device)
    layer.gamma.data, layer.beta.data = xp.asarray(gamma), xp.asarray(beta)
    own = Tensor(xp.asarray(part(x, group)), requires_grad=True)
    with together(group):
        y = layer(own)
        y.backward(xp.asarray(part(grad, group)))
        group.sum_all([layer.gamma.grad, layer.beta.grad])
    found = {"y": y.data, "dx": own.grad, "dgamma": layer.gamma.grad, "dbeta": layer.beta.grad}
    found |= {"mean": layer.running_mean.data, "variance": layer.running_variance.data}
    return {name: to_cpu(array) for name, array in found.items()}


def sums(group, device, dtype):
    """Arrays of SIZES, added up over the ranks in several messages."""
    rng, xp = np.random.default_rng(group.rank), array_library(device)
    arrays = [xp.asarray(rng.normal(size=size).astype(dtype)) for size in SIZES]
    group.sum_all(arrays)
    return {f"{index}": to_cpu(array) for index, array in enumerate(arrays)}


class Poison(nn.Module):
    """What it is given; in the second rank made infinite, forwards or backwards as ``place`` says."""

    def __init__(self, group, place):
        self.place = place if group.rank == 1 else "nowhere"

    def forward(self, x):
        value = x.data * np.float32(np.inf if self.place == "forward" else 1)
        factor = np.float32(np.inf if self.place == "backward" else 1)
        return Tensor.from_operation(value, (x,), lambda grad: (grad * factor,), "poison")


class Network(nn.Module):
    """A poison between two layers, and a batch norm behind it, through which all ranks get to feel it."""

    def __init__(self, group, place):
        self.first, self.poison = nn.Linear(3, 4), Poison(group, place)
        self.norm, self.last = nn.BatchNorm(4), nn.Linear(4, 1)

    def forward(self, x):
        return self.last(self.norm(self.poison(self.first(x))))


@np.errstate(all="ignore")
def anomalies(group):
    """What each rank is told of a number that is not finite in one of them."""
    found = []
    for place in ("forward", "backward", "nowhere"):
        network = Network(group, place)
        x = Tensor(np.random.default_rng(group.rank).normal(size=(4, 3)).astype(np.float32))
        with together(group):
            anomaly = first_anomaly(network, lambda network=network, x=x: ops.sum_value(network(x)))
        found.append("none" if anomaly is None else f"{anomaly.direction} {anomaly.operation} {anomaly.path}")
    return np.array(found)


def main():
    """Compute everything on this rank and write it."""
    from mpi4py import MPI

    folder, device = sys.argv[1:]
    group = MpiGroup(MPI.COMM_WORLD, device)
    collective.BUCKET = BUCKET
    results = {"size": group.size, "local": group.local_rank, "gathered": group.gather(group.rank * 10)}
    results["shared"] = group.share("from rank 0" if group.rank == 0 else None)
    for dtype in ("float64", "float32"):
        results |= {f"sum {dtype} {name}": array for name, array in sums(group, device, dtype).items()}
        for rule in ("standard", "darknet-cpu"):
            for name, array in batchnorm(group, device, dtype, rule).items():
                results[f"{rule} {dtype} {name}"] = array
    results |= {f"far {name}": array for name, array in batchnorm(group, device, "float32", "standard", 1e3).items()}
    if device == "cpu":
        results["anomalies"] = anomalies(group)
    np.savez(f"{folder}/{group.rank}.npz", **results)


if __name__ == "__main__":
    main()
