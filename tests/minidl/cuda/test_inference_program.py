"""Networks made ready for speed on a GPU: the model's own results, from a recorded graph, in each precision."""

import threading
from collections import Counter

import numpy as np
import pytest

from minidl import Tensor, cuda_settings, nn
from minidl.device import array_library, device_of, to_cpu, to_device
from minidl.inference import fuse
from minidl.inference.device_program import DeviceProgram
from tests.minidl.harness import assert_close
from tests.minidl.small_networks import Graph, every_layer, outputs_of, pictures, randomised

# Relative to the largest number of an output.  TF32 rounds factors to 2^-11, float16 every map as well; these networks
# have up to eight layers, through which such errors grow.
BOUNDS = {"fp32": 1e-5, "tf32": 4e-3, "fp16": 8e-3}


def small_yolo(seed=0):
    """What YOLOv3 is made of: a strided convolution, residuals, an upsampled map joined with a finer one, pools."""
    rng = np.random.default_rng(seed)
    network = Graph(
        ("coarse", "fine"),
        c1=(nn.Conv2d(3, 16, 3, bias=False, rng=rng), "images"),
        n1=(nn.BatchNorm(16, slope=0.1), "c1"),
        c2=(nn.Conv2d(16, 24, 3, stride=2, bias=False, rng=rng), "n1"),
        n2=(nn.BatchNorm(24, slope=0.1), "c2"),
        c3=(nn.Conv2d(24, 12, 1, rng=rng), "n2"),
        a3=(nn.LeakyReLU(), "c3"),
        c4=(nn.Conv2d(12, 24, 3, rng=rng), "a3"),
        s4=(nn.Shortcut(0.2), "c4", "n2"),
        pool=(nn.MaxPool2d(2, 2), "s4"),
        same=(nn.MaxPool2d(2, 1), "pool"),
        coarse=(nn.Conv2d(24, 7, 1, rng=rng), "same"),
        up=(nn.Upsample(), "same"),
        sum=(nn.Shortcut(0.3), "up", "up"),
        join=(nn.Concat(), "up", "s4", "sum", "s4"),
        fine=(nn.Conv2d(96, 7, 3, rng=rng), "join"),
    )
    return randomised(network, seed)


def run(network, images, device):
    """What a network on a device returns for NumPy images, as NumPy arrays."""
    return [to_cpu(each) for each in outputs_of(network, to_device(images, device))]


def check(found, wanted, bound=BOUNDS["fp32"]):
    assert len(found) == len(wanted)
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert one.dtype == np.float32
        assert_close(one, other, bound, f"output {number}")


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("network", [small_yolo, every_layer])
def test_equal_to_the_model_in_each_precision(gpu_device, network, precision):
    model, images = network(), pictures(2, 12, 20, 3)
    wanted = outputs_of(model, images)
    fused = fuse(model.to(gpu_device), precision=precision)
    check(run(fused, images, gpu_device), wanted, BOUNDS[precision])
    check(run(fused, images[::-1].copy(), gpu_device), [each[::-1] for each in wanted], BOUNDS[precision])
    if precision == "fp32":
        check(run(model, images, gpu_device), wanted)  # layer by layer on the same device


def test_precisions_differ(gpu_device):
    """Were a precision not passed on, the bounds would not notice."""
    model, images = small_yolo().to(gpu_device), pictures(1, 8, 12, 3)
    with cuda_settings(convolution="tensor"):
        found = [run(fuse(model, precision=precision), images, gpu_device)[1] for precision in BOUNDS]
    differences = [np.abs(found[0] - other).max() / np.abs(found[0]).max() for other in found[1:]]
    assert min(differences) > 1e-4


def test_shapes_one_after_the_other_share_weights(gpu_device):
    model = small_yolo()
    fused = fuse(small_yolo().to(gpu_device))
    weights = []
    for shape in [(1, 8, 8, 3), (3, 4, 12, 3), (1, 8, 8, 3), (1, 16, 8, 3)]:
        images = pictures(*shape, seed=sum(shape))
        check(run(fused, images, gpu_device), outputs_of(model, images))
        weights.append(fused.memory()["weights"])
    assert len(set(weights)) == 1


def test_detectors_are_one_graph_and_other_layers_are_named(gpu_device):
    fused, images = fuse(small_yolo().to(gpu_device)), pictures(1, 8, 8, 3)
    run(fused, images, gpu_device)
    assert fused.uncaptured(images.shape) == []
    fused = fuse(every_layer().to(gpu_device))
    run(fused, images, gpu_device)
    names = Counter(fused.uncaptured(images.shape))
    assert names == {"BatchNorm": 2, "Shortcut": 1, "Upsample": 1, "GlobalAveragePool": 1, "Linear": 2, "LeakyReLU": 1}


def test_a_replay_calls_no_kernel_from_python(gpu_device, monkeypatch):
    model, images = small_yolo(), pictures(1, 8, 8, 3)
    fused, wanted = fuse(small_yolo().to(gpu_device)), outputs_of(model, images)
    run(fused, images, gpu_device)
    monkeypatch.setattr(DeviceProgram, "_run_calls", lambda self: pytest.fail("kernels were launched one by one"))
    check(run(fused, images, gpu_device), wanted)


def test_a_replay_takes_memory_for_its_results_alone():
    model, images = small_yolo().to("emulated"), to_device(pictures(1, 8, 8, 3), "emulated")
    fused = fuse(model)
    outputs_of(fused, images)
    with array_library("emulated").count() as counts:
        outputs_of(fused, images)
    assert (counts.allocations, counts.graph_launches, counts.launches) == (2, 1, [])
    assert counts.to_host == counts.to_device == []


def test_buffers_are_used_again(gpu_device):
    layers = {"c0": (nn.Conv2d(3, 4, 3), "images")}
    layers |= {f"c{i}": (nn.Conv2d(4, 4, 3), f"c{i - 1}") for i in range(1, 9)}
    fused, images = fuse(randomised(Graph("c8", **layers)).to(gpu_device)), pictures(2, 6, 5, 3)
    run(fused, images, gpu_device)
    assert fused.memory()["buffers"] == 2 * 4 * (2 * 6 * 5 * 4)  # two that take turns, of float32
    half = fuse(randomised(Graph("c8", **layers)), precision="fp16")
    run(half, images, gpu_device)
    assert half.memory()["buffers"] == fused.memory()["buffers"] / 2
    assert fused.memory()["weights"] == 4 * sum(each.size for each in Graph("c8", **layers).parameters())


def test_what_one_run_leaves_does_not_reach_the_next(gpu_device):
    fused, images = fuse(every_layer().to(gpu_device)), pictures(1, 8, 12, 3)
    first = run(fused, images, gpu_device)
    with np.errstate(all="ignore"):
        run(fused, np.full_like(images, np.inf), gpu_device)
    for one, other in zip(run(fused, images, gpu_device), first, strict=True):
        np.testing.assert_array_equal(one, other)


def test_results_are_the_callers_own(gpu_device):
    fused, images = fuse(small_yolo().to(gpu_device)), pictures(1, 8, 8, 3)
    kept = outputs_of(fused, to_device(images, gpu_device))
    assert {device_of(each) for each in kept} == {gpu_device}
    before = [to_cpu(each).copy() for each in kept]
    run(fused, 1 - images, gpu_device)
    for array, numbers in zip(kept, before, strict=True):
        np.testing.assert_array_equal(to_cpu(array), numbers)


def test_a_change_of_the_model_does_not_arrive(gpu_device):
    model, images = small_yolo().to(gpu_device), pictures(1, 8, 8, 3)
    fused = fuse(model)
    wanted = run(model, images, gpu_device)
    for parameter in model.parameters():
        parameter.data += 1  # in place, as an optimiser does, before the first run
    check(run(fused, images, gpu_device), wanted)
    model.train()
    for parameter in model.parameters():
        parameter.data *= 0
    check(run(fused, images, gpu_device), wanted)
    assert model.device == gpu_device
    assert model.training


def test_several_threads_get_what_each_would_alone(gpu_device):
    batches = [pictures(1, 8, 8, 3, seed=seed) for seed in range(3)] + [pictures(2, 4, 8, 3)]
    model, fused = small_yolo(), fuse(small_yolo().to(gpu_device))
    found, start = {}, threading.Barrier(len(batches), timeout=20)

    def work(number):
        with array_library(gpu_device).cuda.Stream(non_blocking=True):
            start.wait()
            found[number] = [run(fused, batches[number], gpu_device) for _ in range(2)]

    helpers = [threading.Thread(target=work, args=(number,)) for number in range(len(batches))]
    for helper in helpers:
        helper.start()
    for helper in helpers:
        helper.join(60)
    assert sorted(found) == list(range(len(batches)))
    for number, runs in found.items():
        for each in runs:
            check(each, outputs_of(model, batches[number]))


def test_float64_stays_float64(gpu_device):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, rng=np.random.default_rng(0))).astype(np.float64)
    images = np.random.default_rng(1).random((1, 5, 7, 3))
    wanted = model(Tensor(images)).data
    y = fuse(model.to(gpu_device))(Tensor(to_device(images, gpu_device)))
    assert y.dtype == np.float64
    np.testing.assert_allclose(to_cpu(y.data), wanted, rtol=1e-12)


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_the_cpu_computes_in_fp32_only(precision):
    with pytest.raises(ValueError, match=rf"{precision}.* not possible on cpu"):
        fuse(small_yolo(), precision=precision)


def test_images_from_elsewhere_are_refused(gpu_device):
    fused, images = fuse(small_yolo().to(gpu_device)), pictures(1, 8, 8, 3)
    with pytest.raises(ValueError, match=rf"images lie on the device cpu, the network on {gpu_device}"):
        outputs_of(fused, images)


def test_an_unknown_precision(gpu_device):
    with pytest.raises(ValueError, match="fp8"):
        fuse(small_yolo().to(gpu_device), precision="fp8")
