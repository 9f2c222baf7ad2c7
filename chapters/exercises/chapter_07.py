"""Exercises of chapter 7: the network.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_07``, or call a
check by itself: ``check_join()`` checks the function in this file, ``check_join(my_function)`` any other.
"""

import numpy as np

from minidl import Tensor, nn
from yolov3.model import DetectionNetwork, build_model

# 1. Read --------------------------------------------------------------------------------------------------------------


def head_shapes(height, width, classes):
    """The shapes of YOLOv3's three heads for a batch of one picture, coarse to fine.

    Return a list of three tuples (1, rows, columns, channels).  Height and width are multiples of 32.
    """
    raise NotImplementedError


def check_head_shapes(function=head_shapes):
    for height, width, classes in ((416, 416, 80), (416, 416, 20), (96, 64, 3), (32, 160, 1)):
        model = build_model("yolov3-nano", classes, seed=0).eval()
        right = [head.shape for head in model(Tensor(np.zeros((1, height, width, 3), np.float32)))]
        mine, case = [tuple(each) for each in function(height, width, classes)], f"{height}x{width}, {classes} classes"
        assert len(mine) == 3, f"{case}: there are three heads, you returned {len(mine)}"
        assert mine != right[::-1], f"{case}: the order is coarse to fine: stride 32 first"
        for stride, ours, theirs in zip((32, 16, 8), mine, right, strict=True):
            assert len(ours) == 4, f"{case}, stride {stride}: a shape has four numbers, batch included; {ours} has not"
            swapped = ours[1:3] == theirs[2:0:-1] and height != width
            assert not swapped, f"{case}, stride {stride}: rows (height) come before columns (width)"
            assert ours[1:3] == theirs[1:3], f"{case}, stride {stride}: cells {ours[1:3]}, they should be {theirs[1:3]}"
            assert ours[3] != 5 + classes, f"{case}: every cell has three anchors"
            assert ours == theirs, f"{case}, stride {stride}: {ours}, it should be {theirs}"
    print("head_shapes: right")


# 2. Read --------------------------------------------------------------------------------------------------------------


def box_count(height, width):
    """How many boxes YOLOv3 predicts for one picture of this size (multiples of 32)."""
    raise NotImplementedError


def check_box_count(function=box_count):
    for height, width, right in ((416, 416, 10647), (320, 608, 11970), (608, 608, 22743), (32, 32, 63)):
        mine = function(height, width)
        assert mine * 3 != right, f"{height}x{width}: {mine:,} is the number of cells; each has three anchors"
        assert mine == right, f"{height}x{width}: {mine:,}, it should be {right:,}"
    print("box_count: right")


# 3. Explore -----------------------------------------------------------------------------------------------------------


def path_of_lateral(graph, stride):
    """The path of the backbone's layer whose output the Concatenate block of this stride (16 or 8) reads.

    ``graph`` is what ``nn.trace`` gives for a YOLOv3 of any size: find the node whose path is
    ``pyramid.top_down_STRIDE.join``, and return the path of the one of its two inputs that is in the backbone.
    """
    raise NotImplementedError


def check_path_of_lateral(function=path_of_lateral):
    graph = nn.trace(build_model("yolov3-nano", 3, seed=0), (64, 64, 3))
    for stride, stage in ((16, 3), (8, 2)):
        mine, right = function(graph, stride), f"backbone.stages.{stage}.blocks.1.shortcut"
        assert isinstance(mine, str), f"return the path, a string, not a {type(mine).__name__}"
        assert "upsample" not in mine, f"stride {stride}: {mine} is the way down; the lateral input is the other one"
        assert mine == right, f"stride {stride}: {mine}, it should be {right}"
    print("path_of_lateral: right")


# 4. The rule of section 7.7 -------------------------------------------------------------------------------------------


def field_of_view(layers):
    """The receptive field, in pixels, of the last of a chain of convolutions ``[(kernel size, stride), ...]``.

    A kernel of size k widens the field by (k - 1) times the step of the map it reads; a stride multiplies the step.
    """
    raise NotImplementedError


def check_field_of_view(function=field_of_view):
    cases = {((3, 1),): 3, ((3, 1), (3, 1)): 5, ((1, 1), (1, 2)): 1, ((3, 2), (3, 1)): 7, ((3, 2), (3, 2), (5, 1)): 23}
    for layers, right in cases.items():
        mine = function(list(layers))
        assert mine != right - 1, f"{layers}: {mine}: start from 1, the pixel itself"
        early = layers == ((3, 2), (3, 1)) and mine == 9
        assert not early, f"{layers}: a layer's own stride counts only for the layers behind it"
        assert mine == right, f"{layers}: {mine}, it should be {right}"
    print("field_of_view: right")


# 5. The way down ------------------------------------------------------------------------------------------------------


def join(features, backbone_map):
    """Double the height and width of ``features`` by nearest neighbour, and put ``backbone_map`` behind its channels.

    Arrays (batch, h, w, c) and (batch, 2 h, 2 w, d) -> (batch, 2 h, 2 w, c + d).  ``np.repeat`` and ``np.concatenate``
    are all you need.
    """
    raise NotImplementedError


def check_join(function=join):
    rng = np.random.default_rng(0)
    features, backbone_map = rng.random((2, 2, 3, 4)), rng.random((2, 4, 6, 5))
    mine = np.asarray(function(features, backbone_map))
    assert mine.shape == (2, 4, 6, 9), f"the result has the shape {mine.shape}, it should be (2, 4, 6, 9)"
    assert not np.array_equal(mine[..., :5], backbone_map), "the channels from above come first, the backbone's behind"
    tiled = np.tile(features, (1, 2, 2, 1))
    assert not np.array_equal(mine[..., :4], tiled), "np.tile lays the whole map down four times; repeat every cell"
    right = nn.Concat()(nn.Upsample(2)(Tensor(features)), Tensor(backbone_map)).data
    wrong = np.argwhere(mine != right)
    assert len(wrong) == 0, f"the first wrong number stands at index {tuple(map(int, wrong[0]))}"
    print("join: right")


# 6. Build -------------------------------------------------------------------------------------------------------------


class FourScales(DetectionNetwork):
    """A detector with a fourth scale: strides 32, 16, 8 and 4, for tiny objects.

    Begin with ``OnePage`` of section 7.3.  ``set_scales`` takes ``{4: ..., 8: ..., 16: ..., 32: ...}``.  The backbone
    returns only its maps of stride 8, 16 and 32; its ``stem`` and ``stages`` can be called one by one, and the map of
    stride 4 is what ``stages[1]`` gives, with 32 channels here: ``Darknet53(SMALL["blocks"], SMALL["width"], 64)`` has
    the channels 8, 16, 32, 64, 64, 64.
    """

    strides = (32, 16, 8, 4)

    def __init__(self, classes, anchors, seed=None):
        raise NotImplementedError

    def forward(self, images):
        """Four heads, coarse to fine."""
        raise NotImplementedError


def check_FourScales(function=FourScales):
    anchors = {stride: ((stride, stride), (2 * stride, stride)) for stride in (4, 8, 16, 32)}
    model = function(3, anchors, seed=0)
    heads = model(Tensor(np.random.default_rng(0).random((2, 64, 96, 3), dtype=np.float32)))
    assert len(heads) == 4, f"forward returns {len(heads)} heads, not 4"
    for head, stride in zip(heads, (32, 16, 8, 4), strict=True):
        right = (2, 64 // stride, 96 // stride, 2 * (5 + 3))
        assert head.shape == right, f"stride {stride}: the head has the shape {head.shape}, it should be {right}"
    joins = [module for _, module in model.named_modules() if isinstance(module, nn.Concat)]
    assert len(joins) == 3, f"four scales need three Concatenate blocks on the way down, there are {len(joins)}"
    heads[3].sum().backward()
    unused = [path for path, each in model.named_parameters() if each.grad is None and not _only_coarse(path, model)]
    assert not unused, f"no gradient of the finest head reaches {unused[0]}: is every map handed on?"
    assert sum(_starts_low(model)) == 4, "call initialise_outputs with all four output convolutions: objectness at -4"
    print("FourScales: right")


def _outputs(model):
    return [path for path, module in model.named_modules() if isinstance(module, nn.Conv2d) and module.bias is not None]


def _only_coarse(path, model):
    """Whether a parameter belongs to the last layers of a detection branch, which no finer scale reads."""
    branches = [output.rpartition(".")[0] for output in _outputs(model)]
    return any(path.startswith((f"{branch}.expand", f"{branch}.output")) for branch in branches)


def _starts_low(model):
    convolutions = dict(model.named_modules())
    biases = [convolutions[path].bias.data.reshape(2, -1) for path in _outputs(model)]
    return [bool(np.all(bias[:, 4] == -4)) for bias in biases]
