"""Parameters and pictures that are hashes of their own positions: the inputs of the golden numbers.

Nothing here is random: any language can recompute these values, so golden numbers need no weights
file and no photo beside them.  All hashing is arithmetic on unsigned 32-bit integers that wraps:

    h  = index * 0x9E3779B1 + seed * 0x85EBCA77
    h ^= h >> 16;  h *= 0x85EBCA6B
    h ^= h >> 13;  h *= 0xC2B2AE35
    h ^= h >> 16
    u  = h / 2**32                                  (0 <= u < 1)
"""

import math

import numpy as np

# Block sizes of a hash picture with the weights (in sixteenths) by which they are mixed.
PICTURE_BLOCKS = {64: 8, 16: 4, 4: 2, 1: 2}


def hash01(index, seed):
    """Hash integer positions (any shape, or one number) to float64 numbers ``0 <= u < 1``."""
    # One extra axis, dropped at the end: NumPy wraps arrays silently but warns about single numbers.
    h = np.asarray(index).astype(np.uint32)[None]
    h = h * np.uint32(0x9E3779B1) + np.uint32(seed * 0x85EBCA77 % 2**32)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    h = h ^ (h >> np.uint32(16))
    return (h / 2.0**32)[0]


def hash_image(width, height, seed):
    """A picture (height, width, 3) uint8: constant blocks of 64, 16, 4 and 1 pixels, mixed 8:4:2:2.

    The block of size s in row y and column x has, in colour c, the top eight bits of the hash of
    ``(y * 4096 + x) * 3 + c`` under ``seed + s``.
    """
    total = np.zeros((height, width, 3), dtype=np.int64)
    for size, weight in PICTURE_BLOCKS.items():
        rows = np.arange(height)[:, None, None] // size
        columns = np.arange(width)[None, :, None] // size
        colours = np.arange(3)[None, None, :]
        hashed = hash01((rows * 4096 + columns) * 3 + colours, seed + size)  # (height, width, 3)
        total += weight * (hashed * 256).astype(np.int64)
    return (total // 16).astype(np.uint8)


def make_tensor(entry, seed):
    """The float32 array of one entry of a golden table (``role``, ``shape``, ``offset``, ``gain`` or ``shift``).

    The offset is the position of its first float among all floats of the network's file.  Values
    are computed in float64 and rounded once.  Weights are (out, in, height, width), as in the file.
    """
    shape, role = entry["shape"], entry["role"]
    u = hash01(entry["offset"] + np.arange(math.prod(shape)), seed).reshape(shape)
    if role == "bias":
        values = (u - 0.5) * 0.4 + _per_channel(entry.get("shift", 0.0), shape[0])
    elif role == "scale":
        values = 0.8 + 0.4 * u
    elif role == "mean":
        values = (u - 0.5) * 0.4
    elif role == "var":
        values = 0.6 + 0.8 * u
    elif role == "weight":
        fan_in = math.prod(shape[1:])
        spread = math.sqrt(12.0) * math.sqrt(2.0 / fan_in) * _per_channel(entry["gain"], shape[0])
        values = (u - 0.5) * spread.reshape(-1, *[1] * (len(shape) - 1))
    else:
        raise ValueError(f"unknown role {role!r}")
    return values.astype(np.float32)


def parameter_dict(table, seed):
    """All parameters of a golden table (a dict read from its JSON): ``{name: float32 array}``."""
    return {entry["name"]: make_tensor(entry, seed) for entry in table["tensors"]}


def _per_channel(value, channels):
    """A number, or a short list that repeats over the channels, as one value per channel."""
    return np.resize(np.asarray(value, dtype=np.float64), channels)
