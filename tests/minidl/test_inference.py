"""Networks made ready for speed: the model's own results, alone and side by side, with every trick and without."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from minidl import Tensor, get_num_threads, nn, set_num_threads
from minidl.inference import FusedNetwork, FuseSettings, fuse
from minidl.inference.network import MOST_PROGRAMS
from tests.minidl.harness import assert_close
from tests.minidl.small_networks import Graph, every_layer, outputs_of, pictures, randomised

ROUNDING = 1e-5  # relative to the largest number of an output
WITHOUT = [
    FuseSettings(winograd=()),
    FuseSettings(winograd=(2,)),
    FuseSettings(winograd=(4,)),
    FuseSettings(share_weights=False),
    FuseSettings(keep_borders=False),
    FuseSettings(join_in_place=False),
    FuseSettings((), False, False, False),
]


@pytest.fixture(autouse=True)
def restored():
    before = get_num_threads()
    yield
    set_num_threads(before)


def assert_equal_outputs(found, wanted, tolerance=ROUNDING):
    assert len(found) == len(wanted)
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert one.dtype == other.dtype == np.float32
        assert_close(one, other, tolerance, f"output {number}")


def assert_same_bits(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def deep_network(seed=0):
    """Convolutions large enough for every way of going and for several threads: many channels, then many pixels."""
    rng = np.random.default_rng(seed)
    network = Graph(
        ("out", "deep"),
        c1=(nn.Conv2d(3, 32, 3, rng=rng), "images"),
        n1=(nn.BatchNorm(32, slope=0.1), "c1"),
        c2=(nn.Conv2d(32, 64, 3, stride=2, rng=rng), "n1"),
        n2=(nn.BatchNorm(64, slope=0.1), "c2"),
        c3=(nn.Conv2d(64, 32, 1, rng=rng), "n2"),
        c4=(nn.Conv2d(32, 64, 3, rng=rng), "c3"),
        n4=(nn.BatchNorm(64, slope=0.1), "c4"),
        s4=(nn.Shortcut(), "n4", "n2"),
        pool=(nn.MaxPool2d(2, 2), "s4"),
        c5=(nn.Conv2d(64, 400, 3, rng=rng), "pool"),
        a5=(nn.LeakyReLU(), "c5"),
        c6=(nn.Conv2d(400, 330, 3, rng=rng), "a5"),  # 132,000 kernels: shared by the threads
        deep=(nn.Conv2d(330, 100, 1, rng=rng), "c6"),
        up=(nn.Upsample(), "deep"),
        join=(nn.Concat(), "up", "s4"),
        out=(nn.Conv2d(164, 10, 1, rng=rng), "join"),
    )
    return randomised(network, seed)


DEEP = deep_network()
IMAGES = pictures(1, 68, 84, 3)  # large enough for F(4x4), too; tiles stick out


@pytest.mark.parametrize("settings", [FuseSettings(), *WITHOUT])
@pytest.mark.parametrize("shape", [(1, 16, 16, 3), (3, 24, 36, 3)])
def test_every_layer(shape, settings):
    model, images = every_layer(), pictures(*shape)
    assert_equal_outputs(outputs_of(fuse(model, settings), images), outputs_of(model, images))


@pytest.mark.parametrize("settings", [FuseSettings(), *WITHOUT])
def test_every_way_of_going(settings):
    fused = fuse(DEEP, settings)
    assert_equal_outputs(outputs_of(fused, IMAGES), outputs_of(DEEP, IMAGES))
    ways = {convolution.layer.weight.shape: way for convolution, way in fused.ways(IMAGES.shape)}
    assert all(way.tile in (None, *settings.winograd) for way in ways.values())
    assert any(way.tile for way in ways.values()) == bool(settings.winograd)
    assert any(way.shared for way in ways.values()) == settings.share_weights


def test_shapes_one_after_the_other():
    model = every_layer()
    fused = fuse(model)
    for shape in [(1, 16, 16, 3), (2, 8, 20, 3), (1, 16, 16, 3), (4, 16, 16, 3), (1, 32, 8, 3), (2, 8, 20, 3)]:
        images = pictures(*shape, seed=sum(shape))
        assert_equal_outputs(outputs_of(fused, images), outputs_of(model, images))


def test_one_output_is_no_tuple_and_a_tuple_of_one_is():
    single = fuse(randomised(Graph("c", c=(nn.Conv2d(3, 2, 3), "images"))))(Tensor(IMAGES))
    assert isinstance(single, Tensor)
    one = fuse(randomised(Graph(("c",), c=(nn.Conv2d(3, 2, 3), "images"))))(Tensor(IMAGES))
    assert isinstance(one, tuple)
    np.testing.assert_array_equal(one[0].data.shape, (1, 68, 84, 2))


def test_images_may_be_among_the_outputs():
    network = randomised(Graph(("images", "c", "c"), c=(nn.Conv2d(3, 2, 3), "images")))
    assert_equal_outputs(outputs_of(fuse(network), IMAGES), outputs_of(network, IMAGES))


def test_a_layer_that_runs_twice():
    layer = nn.Conv2d(3, 3, 3)
    network = randomised(Graph("b", a=(layer, "images"), b=(layer, "a")))
    assert_equal_outputs(outputs_of(fuse(network), IMAGES), outputs_of(network, IMAGES))


@pytest.mark.parametrize("settings", [FuseSettings(), FuseSettings(winograd=(4,), keep_borders=False)])
def test_what_one_run_leaves_does_not_reach_the_next(settings):
    """Infinite numbers would be seen wherever something of an earlier run is read: borders, tiles that stick out."""
    for model in (every_layer(), DEEP):
        fused, images = fuse(model, settings), IMAGES
        first = outputs_of(fused, images)
        for _ in range(3):
            with np.errstate(all="ignore"):
                outputs_of(fused, np.full_like(images, np.inf))
            assert_same_bits(outputs_of(fused, images), first)


def test_borders_stay_zero():
    fused = fuse(DEEP)
    for seed in range(3):
        outputs_of(fused, pictures(*IMAGES.shape, seed=seed) + 1)
    (program,) = fused._programs.values()
    (workspace,) = program._free
    bordered = 0
    for buffer, border in zip(workspace._buffers, program.layout.borders, strict=True):
        if buffer.ndim == 4:
            around = buffer.copy()
            bottom, right = buffer.shape[1] - border.bottom, buffer.shape[2] - border.right
            around[:, border.top : bottom, border.left : right] = 0
            assert not around.any()
            bordered += border.top > 0
    assert bordered >= 4


def test_results_are_the_callers_own():
    fused = fuse(DEEP)
    first = outputs_of(fused, IMAGES)
    kept = [each.copy() for each in first]
    second = outputs_of(fused, IMAGES * 0.5)
    assert_same_bits(first, kept)
    for each in second:
        each[...] = np.nan
    assert_same_bits(outputs_of(fused, IMAGES), kept)


def test_the_images_are_not_changed():
    images = IMAGES.copy()
    outputs_of(fuse(every_layer()), images)
    np.testing.assert_array_equal(images, IMAGES)


def test_a_change_of_the_model_does_not_arrive():
    model = every_layer()
    fused, larger = fuse(model), np.concatenate([IMAGES] * 2)
    wanted, wanted_larger = outputs_of(model, IMAGES), outputs_of(model, larger)
    for value in model.state_dict().values():
        value += 1  # in place, as an optimiser does, before the first run
    model.train()
    found = outputs_of(fused, IMAGES)
    assert_equal_outputs(found, wanted)
    for parameter in model.parameters():
        parameter.data = parameter.data * 0
    assert_same_bits(outputs_of(fused, IMAGES), found)
    assert_equal_outputs(outputs_of(fused, larger), wanted_larger)  # a shape that comes for the first time


def test_a_model_in_training_is_fused_as_in_evaluation_and_stays_as_it_is():
    model = every_layer()
    wanted = outputs_of(model, IMAGES)
    model.train()
    before = {path: array.copy() for path, array in model.state_dict().items()}
    assert_equal_outputs(outputs_of(fuse(model), IMAGES), wanted)
    assert all(module.training for _, module in model.named_modules())
    for path, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[path], err_msg=path)


def test_there_is_nothing_to_train():
    fused = fuse(every_layer())
    wanted = outputs_of(fused, IMAGES)
    assert isinstance(fused, FusedNetwork)
    assert fused.parameters() == []
    assert_same_bits([output.data for output in fused.train()(Tensor(IMAGES))], wanted)
    for output in fused(Tensor(IMAGES, requires_grad=True)):
        assert not output.requires_grad


def test_a_network_that_is_not_made_of_layers_is_refused():
    class Plain(nn.Module):
        def __init__(self, network):
            self.layer, self.network = nn.Conv2d(3, 3, 3), network

        def forward(self, images):
            return self.network(self.layer, images)

    with pytest.raises(ValueError, match=r"the network returns what no layer made"):
        fuse(Plain(lambda layer, images: layer(images) + 1))(Tensor(IMAGES))
    with pytest.raises(ValueError, match=r"layer reads what no layer made.*use nn.Shortcut"):
        fuse(Plain(lambda layer, images: layer(layer(images) + images)))(Tensor(IMAGES))


def test_wrong_images_are_refused_as_by_the_model_and_leave_nothing_behind():
    fused = fuse(DEEP)
    with pytest.raises(ValueError, match=r"needs an input \(batch, height, width, 3\)"):
        fused(Tensor(np.zeros((1, 8, 8, 4), np.float32)))
    assert fused.memory() == {"weights": 0, "buffers": 0}
    assert_equal_outputs(outputs_of(fused, IMAGES), outputs_of(DEEP, IMAGES))


# ---------------------------------------------------------------- memory


def test_without_winograd_weights_are_as_large_as_the_models():
    plain, fast = fuse(DEEP, FuseSettings(winograd=())), fuse(DEEP, FuseSettings(winograd=(4,)))
    for network in (plain, fast):
        outputs_of(network, IMAGES)
    sizes = [layer.weight.size for _, layer in DEEP.named_modules() if isinstance(layer, nn.Conv2d)]
    assert plain.memory()["weights"] == 4 * sum(sizes)
    assert 2 * sum(sizes) < fast.memory()["weights"] / 4 < 4.5 * sum(sizes)


def test_memory_is_used_again():
    layers = {"c0": (nn.Conv2d(3, 3, 3), "images")}
    layers |= {f"c{i}": (nn.Conv2d(3, 3, 3), f"c{i - 1}") for i in range(1, 12)}
    fused = fuse(randomised(Graph("c11", **layers)), FuseSettings(winograd=()))
    for _ in range(3):
        outputs_of(fused, IMAGES)
    with_border, without = 4 * 70 * 86 * 3, 4 * 68 * 84 * 3
    assert fused.memory()["buffers"] == 2 * with_border + without  # two that take turns, and the last map


# ---------------------------------------------------------------- threads


def test_numbers_of_threads_agree_and_each_repeats_bit_for_bit():
    wanted = outputs_of(DEEP, IMAGES)
    by_threads = {}
    for threads in (1, 2, 3):
        set_num_threads(threads)
        by_threads[threads] = outputs_of(fuse(DEEP), IMAGES)
        assert_equal_outputs(by_threads[threads], wanted)
    kept = fuse(DEEP)
    for threads in (3, 1, 2, 1, 3):  # whatever the network did before
        set_num_threads(threads)
        assert_same_bits(outputs_of(kept, IMAGES), by_threads[threads])
        assert_same_bits(outputs_of(kept, IMAGES), by_threads[threads])


@pytest.mark.parametrize("threads", [1, 2])
def test_several_python_threads_get_what_each_would_alone(threads):
    set_num_threads(threads)
    batches = [pictures(*IMAGES.shape, seed=seed) for seed in range(3)] + [pictures(2, 20, 24, 3)]
    alone = [outputs_of(fuse(DEEP), images) for images in batches]
    fused, found, start = fuse(DEEP), {}, threading.Barrier(len(batches), timeout=20)

    def work(number):
        start.wait()
        found[number] = [outputs_of(fused, batches[number]) for _ in range(3)]

    helpers = [threading.Thread(target=work, args=(number,)) for number in range(len(batches))]
    for helper in helpers:
        helper.start()
    for helper in helpers:
        helper.join(60)
    assert sorted(found) == list(range(len(batches)))
    for number, runs in found.items():
        for run in runs:
            assert_same_bits(run, alone[number])
    weights = fused.memory()["weights"]
    outputs_of(fused, batches[0])
    assert fused.memory()["weights"] == weights


def test_settings_are_independent():
    settings = FuseSettings()
    assert replace(settings, winograd=()) == FuseSettings(winograd=())
    assert (settings.winograd, settings.share_weights) == ((2, 4), True)
    assert (settings.keep_borders, settings.join_in_place) == (True, True)


def test_a_network_in_float64_computes_in_float64():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, rng=np.random.default_rng(0))).astype(np.float64)
    images = np.random.default_rng(1).random((1, 5, 7, 3))
    y = fuse(model)(Tensor(images))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.data, model(Tensor(images)).data, rtol=1e-12)


def test_buffers_of_the_last_shapes_only_are_kept():
    model, sizes = nn.Sequential(nn.Conv2d(3, 4, 3)), range(4, 4 + 2 * MOST_PROGRAMS)
    many, few = fuse(model), fuse(model)
    for network, own in ((many, sizes), (few, sizes[-MOST_PROGRAMS:])):
        for size in own:
            network(Tensor(np.zeros((1, size, size, 3), np.float32)))
    assert many.memory()["buffers"] == few.memory()["buffers"] > 0
