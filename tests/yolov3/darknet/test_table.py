"""The layer table against the original program's."""

import pytest

from yolov3.darknet import kinds
from yolov3.darknet.cfg import builtin_cfg, read_cfg
from yolov3.darknet.plan import make_plan
from yolov3.darknet.table import layer_table

HEADING = (
    "layer     filters    size              input                output                           "
    "trainable  run.st  byte offset"
)
YOLOV3 = """\
    0 conv     32  3 x 3 / 1   416 x 416 x   3   ->   416 x 416 x  32  0.299 BFLOPs                928     64          20
    4 res    1                 208 x 208 x  64   ->   208 x 208 x  64                                -      -           -
   62 conv   1024  3 x 3 / 2    26 x  26 x 512   ->    13 x  13 x1024  1.595 BFLOPs            4720640   2048    59607444
   81 conv    255  1 x 1 / 1    13 x  13 x1024   ->    13 x  13 x 255  0.088 BFLOPs             261375      -   225470868
   82 yolo                                                                                           -      -           -
   83 route  79                                                                                      -      -           -
   85 upsample            2x    13 x  13 x 256   ->    26 x  26 x 256                                -      -           -
   98 route  97 36                                                                                   -      -           -
  105 conv    255  1 x 1 / 1    52 x  52 x 256   ->    52 x  52 x 255  0.353 BFLOPs              65535      -   247744908
""".splitlines()  # noqa: E501 (it is as wide as it is)
DARKNET53 = """\
   75 avg                        8 x   8 x1024   ->  1024                                            -      -           -
   76 conv   1000  1 x 1 / 1     1 x   1 x1024   ->     1 x   1 x1000  0.002 BFLOPs            1025000      -   162482580
   77 softmax                                        1000                                            -      -           -
""".splitlines()  # noqa: E501
TINY_POOL = (
    "   11 max          2 x 2 / 1    13 x  13 x 512   ->    13 x  13 x 512                                "
    "-      -           -"
)


def lines_of(name):
    return layer_table(read_cfg(builtin_cfg(name))).splitlines()


def words(line):
    return " ".join(line.split())


def test_lines_and_totals_of_yolov3():
    heading, *lines = lines_of("yolov3")
    assert heading == HEADING
    for line in YOLOV3:
        assert lines[int(line[:5])] == line
    assert lines[107:] == [
        "",
        "61,949,149 trainable parameters",
        "52,608 running statistics",
        "65,864,075,264 operations (65.86 Bn) for one picture of 416 x 416",
        "248,007,048 bytes of weights",
        "10,647 predicted boxes",
    ]


def test_lines_of_other_networks():
    lines = lines_of("darknet53")
    assert lines[1 + 75 :] == [
        *DARKNET53,
        "",
        "41,609,928 trainable parameters",
        "35,712 running statistics",
        "18,570,231,808 operations (18.57 Bn) for one picture of 256 x 256",
        "166,582,580 bytes of weights",
    ]
    assert lines_of("yolov3-tiny")[1 + 11] == TINY_POOL


@pytest.mark.parametrize(
    ("name", "heading"), [("yolov3", "### A."), ("yolov3-tiny", "### B."), ("darknet53", "### C.")]
)
def test_whole_tables(name, heading, shared):
    specification = (shared / "spec" / "yolov3_semantics.md").read_text()
    expected = specification.split(heading)[1].split("```\n")[1].splitlines()
    assert lines_of(name)[: len(expected)] == expected


def test_pictures_that_are_not_square_and_vectors():
    layers = [
        kinds.Convolutional(4, 3, 2, 1, True, "leaky"),
        kinds.Reorg(2),
        kinds.Dropout(0.25),
        kinds.Connected(10, False, "linear"),
        kinds.Softmax(1, 1.0),
        kinds.Cost(),
    ]
    _, conv, reorg, dropout, connected, softmax, cost, *totals = layer_table(make_plan(layers, (8, 16, 3))).splitlines()
    assert conv.split("BFLOPs")[0] == "    0 conv      4  3 x 3 / 2    16 x   8 x   3   ->     8 x   4 x   4  0.000 "
    assert words(conv).endswith(" BFLOPs 116 8 20")
    assert words(reorg) == "1 reorg / 2 8 x 4 x 4 -> 4 x 2 x 16 - - -"
    assert words(dropout) == "2 dropout p = 0.25 128 -> 128 - - -"
    assert words(connected) == f"3 connected 128 -> 10 1290 - {20 + 4 * (116 + 8)}"
    assert words(softmax) == "4 softmax 10 - - -"
    assert words(cost) == "5 cost 10 - - -"
    # 4 filters x 27 weights at 32 places, and 1280 weights; times 2
    assert totals[3] == "9,472 operations (0.00 Bn) for one picture of 16 x 8"


def test_a_shortcut_shows_the_map_it_adds():
    """In a ResNet that is not the map of the layer before."""
    (line,) = [line for line in lines_of("resnet50") if line.startswith("   17 res")]
    assert words(line) == "17 res 13 64 x 64 x 256 -> 32 x 32 x 512 - - -"
