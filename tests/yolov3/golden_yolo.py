"""The original's yolo-layer test vectors as the inputs of our functions (golden file functions.json, keys yolo_*).

One detection layer on a 2x2 grid of a 64x64 input, three classes, with two of three anchors; the third belongs to
another layer, for which a head without meaning stands in.  Golden arrays are flat (channels, rows, columns).
"""

import json
from dataclasses import dataclass

import numpy as np

ANCHORS = (np.array([[23, 27], [37, 58]]), np.array([[10, 14]]))  # of the layer, of the stand-in
STRIDES = (32, 16)
CLASSES = 3
NET_SIZE = 64


@dataclass(frozen=True)
class GoldenLayer:
    """The numbers of the layer, channels last; ``functions`` holds everything else by its golden key."""

    functions: dict
    head: np.ndarray  # (1, 2, 2, 2 * (5 + 3)) logits
    other_head: np.ndarray  # (1, 4, 4, 5 + 3) zeros
    truths: np.ndarray  # (1, 4, 5)

    def array(self, key):
        """A golden array as (1, rows, columns, channels)."""
        return channels_last(self.functions[key])


def channels_last(flat):
    return np.array(flat).reshape(2 * (5 + CLASSES), 2, 2).transpose(1, 2, 0)[None]


def golden_layer(folder):
    functions = json.loads((folder / "functions.json").read_text())
    truths = np.array(functions["yolo_truth_4x5"]).reshape(1, 4, 5)
    return GoldenLayer(functions, channels_last(functions["yolo_in"]), np.zeros((1, 4, 4, 5 + CLASSES)), truths)
