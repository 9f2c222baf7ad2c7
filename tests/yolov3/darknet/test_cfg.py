"""The family's cfg files against the original program's facts, and plans written as cfg and read again."""

import json

import numpy as np
import pytest

from tests.yolov3.darknet.golden_layers import golden_lines, line_of
from yolov3.darknet import kinds
from yolov3.darknet.cfg import BUILTIN, builtin_cfg, format_cfg, parse_cfg, read_cfg
from yolov3.darknet.plan import make_plan
from yolov3.errors import UserError

# From the original program's own counts (spec 10).
# name: trainable numbers, running statistics, bytes with a header of 20, {(height, width): (operations, boxes)}
COUNTS = {
    "yolov3": (
        61_949_149,
        52_608,
        248_007_048,
        {
            (320, 320): (38_972_825_600, 6_300),
            (416, 416): (65_864_075_264, 10_647),
            (608, 608): (140_691_900_416, 22_743),
        },
    ),
    "yolov3-spp": (
        62_998_749,
        53_632,
        252_209_544,
        {
            (320, 320): (39_182_540_800, 6_300),
            (416, 416): (66_218_493_952, 10_647),
            (608, 608): (141_448_972_288, 22_743),
        },
    ),
    "yolov3-voc": (61_626_049, 52_608, 246_714_648, {(416, 416): (65_427_974_144, 10_647)}),
    "yolov3-tiny": (
        8_852_366,
        6_368,
        35_434_956,
        {
            (416, 416): (5_564_961_792, 2_535),
            (320, 320): (3_292_876_800, 1_500),
            (608, 608): (11_887_285_248, 5_415),
        },
    ),
    "yolov3-tiny-published": (8_852_366, 6_368, 35_434_956, {(416, 416): (5_564_961_792, 2_535)}),
    "darknet53": (
        41_609_928,
        35_712,
        166_582_580,
        {(256, 256): (18_570_231_808, 0), (448, 448): (56_867_110_912, 0)},
    ),
    "darknet19": (20_842_376, 14_400, 83_427_124, {(256, 256): (7_290_748_928, 0), (448, 448): (22_327_918_592, 0)}),
    "resnet50": (22_780_456, 45_440, 91_303_604, {(256, 256): (9_741_172_736, 0)}),
    "resnet101": (41_772_584, 97_664, 167_481_012, {(256, 256): (19_696_451_584, 0)}),
    "resnet152": (57_416_232, 143_744, 230_239_924, {(256, 256): (29_393_682_432, 0)}),
    "yolov2": (50_962_889, 20_672, 203_934_264, {(608, 608): (62_938_253_312, 1_805)}),
    "yolov2-voc": (50_655_389, 20_672, 202_704_264, {(416, 416): (29_360_334_848, 845)}),
}
INPUT_SIDES = {"yolov2": 608} | dict.fromkeys(("darknet53", "darknet19", "resnet50", "resnet101", "resnet152"), 256)
DETECTORS = [name for name in BUILTIN if name.startswith("yolo")]


def read(name, image_size=None):
    """The plan of a shipped file, in which no option may be unknown."""
    unknown = []
    plan = read_cfg(builtin_cfg(name), image_size, unknown.append)
    assert unknown == []
    return plan


@pytest.fixture(scope="module")
def structures(golden):
    return json.loads((golden / "structures.json").read_text())


def refusal(*arguments):
    with pytest.raises(UserError) as error:
        read_cfg(*arguments)
    return str(error.value)


# ---------------------------------------------------------------------------------------------- the family


@pytest.mark.parametrize("name", ["yolov3", "yolov3-tiny", "darknet53"])
def test_layers_equal_the_golden_tables(name, golden):
    assert [line_of(layer) for layer in read(name).layers] == golden_lines(golden / "tables" / f"{name}.json")


@pytest.mark.parametrize("name", ["yolov3-spp", "yolov2-voc", "darknet19", "resnet50", "resnet101"])
def test_layers_equal_the_golden_structures(name, structures):
    assert [line_of(layer) for layer in read(name).layers] == structures[name]


def test_the_golden_structures_are_the_originals(shared, structures):
    for path in (shared / "golden" / "structures").iterdir():
        assert golden_lines(path) == structures[path.stem]


def test_voc_is_yolov3_with_20_classes():
    for layer, other in zip(read("yolov3-voc").layers, read("yolov3").layers, strict=True):
        if isinstance(other.kind, kinds.Yolo):
            expected = kinds.Yolo(other.kind.mask, other.kind.anchors, classes=20, ignore_threshold=0.5)
            assert layer.kind == expected
        else:
            assert line_of(layer) == line_of(other).replace("255", "75")


def test_published_tiny_differs_in_the_last_mask_alone():
    *layers, last = read("yolov3-tiny").layers
    *published, published_last = read("yolov3-tiny-published").layers
    assert published == layers
    assert (last.kind.mask, published_last.kind.mask) == ((0, 1, 2), (1, 2, 3))


def test_resnet152_repeats_the_blocks_of_resnet101():
    """Blocks of four layers: 3, 8, 36, 3 where ResNet-101 has 3, 4, 23, 3; and no [cost]."""

    def without_sources(layers):
        return [line_of(layer).replace(f" {getattr(layer.kind, 'source', None)} ", " ") for layer in layers]

    *layers, cost = without_sources(read("resnet101").layers)
    assert cost == "cost -> [1000, 1, 1]"
    ends = np.cumsum([2, 4 * 3, 4 * 4, 4 * 23, 4 * 3])  # the stem, then the four stages
    second, third = layers[ends[2] - 4 : ends[2]], layers[ends[3] - 4 : ends[3]]
    expected = [*layers[: ends[2]], *4 * second, *layers[ends[2] : ends[3]], *13 * third, *layers[ends[3] :]]
    plan = read("resnet152")
    assert without_sources(plan.layers) == expected
    shortcuts = [layer for layer in plan.layers if layer.section == "shortcut"]
    assert all(layer.kind.source == layer.index - 4 for layer in shortcuts)


def test_yolov2_is_the_voc_network_with_80_classes():
    plan = read("yolov2", (416, 416))
    expected = [line_of(layer).replace("125", "425") for layer in read("yolov2-voc").layers]
    assert [line_of(layer) for layer in plan.layers[:-1]] == expected[:-1]
    numbers = (0.57273, 0.677385, 1.87446, 2.06253, 3.33843, 5.47434, 7.88282, 3.52778, 9.77052, 9.16828)  # spec 9
    anchors = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    assert plan.layers[-1].kind == kinds.Region(anchors, 80, softmax=True)


@pytest.mark.parametrize("name", BUILTIN)
def test_counts_equal_the_originals(name):
    trainable, statistics, file_bytes, by_size = COUNTS[name]
    side = INPUT_SIDES.get(name, 416)
    assert read(name).input_shape == (side, side, 3)
    for size, (operations, boxes) in by_size.items():
        plan = read(name, size)
        assert plan.input_shape == (*size, 3)
        assert (plan.trainable, plan.statistics, 20 + 4 * plan.floats) == (trainable, statistics, file_bytes)
        assert (plan.operations, plan.boxes) == (operations, boxes)


def test_the_backbone_file_ends_before_layer_75():
    assert 20 + 4 * sum(layer.floats for layer in read("darknet53").layers[:75]) == 162_482_580


def test_not_square():
    plan = read("yolov3", (320, 608))
    assert [layer.output_shape for layer in plan.detections] == [(10, 19, 255), (20, 38, 255), (40, 76, 255)]
    assert plan.boxes == 3 * (10 * 19 + 20 * 38 + 40 * 76)
    assert plan.operations == 38_972_825_600 * 190 // 100  # every layer has 10 x 19 of the places of 10 x 10
    assert read("yolov3").resized(320, 608).layers == plan.layers


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("size", [(400, 400), (416, 400), (16, 16), (417, 416), (33, 32), (31, 32)])
def test_sizes_that_are_no_multiples_of_32_are_refused(name, size):
    sentence = refusal(builtin_cfg(name), size)
    assert "multiples of 32" in sentence
    assert str(builtin_cfg(name)) in sentence


@pytest.mark.parametrize("size", [(0, 416), (416, -32), (32 * 1000, 32)])
def test_sizes_beyond_reason_are_refused(size):
    assert f"{size[0]}x{size[1]}" in refusal(builtin_cfg("yolov3"), size)


def test_unknown_builtin_name():
    with pytest.raises(UserError, match=r"no network 'yolov9'.*yolov3, yolov3-tiny,.*yolov2-voc"):
        builtin_cfg("yolov9")


def test_every_shipped_file_has_a_name():
    assert {path.stem for path in builtin_cfg("yolov3").parent.iterdir()} == set(BUILTIN)


# ------------------------------------------------------------------------------------------ plans written as cfg


OTHERS = make_plan(
    [
        kinds.Convolutional(8, 3, 2, 0, False, "relu"),
        kinds.Convolutional(8, 5, 1, 1, True, "logistic"),
        kinds.MaxPool(3, 2, 0),
        kinds.Dropout(0.25),
        kinds.Connected(12, True, "leaky"),
        kinds.Connected(10, False, "linear"),
        kinds.Softmax(2, 1.5),
        kinds.Cost(),
    ],
    (33, 47, 1),
)


@pytest.mark.parametrize("name", BUILTIN)
def test_written_and_read_again(name):
    plan = read(name)
    text = format_cfg(plan, "a network\nof ours")
    assert text.startswith("# a network\n# of ours\n[net]\nbatch=1\n")
    again = parse_cfg(text, "again.cfg")
    assert (again.input_shape, again.layers) == (plan.input_shape, plan.layers)


def test_rare_kinds_written_and_read_again():
    again = parse_cfg(format_cfg(OTHERS), "again.cfg")
    assert (again.input_shape, again.layers) == (OTHERS.input_shape, OTHERS.layers)


def test_written_text_by_hand():
    plan = make_plan(
        [
            kinds.Convolutional(14, 3, 1, 1, True, "leaky"),
            kinds.Convolutional(14, 1, 1, 0, False, "linear"),
            kinds.Shortcut(0, "linear"),
            kinds.Yolo((1, 0), ((10.0, 13.5), (16.0, 30.0)), 2, 0.7),
        ],
        (32, 64, 3),
    )
    _, conv, head, shortcut, yolo = format_cfg(plan).split("\n\n")
    assert conv == (
        "# layer 0\n[convolutional]\nbatch_normalize=1\nfilters=14\nsize=3\nstride=1\npad=1\nactivation=leaky"
    )
    assert head == "# layer 1\n[convolutional]\nfilters=14\nsize=1\nstride=1\npad=1\nactivation=linear"
    assert shortcut == "# layer 2\n[shortcut]\nfrom=-2\nactivation=linear"
    assert yolo == (
        "# layer 3\n[yolo]\nmask=1,0\nnum=2\nanchors=10,13.5,16,30\nclasses=2\nignore_thresh=0.7\ntruth_thresh=1\n"
    )


@pytest.mark.parametrize("name", BUILTIN)
def test_opencv_reads_what_is_written(name):
    cv2 = pytest.importorskip("cv2")
    texts = [builtin_cfg(name).read_text(), format_cfg(read(name), "for OpenCV")]
    ours, written = (cv2.dnn.readNetFromDarknet(np.frombuffer(text.encode(), np.uint8)) for text in texts)
    assert len(written.getLayerNames()) >= len(read(name).layers)
    assert written.getLayerNames() == ours.getLayerNames()


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov3-tiny-published"])
def test_opencv_predicts_as_many_boxes(name):
    cv2 = pytest.importorskip("cv2")
    plan = read(name, (96, 160))
    weights = np.zeros(20 + 4 * plan.floats, np.uint8)
    weights[4] = 2  # version 0.2
    network = cv2.dnn.readNetFromDarknet(np.frombuffer(format_cfg(plan).encode(), np.uint8), weights)
    network.setInput(np.zeros((1, 3, 96, 160), np.float32))
    outputs = network.forward(network.getUnconnectedOutLayersNames())
    assert sorted(output.shape for output in outputs) == [(3 * 3 * 5, 85), (3 * 6 * 10, 85)]
    assert sum(len(output) for output in outputs) == plan.boxes
