"""Times of stages: the median per picture, and a network that says when it has really finished."""

import time

import numpy as np
import pytest

from minidl import Tensor
from minidl.device import array_library, to_device
from yolov3.stage_times import StageTimes, TimedNetwork, speed_line


def test_the_median_batch_counts():
    times = StageTimes()
    for seconds, pictures in ((9.0, 8), (0.8, 8), (0.3, 2)):  # the first one compiles
        times.add("network", seconds, pictures)
    times.add("preparing", 0.01, 4)
    assert times.milliseconds() == pytest.approx({"preparing": 2.5, "network": 150})
    assert speed_line(times.milliseconds()) == "milliseconds per picture: preparing 2.5, network 150.0"


class Doubler:
    device = "cpu"
    strides = (32,)

    def __call__(self, images):
        return (Tensor(images.data * 2),)


def test_a_timed_network_is_the_network_and_knows_when_it_finished():
    network = TimedNetwork(Doubler())
    assert network.strides == (32,)
    begin = time.perf_counter()
    (doubled,) = network(Tensor(np.ones(3, np.float32)))
    assert doubled.data.tolist() == [2, 2, 2]
    assert begin <= network.finished <= time.perf_counter()


def test_on_a_gpu_it_waits_for_the_work(gpu_device, monkeypatch):
    waited, Device = [], array_library(gpu_device).cuda.Device

    class Noting(Device):
        def synchronize(self):
            waited.append(time.perf_counter())
            return super().synchronize()

    monkeypatch.setattr(array_library(gpu_device).cuda, "Device", Noting)
    doubler = Doubler()
    doubler.device = gpu_device
    network = TimedNetwork(doubler)
    network(Tensor(to_device(np.ones(3, np.float32), gpu_device)))
    (end,) = waited
    assert end <= network.finished
