"""Where maps live: no two that are needed at the same time share a number, and nothing touches a border's zeros."""

from itertools import combinations

import numpy as np
import pytest

from minidl import nn
from minidl.inference import FuseSettings
from minidl.inference.groups import Convolution, Other
from minidl.inference.layout import Border, Layout, Place
from minidl.nn.graph import IMAGES

BATCH = 2
SIZES = ((4, 4), (3, 5))
BORDERS = (Border(), Border(1, 1, 1, 1), Border(1, 3, 1, 2), Border(3, 3, 3, 3))


def convolution(source, output, input_shape, output_shape, residual=None):
    return Convolution(None, None, 1.0, residual, 1.0, source, output, input_shape, output_shape)


def concatenation(sources, output, shapes):
    channels = sum(shapes[source][2] for source in sources)
    shape = (*shapes[sources[0]][:2], channels)
    return Other(nn.Concat(), tuple(sources), output, tuple(shapes[source] for source in sources), shape)


def random_graph(rng):
    """Random operations with their borders and outputs: ``(operations, borders, outputs, image shape)``."""
    shapes = {IMAGES: (*SIZES[0], 3)}
    operations, borders, number = [], {}, -1
    for _ in range(rng.integers(3, 14)):
        number += int(rng.integers(1, 3))  # numbers of nodes that were taken in are missing
        source = list(shapes)[rng.integers(len(shapes))]
        kind = rng.choice(["convolution", "sum", "concatenation", "other"])
        shape = (*SIZES[rng.integers(2)], int(rng.integers(1, 4)))
        alike = [each for each in shapes if shapes[each][:2] == shapes[source][:2]]
        if kind == "concatenation":
            sources = [alike[i] for i in rng.integers(0, len(alike), rng.integers(1, 4))]
            operations.append(concatenation(sources, number, shapes))
        elif kind == "other":
            operations.append(Other(nn.LeakyReLU(), (source,), number, (shapes[source],), shape))
        else:
            residual = None
            if kind == "sum" and len(shapes) > 1:
                residual = list(shapes)[rng.integers(1, len(shapes))]
                shape = shapes[residual]
            operations.append(convolution(source, number, shapes[source], shape, residual))
            borders[number] = BORDERS[rng.integers(len(BORDERS))]
        shapes[number] = operations[-1].output_shape
    outputs = tuple(int(each) for each in rng.choice(list(shapes)[1:], rng.integers(1, 3)))
    return operations, borders, outputs, (BATCH, *shapes[IMAGES])


class Memory:
    """A layout's arrays as sets of places: which numbers each map and each buffer takes, and when it is needed."""

    def __init__(self, operations, borders, outputs, image_shape, settings):
        self.layout = Layout(operations, outputs, image_shape, borders, settings)
        self.array_of, self.arrays = self.layout.assign()
        self.needed = {IMAGES: (-1, -1)}  # {map: first and last step}
        for step, each in enumerate(operations):
            self.needed[each.output] = step, step
            for source in each.sources:
                self.needed[source] = self.needed[source][0], step
        for output in outputs:
            self.needed[output] = self.needed[output][0], len(operations)
        self.shapes = {IMAGES: image_shape[1:]} | {each.output: each.output_shape for each in operations}
        self.numbers = {number: self.of_map(number, shape) for number, shape in self.shapes.items()}
        steps = {each.output: step for step, each in enumerate(operations)}
        sources = {each.output: each.input_shape for each in operations if isinstance(each, Convolution)}
        for output, buffer in self.layout.padded.items():  # a copy, which is needed during one step
            self.needed["copy", output] = steps[output], steps[output]
            self.numbers["copy", output] = self.inside(buffer, sources[output], 0)

    def of_map(self, number, shape):
        place = self.layout.places[number]
        return self.inside(place.buffer, shape, place.first_channel)

    def inside(self, buffer, shape, first_channel):
        """The places (array, number) of a map, without border."""
        border, array = self.layout.borders[buffer], self.array_of[buffer]
        height, width, channels = shape
        numbers = self.whole(buffer)[:, border.top :, border.left :][:, :height, :width]
        assert numbers.shape[1:3] == (height, width)
        numbers = numbers[..., first_channel : first_channel + channels]
        assert numbers.shape[3] == channels
        return {(array, each) for each in numbers.ravel().tolist()}

    def whole(self, buffer):
        """The numbers of a buffer within its array, in the buffer's shape."""
        border = self.layout.borders[buffer]
        batch, height, width, channels = self.layout.shapes[buffer]
        shape = (batch, border.top + height + border.bottom, border.left + width + border.right, channels)
        assert np.prod(shape) <= self.arrays[self.array_of[buffer]][0]
        return np.arange(np.prod(shape)).reshape(shape)

    def border_of(self, buffer):
        """The places of the zeros around a buffer."""
        border, (_, height, width, _) = self.layout.borders[buffer], self.layout.shapes[buffer]
        numbers = self.whole(buffer)
        inner = numbers[:, border.top : border.top + height, border.left : border.left + width]
        return {(self.array_of[buffer], each) for each in set(numbers.ravel().tolist()) - set(inner.ravel().tolist())}


@pytest.mark.parametrize("join_in_place", [False, True])
@pytest.mark.parametrize("keep_borders", [False, True])
def test_random_graphs(join_in_place, keep_borders):
    rng = np.random.default_rng(0)
    settings = FuseSettings(keep_borders=keep_borders, join_in_place=join_in_place)
    used_again = 0
    for _ in range(60):
        operations, borders, outputs, image_shape = random_graph(rng)
        memory = Memory(operations, borders, outputs, image_shape, settings)
        check_maps(memory, operations)
        check_borders(memory, operations, borders)
        used_again += len(memory.arrays) < len(memory.layout.shapes)
    assert used_again > 20  # memory is used again in many of them


def check_maps(memory, operations):
    """Maps needed at the same time share nothing, but that a concatenation consists of its sources."""
    concatenated = {}
    for each in operations:
        if isinstance(each, Other) and isinstance(each.module, nn.Concat):
            concatenated[each.output] = each.sources
    for first, second in combinations(memory.numbers, 2):
        (begin, end), (other_begin, other_end) = memory.needed[first], memory.needed[second]
        if max(begin, other_begin) > min(end, other_end):
            continue
        part_of = second in concatenated.get(first, ()) or first in concatenated.get(second, ())
        if not part_of:
            assert not memory.numbers[first] & memory.numbers[second], (first, second)
    for output, sources in concatenated.items():
        check_parts(memory, output, sources)


def check_parts(memory, output, sources):
    """A source lies within the concatenation just where its channels belong, or outside it altogether."""
    buffer, channel, places = memory.layout.places[output].buffer, 0, {source: [] for source in sources}
    for source in sources:
        places[source].append(memory.inside(buffer, memory.shapes[source], channel))
        channel += memory.shapes[source][2]
    for source in sources:
        if memory.numbers[source] & memory.numbers[output]:
            assert memory.numbers[source] in places[source]


def check_borders(memory, operations, borders):
    """Zeros stay zero: no map of any time writes there; and every convolution has the zeros that it needs."""
    bordered = [buffer for buffer, border in enumerate(memory.layout.borders) if border != Border()]
    zeros = set().union(*(memory.border_of(buffer) for buffer in bordered))
    for name, numbers in memory.numbers.items():
        assert not numbers & zeros, name
    for each in operations:
        if isinstance(each, Convolution):
            buffer = memory.layout.padded.get(each.output, memory.layout.places[each.source].buffer)
            has, needs = memory.layout.borders[buffer], borders[each.output]
            assert (has.top >= needs.top, has.left >= needs.left) == (True, True)
            assert (has.bottom >= needs.bottom, has.right >= needs.right) == (True, True)


def test_settings_switch_borders_and_joins_off():
    rng = np.random.default_rng(1)
    for _ in range(20):
        operations, borders, outputs, image_shape = random_graph(rng)
        layout = Layout(operations, outputs, image_shape, borders, FuseSettings(keep_borders=False))
        assert all(layout.borders[place.buffer] == Border() for place in layout.places.values())
        layout = Layout(operations, outputs, image_shape, borders, FuseSettings(join_in_place=False))
        buffers = [place.buffer for place in layout.places.values()]
        assert len(set(buffers)) == len(buffers)


SHAPE = (4, 4, 2)


def laid_out(operations, outputs, borders=None):
    borders = borders or {each.output: Border() for each in operations if isinstance(each, Convolution)}
    return Layout(operations, outputs, (1, *SHAPE), borders, FuseSettings())


def test_joined_maps_lie_side_by_side():
    shapes = dict.fromkeys((IMAGES, 0, 1), SHAPE)
    first = [convolution(IMAGES, 0, SHAPE, SHAPE), convolution(0, 1, SHAPE, SHAPE)]
    layout = laid_out([*first, concatenation((1, 0), 2, shapes)], (2,))
    buffer = layout.places[2].buffer
    assert (layout.places[1], layout.places[0]) == (Place(buffer, 0), Place(buffer, 2))
    assert layout.shapes[buffer] == (1, 4, 4, 4)
    assert layout.steps[buffer] == (0, 3)


def test_images_and_repeated_maps_are_copied_when_joined():
    shapes = dict.fromkeys((IMAGES, 0), SHAPE)
    joined = concatenation((IMAGES, 0, 0), 1, shapes)
    layout = laid_out([convolution(IMAGES, 0, SHAPE, SHAPE), joined], (1,))
    assert layout.places[0] == Place(layout.places[1].buffer, 2)
    assert layout.places[IMAGES].buffer != layout.places[1].buffer


def test_a_border_is_kept_where_only_convolutions_of_one_padding_read():
    border, wider = Border(1, 1, 1, 1), Border(1, 3, 1, 3)
    chain = [convolution(IMAGES, 0, SHAPE, SHAPE), convolution(0, 1, SHAPE, SHAPE), convolution(0, 2, SHAPE, SHAPE)]
    borders = {0: Border(), 1: border, 2: wider}
    layout = laid_out(chain, (1, 2), borders)
    assert layout.borders[layout.places[0].buffer] == wider
    assert not layout.padded
    layout = laid_out(chain, (0, 1, 2), borders)  # a map that is returned has none: two copies are made
    assert layout.borders[layout.places[0].buffer] == Border()
    assert set(layout.padded) == {1, 2}
    for reader in (
        Other(nn.LeakyReLU(), (0,), 3, (SHAPE,), SHAPE),
        convolution(1, 3, SHAPE, SHAPE, residual=0),
        convolution(0, 3, SHAPE, SHAPE),  # without padding
    ):
        layout = laid_out([*chain, reader], (1, 2, 3), borders | {3: Border()})
        assert layout.borders[layout.places[0].buffer] == Border()


def test_a_chain_of_maps_needs_two_arrays():
    chain = [Other(nn.LeakyReLU(), (number - 1,), number, (SHAPE,), SHAPE) for number in range(8)]
    array_of, arrays = laid_out(chain, (7,)).assign()
    assert len(arrays) == 2
    assert len(array_of) == 9
