"""Exercises of chapter 5: Darknet-53.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_05``, or call a
check by itself: ``check_stage_shape()`` checks the function in this file, ``check_stage_shape(my_function)`` any other.
"""

import numpy as np

from minidl import Tensor, nn
from yolov3.backbones import BACKBONES
from yolov3.blocks import ConvBlock, ResidualBlock
from yolov3.darknet53 import Darknet53, Stage, stage_channels

# 1. Read --------------------------------------------------------------------------------------------------------------


def stage_shape(height, width, stage):
    """The shape ``(height, width, channels)`` behind a stage of Darknet-53, for a picture of height x width.

    ``stage`` is 0 for the first convolution, which keeps the size, and 1 to 5 for the stages.  Height and width are
    multiples of 32.
    """
    raise NotImplementedError


def check_stage_shape(function=stage_shape):
    for height, width in ((256, 256), (416, 416), (320, 608)):
        for stage in range(6):
            right = (height // 2**stage, width // 2**stage, stage_channels(32)[stage])
            case = f"stage {stage} of a {height}x{width} picture"
            answer = tuple(function(height, width, stage))
            assert len(answer) == 3, f"{case}: return three numbers, height, width and channels, not {answer}"
            swapped = (right[1], right[0], right[2])
            assert answer == right or answer != swapped, f"{case}: {answer} has height and width the wrong way round"
            assert answer[:2] == right[:2], f"{case}: the map is {right[0]}x{right[1]}, not {answer[0]}x{answer[1]}"
            assert answer[2] == right[2], f"{case}: {right[2]} channels, not {answer[2]}; each stage doubles them"
            whole = all(isinstance(each, int | np.integer) for each in answer)
            assert whole, f"{case}: {answer} should be whole numbers: divide by //"
    print("stage_shape: right")


# 2. The number in the name --------------------------------------------------------------------------------------------


def layers_with_weights(blocks):
    """How many convolutions and connected layers has a Darknet classifier with these residual blocks in its stages?

    ``blocks`` is a tuple of any length, such as (1, 2, 8, 8, 4): one stage for each number.  The first convolution and
    the connected layer at the end are always there.
    """
    raise NotImplementedError


def check_layers_with_weights(function=layers_with_weights):
    assert function((1, 2, 8, 8, 4)) == 53, f"Darknet-53 has 53, not {function((1, 2, 8, 8, 4))}"
    assert function(()) == 2, f"without any stage: one convolution and the connected layer, not {function(())}"
    for blocks in ((0,), (1, 1), (1, 1, 2, 2, 1), (3, 4, 6, 3)):
        right = 2 + sum(1 + 2 * count for count in blocks)
        answer = function(blocks)
        assert answer != 2 + 5 + 2 * sum(blocks) or answer == right, f"{blocks}: there are {len(blocks)} stages, not 5"
        assert answer == right, f"{blocks}: {right}, not {answer}; a block has 2 convolutions, a stage 1 of its own"
    print("layers_with_weights: right")


# 3. A table that cannot be --------------------------------------------------------------------------------------------


def find_misprint(rows):
    """Which row of a table like the paper's Table 2 contradicts itself?

    ``rows``: a list of (billions of operations, BFLOP/s, frames per second).  The first must be the second divided by
    the third.  Rounding makes differences of up to 2 %; one row is off by more.  Return ``(number of that row from 0,
    the billions of operations that would fit)``.
    """
    raise NotImplementedError


def check_find_misprint(function=find_misprint):
    tables = [
        [(1.29, 1246, 171), (19.7, 1039, 53), (29.4, 1090, 37), (18.7, 1457, 78)],
        [(7.29, 1246, 171), (19.7, 1039, 53), (29.4, 1090, 37), (13.7, 1457, 78)],
        [(2.0, 100, 50), (9.0, 300, 30)],
        [(12.0, 300, 30), (2.0, 100, 50)],
    ]
    for rows in tables:
        off = [abs(billions / (rate / fps) - 1) for billions, rate, fps in rows]
        right = int(np.argmax(off))
        fits = rows[right][1] / rows[right][2]
        answer = function(list(rows))
        assert isinstance(answer, tuple), f"{rows}: return a tuple (row, billions), not {answer}"
        number, billions = answer
        assert number != right + 1 or number == right, f"{rows}: count rows from 0: it is row {right}"
        assert number == right, f"{rows}: row {right} is off by {off[right]:.0%}, row {number} is not the worst"
        assert not np.isclose(billions, 1 / fits), f"{rows}: you divided the wrong way round"
        assert np.isclose(billions, fits, rtol=0.01), f"{rows}: row {right} needs {fits:.2f} billion, not {billions}"
    print("find_misprint: right")


# 4. Count any network -------------------------------------------------------------------------------------------------


def count_layers(network):
    """A dict with four numbers: how many layers of each kind run in ``network`` for a 64x64 picture.

    Keys: "3x3" and "1x1" (convolutions of that kernel, of any stride), "stride 2" (convolutions of any kernel with
    stride 2) and "max pool".  ``nn.layer_table(network, (64, 64, 3))`` returns rows; look at their ``kind`` ("Conv2d",
    "MaxPool2d", ...) and at ``kernel``, such as "3x3 / 2".
    """
    raise NotImplementedError


def check_count_layers(function=count_layers):
    rng = np.random.default_rng(0)
    small = nn.Sequential(ConvBlock(3, 4, 3, rng=rng), ConvBlock(4, 4, 1, stride=2, rng=rng), nn.MaxPool2d(2, 2))
    cases = {
        "three layers by hand": (small, (1, 1, 1, 1)),
        "Darknet-19": (BACKBONES["darknet19"](rng=rng), (12, 7, 0, 5)),
        "Darknet-53": (BACKBONES["darknet53"](rng=rng), (29, 23, 5, 0)),
        "ResNet-50": (BACKBONES["resnet50"](rng=rng), (16, 32, 4, 1)),
    }
    for name, (network, right) in cases.items():
        answer = function(network)
        for key, count in zip(("3x3", "1x1", "stride 2", "max pool"), right, strict=True):
            assert key in answer, f"the dict has no key {key!r}, only {sorted(answer)}"
            assert answer[key] == count, f"{name}: {count} of {key!r}, you counted {answer[key]}"
    print("count_layers: right")


# 5. Build -------------------------------------------------------------------------------------------------------------


def make_stage(inputs, outputs, blocks, rng):
    """A stage of Darknet as an ``nn.Sequential``: a 3x3 ``ConvBlock`` with stride 2, then ``blocks`` residual blocks.

    ``inputs`` and ``outputs`` are channels; give ``rng`` to every part, in the order in which they run.
    """
    raise NotImplementedError


def check_make_stage(function=make_stage):
    for inputs, outputs, blocks in ((4, 8, 1), (8, 16, 3), (6, 12, 0)):
        case = f"make_stage({inputs}, {outputs}, {blocks}, rng)"
        mine = function(inputs, outputs, blocks, np.random.default_rng(5))
        right = Stage(inputs, outputs, blocks, rng=np.random.default_rng(5))
        assert isinstance(mine, nn.Sequential), f"{case}: return an nn.Sequential, not a {type(mine).__name__}"
        found = sum(isinstance(module, ResidualBlock) for _, module in mine.named_modules())
        assert found == blocks, f"{case}: {blocks} residual blocks are asked for, yours has {found}"
        x = Tensor(np.random.default_rng(0).standard_normal((2, 8, 8, inputs)).astype(np.float32))
        y, expected = mine.eval()(x), right.eval()(x)
        assert y.shape != (2, 8, 8, outputs), f"{case}: the map was not halved: stride 2 is missing"
        assert y.shape == expected.shape, f"{case}: the output has the shape {y.shape}, it should be {expected.shape}"
        counts = mine.parameter_count(), right.parameter_count()
        assert counts[0] == counts[1], f"{case}: {counts[0]} parameters, there should be {counts[1]}: a wrong kernel?"
        assert np.allclose(y.data, expected.data, atol=1e-5), f"{case}: other numbers: is rng given to all, in order?"
    print("make_stage: right")


# 6. All the work ------------------------------------------------------------------------------------------------------


def network_operations(side, blocks, width):
    """Operations of a Darknet's convolutions for one picture of side x side, from the formula alone.

    ``blocks``: residual blocks of each of the stages; ``width``: channels of the first convolution.  Each convolution
    takes ``2 * k * k * inputs * outputs * height * width`` with the size of its *output*.  No network is to be made.
    """
    raise NotImplementedError


def check_network_operations(function=network_operations):
    stem = function(64, (), 8)
    right = 2 * 9 * 3 * 8 * 64 * 64
    assert stem != right // 2, "the stem alone: a multiplication and an addition are two operations: factor 2"
    assert stem == right, f"the stem alone at 64x64 with 8 channels takes {right:,}, not {stem:,}"
    for side, blocks, width in ((64, (0, 0, 0, 0, 0), 4), (64, (1, 1, 2, 2, 1), 4), (256, (1, 2, 8, 8, 4), 32)):
        rows = nn.layer_table(Darknet53(blocks, width), (side, side, 3))
        right = sum(row.operations for row in rows)
        answer = function(side, blocks, width)
        case = f"side {side}, blocks {blocks}, width {width}"
        hint = "the size of the output counts, half the input's" if not any(blocks) else "are the blocks right?"
        assert answer == right, f"{case}: {right:,}, not {answer:,}, which is {answer / right:.3f} times that; {hint}"
    print("network_operations: right")
