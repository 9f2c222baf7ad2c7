"""The original's ``.weights`` files: a short header, then all numbers of the network, layer after layer, and no names.

    int32 major, minor, revision;  seen: int64, or int32 in old files;  float32 ... float32  (little-endian)

Per convolution: bias (or beta), then gamma, running mean and running variance where it has batch norm, then the weights
(out, in, height, width).  Per connected layer: bias, weights (out, in), then gamma, mean, variance.  (Spec 2.)

Which number belongs to which layer follows from the order alone, so nothing is read before the size of the file
has been found to fit the network.
"""

import os
import struct
import sys
from dataclasses import dataclass, replace

import numpy as np

from minidl import nn
from yolov3.errors import UserError
from yolov3.runs import write_file

FLOAT = np.dtype("<f4")
LONG, SHORT = 20, 16  # bytes of the two forms of header


@dataclass(frozen=True)
class Header:
    """``seen``: pictures trained on; ``size``: 20 bytes, or 16 where ``seen`` has only four."""

    major: int = 0
    minor: int = 2
    revision: int = 0
    seen: int = 0
    size: int = LONG

    @property
    def transposed(self):
        """Whether connected layers are stored (in, out): only in files of very old versions."""
        return self.major > 1000 or self.minor > 1000

    @property
    def as_its_version_says(self):
        """Whether files of this version have a header of this size."""
        return self.size == (LONG if _is_long(self.major, self.minor) else SHORT)

    def packed(self):
        """Its bytes.  Raises UserError for a ``seen`` that does not fit into a short header."""
        form = "<iiiq" if self.size == LONG else "<iiii"
        try:
            return struct.pack(form, self.major, self.minor, self.revision, self.seen)
        except struct.error as error:
            raise UserError(f"a header of {self.size} bytes cannot hold {self}: use one of {LONG}") from error


@dataclass(frozen=True)
class WeightLayer:
    """A convolution or connected layer, with its batch norm or None, and its name for error messages."""

    name: str
    layer: nn.Module
    norm: nn.BatchNorm | None

    @property
    def connected(self):
        """Whether it is a connected layer and no convolution."""
        return isinstance(self.layer, nn.Linear)

    @property
    def floats(self):
        """How many numbers it has in a file."""
        return sum(each.data.size for each in self.in_file_order())

    def in_file_order(self):
        """Its parameters and running statistics in the order of a file."""
        norm, weight = self.norm, self.layer.weight
        if norm is None:
            return [self.layer.bias, weight]
        statistics = [norm.gamma, norm.running_mean, norm.running_variance]
        return [norm.beta, weight, *statistics] if self.connected else [norm.beta, *statistics, weight]

    def file_shape(self):
        """(out, in, height, width): a connected layer is a convolution whose kernel is as large as the map."""
        shape = self.layer.weight.shape
        if not self.connected:
            return shape[3], shape[2], shape[0], shape[1]
        height, width, channels = getattr(self.layer, "map_shape", (1, 1, shape[0]))
        return shape[1], channels, height, width


def weight_layers(model):
    """The layers of a network that have numbers in a file, in the file's order: that of their attributes."""
    layers = []
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            layers.append(WeightLayer(path, module, None))
        elif isinstance(module, nn.BatchNorm):
            if not layers or layers[-1].norm is not None:
                raise UserError(f"{path}: in a weights file a batch norm belongs to the convolution before it")
            layers[-1] = replace(layers[-1], norm=module)
    for each in layers:
        if (each.norm is None) == (each.layer.bias is None):
            raise UserError(f"{each.name}: a weights file wants a bias or a batch norm for each layer, and not both")
    return layers


# ------------------------------------------------------------------------------------------------ reading


def read_header(path, float_counts, partial=False):
    """The :class:`Header` of a file, and how many layers it holds, by its size alone.

    ``float_counts``: ``[(name of the layer, its numbers)]`` of the network, in order.  A file that holds all of them
    has a header of 20 or of 16 bytes, whatever its version says: some programs wrote the wrong one.  With
    ``partial`` it may also end behind an earlier layer, such as ``darknet53.conv.74``; then the version decides.
    Raises UserError that names the layer where the file ends, or how much is left over.
    """
    size, start = _size_and_start(path)
    expected = sum(count for _, count in float_counts)
    if size - 4 * expected in (LONG, SHORT):
        return _header(start, size - 4 * expected), len(float_counts)
    header = _header(start, LONG if _is_long(*struct.unpack("<ii", start[:8])) else SHORT)
    floats, rest = divmod(size - header.size, 4)
    if floats >= expected:
        raise UserError(
            f"{path} holds more numbers, {floats:,}, than the {expected:,} of this network: "
            f"it belongs to another one; the last layer here is {float_counts[-1][0]}"
        )
    count, into = _whole_layers(floats, [numbers for _, numbers in float_counts])
    if partial and count and not into and not rest:
        return header, count
    name, numbers = float_counts[count]
    where = f"inside {name} ({into:,} of its {numbers:,} numbers)" if into or rest else f"before {name}"
    raise UserError(f"{path} ends {where}: {expected - floats:,} of the network's {expected:,} numbers are missing")


def _whole_layers(floats, counts):
    """How many layers so many numbers fill, and how many are left for the next; there must be a next."""
    for count, numbers in enumerate(counts):
        if floats < numbers:
            return count, floats
        floats -= numbers
    raise ValueError("more numbers than the layers take")


def _size_and_start(path):
    """The file's size and its first bytes, enough for any header."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(LONG)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(start) < SHORT or size < SHORT:
        raise UserError(f"{path} is no weights file: it has only {size} bytes")
    if start.lstrip()[:1] == b"<":
        raise UserError(f"{path} is a web page and no weights file: fetch it again")
    return size, start


def _is_long(major, minor):
    """Whether files of a version have 20 bytes of header: spec 2."""
    return major * 10 + minor >= 2 and major < 1000 and minor < 1000


def _header(start, size):
    if len(start) < size:
        size = SHORT
    return Header(*struct.unpack("<iiiq" if size == LONG else "<iiii", start[:size]), size)


def read_weights(path, model, partial=False):
    """Fill a network with the numbers of a file; returns its :class:`Header` and the number of layers it held.

    ``partial``: whether the file may hold only the first layers; the others then keep their values.
    Raises UserError, with the network unchanged, where the file does not fit (:func:`read_header`).
    """
    layers = weight_layers(model)
    header, count = read_header(path, [(each.name, each.floats) for each in layers], partial)
    if not header.as_its_version_says:
        print(
            f"{path}: by its size it has a header of {header.size} bytes, which its version does not have: if numbers "
            "are missing or too many, all of them are shifted",
            file=sys.stderr,
        )
    try:
        with open(path, "rb") as file:
            file.seek(header.size)
            for each in layers[:count]:
                _read_layer(file, each, header.transposed)
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read to its end ({error})") from error
    return header, count


def _read_layer(file, layer, transposed):
    for holder in layer.in_file_order():
        if holder is layer.layer.weight:
            weight = _read_weight(file, layer.file_shape(), transposed and layer.connected)
            holder.data = weight.reshape(holder.data.shape)
        else:
            holder.data = _read(file, holder.data.shape)


def _read_weight(file, shape, transposed):
    """A kernel as (height, width, in, out)."""
    outputs, *rest = shape
    weight = np.moveaxis(_read(file, (*rest, outputs)), -1, 0) if transposed else _read(file, shape)
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0))


def _read(file, shape):
    array = np.fromfile(file, FLOAT, int(np.prod(shape)))
    if array.size != np.prod(shape):
        raise EOFError("it became shorter while it was read")
    return array.astype(np.float32, copy=False).reshape(shape)


# ------------------------------------------------------------------------------------------------ writing


def write_weights(path, model, header=None, layers=None, rule=None):
    """Write a network as a ``.weights`` file, whole or not at all; what :func:`read_weights` read comes out the same.

    header: default version 0.2, nothing seen.  layers: only so many of the first ones (a partial file).
    rule: the batch-norm rule of the program that will read the file, if it is another than the network's: variances
    are then stored such that its rule divides by the same numbers as ours.
    """
    header = header or Header()

    def write(file):
        file.write(header.packed())
        for each in weight_layers(model)[:layers]:
            for array in _stored(each, rule, header.transposed):
                file.write(np.ascontiguousarray(array, FLOAT).data)

    write_file(path, write)


def _stored(layer, rule, transposed):
    """The arrays of a layer in the order and layout of a file."""
    file_shape, weight, norm = layer.file_shape(), layer.layer.weight, layer.norm
    kernel = weight.data.reshape(*file_shape[2:], *file_shape[1::-1])  # (height, width, in, out)
    kernel = kernel.transpose(3, 2, 0, 1)
    stored = {id(weight): np.moveaxis(kernel, 0, -1) if transposed and layer.connected else kernel}
    if norm is not None and rule not in (None, norm.rule):
        stored[id(norm.gamma)], stored[id(norm.running_variance)] = _for_rule(norm, rule)
    return [stored.get(id(holder), holder.data) for holder in layer.in_file_order()]


def _for_rule(norm, rule):
    """(gamma, variance) with which ``rule`` computes what the layer does: their quotient gamma / divisor stays."""
    divisor = norm.rule.divisor(norm.running_variance.data.astype(np.float64))
    # No variance is below 0: where the other rule's epsilon is too large for that, gamma makes up for it.
    variance = np.maximum(rule.variance_for(divisor), 0).astype(np.float32)
    gamma = norm.gamma.data * rule.divisor(variance.astype(np.float64)) / divisor
    return gamma.astype(np.float32), variance
