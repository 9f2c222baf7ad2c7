"""Where each map lives: which buffers there are, and which of them serve several maps one after the other.

- Maps that are concatenated are slices of one buffer, so that nothing is copied to join them.
- A map that only convolutions with padding read lies in a larger buffer, with the zeros that they need around it.
- A buffer is used again as soon as nothing reads its map any more.
"""

from dataclasses import dataclass
from math import prod

from minidl import nn
from minidl.inference.groups import Convolution
from minidl.nn.graph import IMAGES


@dataclass(frozen=True)
class Border:
    """Zeros around a map: rows above, rows below, columns left, columns right."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def around(self, shape):
        """The shape (batch, height, width, channels) with the border; vectors (batch, channels) have none."""
        if self == NO_BORDER:
            return shape
        batch, height, width, channels = shape
        return batch, self.top + height + self.bottom, self.left + width + self.right, channels

    def join(self, other):
        """The larger border on each side."""
        return Border(*map(max, *((each.top, each.bottom, each.left, each.right) for each in (self, other))))


NO_BORDER = Border()


@dataclass(frozen=True)
class Place:
    """Where a map is: the number of its buffer, and the first of its channels there."""

    buffer: int
    first_channel: int = 0


class Layout:
    """The buffers of a network's operations (:func:`minidl.inference.groups.group`) for a batch of one shape.

    borders: per convolution (by the number of its output) the Border that it needs around its source.

    Attributes: places ``{number of a map: Place}``; shapes and borders of the buffers; steps ``(first, last)`` from the
    operation that first writes a buffer to the last that reads it; padded: ``{output of a convolution: number of the
    buffer}`` where its source must be copied into a border first.
    """

    def __init__(self, operations, outputs, image_shape, borders, settings):
        self.shapes, self.borders, self.steps, self.places, self.padded = [], [], [], {}, {}
        self._batch = image_shape[0]
        self._last_read = self._last_reads(operations, outputs)
        map_shapes = {IMAGES: image_shape[1:]} | {each.output: each.output_shape for each in operations}
        written = {IMAGES: 0} | {each.output: step for step, each in enumerate(operations)}
        if settings.join_in_place:
            self._join(operations, map_shapes, written)
        for number, shape in map_shapes.items():
            if number not in self.places:
                border = _common_border(number, operations, outputs, borders) if settings.keep_borders else NO_BORDER
                steps = written[number], self._last_read.get(number, written[number])
                self.places[number] = Place(self._buffer(shape, border, steps))
        for step, each in enumerate(operations):
            if isinstance(each, Convolution) and not self._has_border(each.source, borders[each.output]):
                buffer = self._buffer(each.input_shape, borders[each.output], (step, step))
                self.padded[each.output] = buffer

    def _buffer(self, shape, border, steps):
        self.shapes.append((self._batch, *shape))
        self.borders.append(border)
        self.steps.append(steps)
        return len(self.shapes) - 1

    def _last_reads(self, operations, outputs):
        last = {source: step for step, each in enumerate(operations) for source in each.sources}
        return last | dict.fromkeys(outputs, len(operations))

    def _join(self, operations, map_shapes, written):
        """Give the sources of each concatenation slices of its buffer, as far as they have no place yet."""
        for step, each in enumerate(operations):
            if isinstance(each, Convolution) or not isinstance(each.module, nn.Concat):
                continue
            own = [source for source in dict.fromkeys(each.sources) if source != IMAGES and source not in self.places]
            first = min([step, *(written[source] for source in own)])
            last = max(self._last_read.get(number, step) for number in (each.output, *own))
            buffer = self._buffer(each.output_shape, NO_BORDER, (first, last))
            self.places[each.output] = Place(buffer)
            channel = 0
            for source in each.sources:
                if source in own:
                    self.places[source] = Place(buffer, channel)
                    own.remove(source)
                channel += map_shapes[source][-1]

    def _has_border(self, number, border):
        if border == NO_BORDER:
            return True
        kept = self.borders[self.places[number].buffer]
        return kept.join(border) == kept

    def assign(self):
        """Which array each buffer is: ``(array of each buffer, {array: (numbers, border or None)})``.

        A buffer with a border takes over only arrays of the same shape and border, whose zeros are still there.
        """
        arrays, array_of, free = [], [None] * len(self.shapes), []
        events = sorted(range(len(self.shapes)), key=lambda buffer: self.steps[buffer])
        busy = []  # (last step, buffer)
        for buffer in events:
            begin, end = self.steps[buffer]
            for last, other in [each for each in busy if each[0] < begin]:
                busy.remove((last, other))
                free.append(array_of[other])
            key = self._key(buffer)
            array = _fitting(key, free, arrays)
            if array is None:
                arrays.append(key)
                array = len(arrays) - 1
            else:
                free.remove(array)
                if arrays[array][1] is None:
                    arrays[array] = (max(arrays[array][0], key[0]), None)
            array_of[buffer] = array
            busy.append((end, buffer))
        return array_of, arrays

    def _key(self, buffer):
        border, shape = self.borders[buffer], self.shapes[buffer]
        return prod(border.around(shape)), None if border == NO_BORDER else (shape, border)


def _fitting(key, free, arrays):
    """The free array that fits best, or None: with a border the same one, else the one nearest in size."""
    candidates = [each for each in free if arrays[each][1] == key[1]]
    return min(candidates, key=lambda each: abs(arrays[each][0] - key[0]), default=None)


def _common_border(number, operations, outputs, borders):
    """The border that all readers of a map need, if all are convolutions with the same padding; else none."""
    readers = [each for each in operations if number in each.sources]
    needed = []
    for each in readers:
        if not isinstance(each, Convolution) or each.residual == number:
            return NO_BORDER
        needed.append(borders[each.output])
    if number in outputs or len({(each.top, each.left) for each in needed}) != 1:
        return NO_BORDER
    common = needed[0]
    for each in needed[1:]:
        common = common.join(each)
    return common
