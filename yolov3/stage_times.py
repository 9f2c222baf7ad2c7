"""How long each stage of an evaluation takes: preparing the pictures, the network, decoding with suppression."""

import time

import numpy as np

from minidl.device import array_library

STAGES = ("preparing", "network", "decoding and NMS")


class StageTimes:
    """Collects what each batch took in each of STAGES; :meth:`milliseconds` is per picture."""

    def __init__(self):
        self._batches = {stage: [] for stage in STAGES}  # milliseconds per picture of each batch

    def add(self, stage, seconds, pictures):
        """A batch of so many pictures took so many seconds in this stage."""
        self._batches[stage].append(1000 * seconds / pictures)

    def milliseconds(self):
        """Per stage the median over the batches, in milliseconds per picture; a stage without batches is left out.

        The median, because the first batch also compiles, records and allocates, and so says little of the others.
        """
        return {stage: float(np.median(batches)) for stage, batches in self._batches.items() if batches}


class TimedNetwork:
    """A detector that notes when it has finished: ``finished``, in seconds of :func:`time.perf_counter`.

    Everything else is the detector's own.
    """

    def __init__(self, network):
        self._network = network
        self.finished = None

    def __call__(self, images):
        """The heads of a batch of images, computed and not merely begun."""
        heads = self._network(images)
        if self._network.device != "cpu":  # a GPU works on while Python goes on
            array_library(self._network.device).cuda.Device().synchronize()
        self.finished = time.perf_counter()
        return heads

    def __getattr__(self, name):
        return getattr(self._network, name)


def speed_line(milliseconds):
    """The speed of each stage in a line, such as ``ms per picture: preparing 2.1, network 30.5, ...``."""
    return "milliseconds per picture: " + ", ".join(f"{stage} {value:.1f}" for stage, value in milliseconds.items())
