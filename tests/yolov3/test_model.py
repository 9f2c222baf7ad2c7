"""The networks: parameters and operations exactly, Table 1 row by row, what arguments change, and wrong arguments."""

import numpy as np
import pytest

from minidl import Tensor, nn, no_grad
from minidl.gradcheck import gradcheck
from yolov3.anchors import PUBLISHED_ANCHORS, PUBLISHED_TINY_ANCHORS
from yolov3.blocks import ResidualBlock
from yolov3.darknet53 import Darknet53, Darknet53Classifier
from yolov3.decode import decode
from yolov3.errors import UserError
from yolov3.fpn import TopDown
from yolov3.model import PRESETS, build_model, check_image_size


@pytest.fixture(scope="module")
def yolov3():
    return build_model("yolov3", seed=0)


@pytest.fixture(scope="module")
def tiny():
    return build_model("yolov3-tiny", seed=0)


@pytest.fixture(scope="module")
def classifier():
    return Darknet53Classifier()


def operations(model, height, width):
    return sum(row.operations for row in nn.layer_table(model, (height, width, 3)))


def outputs(model, height, width, batch=1):
    with no_grad():
        return model.eval()(Tensor(np.zeros((batch, height, width, 3), np.float32)))


def modules(model, kind):
    return [module for _, module in model.named_modules() if isinstance(module, kind)]


# --------------------------------------------------------------------------- sizes and costs (spec 10)


def test_parameters_of_yolov3(yolov3):
    assert yolov3.parameter_count() == 61_949_149
    assert len(modules(yolov3, nn.Conv2d)) == 75
    assert len(modules(yolov3, nn.BatchNorm)) == 72
    assert len(modules(yolov3, ResidualBlock)) == 23


@pytest.mark.parametrize(
    ("size", "count", "boxes"),
    [(320, 38_972_825_600, 6_300), (416, 65_864_075_264, 10_647), (608, 140_691_900_416, 22_743)],
)
def test_operations_and_boxes_of_yolov3(yolov3, size, count, boxes):
    rows = nn.layer_table(yolov3, (size, size, 3))
    assert sum(row.operations for row in rows) == count
    heads = [row.output_shape for row in rows if row.path.endswith(".output")]
    assert heads == [(size // stride, size // stride, 255) for stride in (32, 16, 8)]
    assert sum(height * width * 3 for height, width, _ in heads) == boxes


def test_yolov3_for_20_classes():
    model = build_model("yolov3", classes=20, seed=0)
    assert model.parameter_count() == 61_626_049
    assert operations(model, 416, 416) == 65_427_974_144


def test_parameters_of_tiny(tiny):
    assert tiny.parameter_count() == 8_852_366
    assert len(modules(tiny, nn.Conv2d)) == 13
    assert len(modules(tiny, nn.BatchNorm)) == 11
    assert len(modules(tiny, nn.MaxPool2d)) == 6


@pytest.mark.parametrize(
    ("size", "count", "boxes"),
    [(320, 3_292_876_800, 1_500), (416, 5_564_961_792, 2_535), (608, 11_887_285_248, 5_415)],
)
def test_operations_and_boxes_of_tiny(tiny, size, count, boxes):
    assert operations(tiny, size, size) == count
    predictions = decode([head.data for head in outputs(tiny, size, size)], tiny.anchors, tiny.strides)
    assert predictions.boxes_cxcywh.shape == (1, boxes, 4)


def test_cost_of_darknet53(classifier):
    assert classifier.parameter_count() == 41_609_928
    assert operations(classifier, 256, 256) == 18_570_231_808
    assert len(modules(classifier, ResidualBlock)) == 23
    assert len(modules(classifier, nn.Conv2d)) + len(modules(classifier, nn.Linear)) == 53
    assert not modules(classifier, nn.MaxPool2d)


# Table 1: channels, kernel and stride, size of the output, for a picture of 256x256 (paper; notes B2).
STAGES = [(1, 64, 128), (2, 128, 64), (8, 256, 32), (8, 512, 16), (4, 1024, 8)]  # residual blocks, channels, size


def table_1():
    yield 32, "3x3 / 1", 256
    for blocks, channels, size in STAGES:
        yield channels, "3x3 / 2", size
        for _ in range(blocks):
            yield channels // 2, "1x1 / 1", size
            yield channels, "3x3 / 1", size


def test_table_1_row_by_row(classifier):
    rows = nn.layer_table(classifier, (256, 256, 3))
    convolutions = [(row.output_shape[2], row.kernel, row.output_shape[0]) for row in rows if row.kind == "Conv2d"]
    assert convolutions == list(table_1())
    assert all(row.output_shape[0] == row.output_shape[1] for row in rows if row.kind == "Conv2d")
    pool, connected = rows[-2:]
    assert (pool.kind, pool.input_shape, pool.output_shape) == ("GlobalAveragePool", (8, 8, 1024), (1024,))
    assert (connected.kind, connected.input_shape, connected.output_shape) == ("Linear", (1024,), (1000,))


# --------------------------------------------------------------------------------------- arguments


def test_preset_shapes_and_sizes():
    for name, (_, _, (height, width)) in PRESETS.items():
        if name == "yolov3":
            continue
        model = build_model(name, classes=3, seed=0)
        shapes = [head.shape for head in outputs(model, height, width)]
        assert shapes == [(1, height // stride, width // stride, 3 * (5 + 3)) for stride in model.strides], name


@pytest.mark.parametrize(("name", "parameters"), [("yolov3-nano", 339e3), ("yolov3-small", 925e3)])
def test_small_presets_are_as_small_as_those_they_are_modelled_on(name, parameters):
    assert build_model(name, classes=3).parameter_count() == pytest.approx(parameters, rel=0.003)


@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-tiny"])
def test_pictures_need_not_be_square(name):
    model = build_model(name, classes=4, seed=0)
    shapes = [head.shape for head in outputs(model, 64, 160, batch=2)]
    assert shapes == [(2, 64 // stride, 160 // stride, 27) for stride in model.strides]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_any_number_of_anchors_per_scale(count):
    anchors = {stride: tuple((4 * stride + i, stride) for i in range(count)) for stride in (8, 16, 32)}
    model = build_model("yolov3-nano", classes=2, anchors=anchors, seed=0)
    assert [head.shape[-1] for head in outputs(model, 64, 64)] == [count * 7] * 3
    assert model.anchors[0].tolist() == [[128 + i, 32] for i in range(count)]  # coarse first, as the outputs
    assert model.anchor_groups() == anchors


def test_scales_may_differ_in_their_number_of_anchors():
    model = build_model("yolov3-nano", 2, {32: ((90, 90),), 16: ((40, 40), (30, 60)), 8: ((9, 9),)}, seed=0)
    assert [head.shape[-1] for head in outputs(model, 64, 64)] == [7, 14, 7]


def test_published_anchors_are_the_default(yolov3, tiny):
    assert yolov3.anchor_groups() == {stride: PUBLISHED_ANCHORS[stride] for stride in (32, 16, 8)}
    assert tiny.anchor_groups() == {stride: PUBLISHED_TINY_ANCHORS[stride] for stride in (32, 16)}


def test_width_and_blocks_and_the_limit_of_channels():
    backbone = Darknet53(blocks=(1, 0, 2, 1, 3), width=8, max_channels=64)
    assert len(modules(backbone, ResidualBlock)) == 7
    with no_grad():
        maps = backbone(Tensor(np.zeros((1, 64, 96, 3), np.float32)))
    assert [each.shape for each in maps] == [(1, 8, 12, 64), (1, 4, 6, 64), (1, 2, 3, 64)]
    assert Darknet53(blocks=(0,) * 5, width=8).channels == [8, 16, 32, 64, 128, 256]


@pytest.mark.parametrize("lateral", ["concat", "add"])
def test_lateral_connections(lateral):
    top_down = TopDown(8, 6, lateral, np.random.default_rng(0)).astype(np.float64)
    features, backbone_map = (
        Tensor(np.random.default_rng(1).standard_normal(shape)) for shape in ((2, 2, 3, 8), (2, 4, 6, 6))
    )
    found = top_down(features, backbone_map).data
    upsampled = top_down.reduce(features).data.repeat(2, axis=1).repeat(2, axis=2)  # (2, 4, 6, 4)
    if lateral == "concat":
        wanted = np.concatenate([upsampled, backbone_map.data], axis=-1)
    else:
        wanted = upsampled + top_down.lateral(backbone_map).data
    assert found.shape[-1] == top_down.outputs
    np.testing.assert_array_equal(found, wanted)
    gradcheck(lambda x, y: top_down(x, y), features.data, backbone_map.data)


def test_lateral_addition_in_a_whole_network():
    concat, add = (build_model("yolov3-nano", 2, lateral=lateral, seed=0) for lateral in ("concat", "add"))
    assert [head.shape for head in outputs(add, 64, 64)] == [head.shape for head in outputs(concat, 64, 64)]
    # One more convolution sideways; the branch behind it sees only the channels that came from above.
    assert len(modules(add, nn.Conv2d)) == len(modules(concat, nn.Conv2d)) + 2
    assert add.pyramid.branch_16.features.layers[0].conv.weight.shape[2] == concat.pyramid.top_down_16.outputs - 64


# ------------------------------------------------------------------------------------- first weights


def test_the_seed_decides_the_weights():
    first, again, other = (build_model("yolov3-nano", 2, seed=seed).state_dict() for seed in (5, 5, 6))
    for path, array in first.items():
        np.testing.assert_array_equal(array, again[path])
    assert any((array != other[path]).any() for path, array in first.items())
    assert (first["backbone.stem.conv.weight"] != other["backbone.stem.conv.weight"]).any()


@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-tiny"])
def test_objectness_starts_near_two_percent(name):
    model = build_model(name, classes=3, seed=0)
    convolutions = [each for each in modules(model, nn.Conv2d) if each.bias is not None]
    assert len(convolutions) == len(model.strides)
    for convolution in convolutions:
        assert convolution.bias.data.tolist() == [0, 0, 0, 0, -4, 0, 0, 0] * 3
        assert convolution.weight.data.std() == pytest.approx(0.01, rel=0.1)
    images = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)
    with no_grad():
        heads = [head.data for head in model.train()(Tensor(images))]
    objectness = decode(heads, model.anchors, model.strides).objectness
    assert objectness.mean() == pytest.approx(0.018, abs=0.003)


# ---------------------------------------------------------------------------------- wrong arguments


def test_unknown_preset():
    with pytest.raises(UserError, match="unknown model 'yolov4': choose one of yolov3, yolov3-tiny"):
        build_model("yolov4")


@pytest.mark.parametrize("classes", [0, -1])
def test_no_classes(classes):
    with pytest.raises(UserError, match="at least one class"):
        build_model("yolov3-nano", classes=classes)


@pytest.mark.parametrize(
    "anchors",
    [
        {32: ((90, 90),), 16: ((40, 40),)},  # a stride is missing
        {32: ((90, 90),), 16: ((40, 40),), 8: ((9, 9),), 4: ((5, 5),)},  # one too many
        {32: ((90, 90),), 16: (), 8: ((9, 9),)},  # none
        {32: ((90, 90),), 16: np.zeros((0, 2)), 8: ((9, 9),)},
        {32: ((90, 90),), 16: ((40, 0),), 8: ((9, 9),)},  # no area
        {32: ((90, 90),), 16: ((-40, 40),), 8: ((9, 9),)},
        {32: ((90, 90),), 16: ((float("nan"), 40),), 8: ((9, 9),)},
        {32: ((90, 90),), 16: ((40, 40, 40),), 8: ((9, 9),)},  # three numbers
        {32: ((90, 90),), 16: ((40, 40), (50,)), 8: ((9, 9),)},
        {32: ((90, 90),), 16: (("wide", "high"),), 8: ((9, 9),)},
    ],
)
def test_wrong_anchors(anchors):
    with pytest.raises(UserError, match="anchors"):
        build_model("yolov3-nano", anchors=anchors)


def test_unknown_lateral_connection():
    with pytest.raises(ValueError, match="'sum': choose one of concat, add"):
        build_model("yolov3-nano", lateral="sum")


def test_tiny_has_no_choice_of_lateral_connection():
    with pytest.raises(UserError, match="no choice of lateral"):
        build_model("yolov3-tiny", lateral="add")


@pytest.mark.parametrize(
    ("size", "message"),
    [((100, 416), "not 100: use 96 or 128"), ((416, 20), "not 20: use 32 or 64"), ((0, 416), "not 0: use 32 or 64")],
)
def test_wrong_image_sizes(size, message):
    with pytest.raises(UserError, match=message):
        check_image_size(size)


def test_right_image_sizes():
    assert check_image_size([416, 608]) == (416, 608)
