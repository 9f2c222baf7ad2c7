"""Networks for the tests of the original's files: small ones by hand, with random numbers."""

from tests.minidl.small_networks import randomised
from yolov3.darknet import kinds
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.darknet.plan import make_plan


def conv(filters, size=3, stride=1, batch_normalize=True, activation="leaky", padding=None):
    """A convolutional layer as most are."""
    padding = size // 2 if padding is None else padding
    return kinds.Convolutional(filters, size, stride, padding, batch_normalize, activation)


def configured(kind_list, input_shape=(32, 32, 3), seed=0):
    """A random :class:`ConfiguredNetwork` of these kinds."""
    return randomised(ConfiguredNetwork(make_plan(kind_list, input_shape), seed), seed)


# Every kind of layer that gives numbers, on a 32x32 picture; comments give the output's shape.
DETECTOR = [
    conv(8),  # 0  32x32x8
    conv(16, 3, 2),  # 1  16x16x16
    conv(8, 1),  # 2  16x16x8
    conv(16, 3, activation="linear"),  # 3  16x16x16
    kinds.Shortcut(1, "leaky"),  # 4  16x16x16
    kinds.MaxPool(5, 1, 4),  # 5  16x16x16
    kinds.Route((4,)),  # 6  16x16x16
    kinds.MaxPool(2, 2, 1),  # 7  8x8x16
    conv(16, 3, 1, activation="relu"),  # 8  8x8x16
    kinds.Dropout(0.5),  # 9  8x8x16
    kinds.Route((8, 7)),  # 10  8x8x32
    conv(16, 1, 1, False, "linear"),  # 11  8x8x16
    kinds.Yolo((2, 3), ((5, 6), (9, 8), (13, 20), (30, 25)), 3, 0.7),  # 12  stride 4
    kinds.Route((8,)),  # 13  8x8x16
    kinds.Upsample(2),  # 14  16x16x16
    kinds.Route((14, 4)),  # 15  16x16x32
    conv(16, 3, 1, False, "leaky"),  # 16  16x16x16
    conv(16, 1, 1, False, "linear"),  # 17  16x16x16
    kinds.Yolo((0, 1), ((5, 6), (9, 8), (13, 20), (30, 25)), 3, 0.7),  # 18  stride 2
]
CLASSIFIER = [
    conv(8, 7, 2),  # 0  16x16x8
    kinds.MaxPool(3, 2, 2),  # 1  8x8x8
    conv(16, 3, 2, activation="linear"),  # 2  4x4x16
    kinds.Shortcut(1, "leaky"),  # 3  4x4x16: half the size, twice the channels of its source
    kinds.Connected(12, True, "leaky"),  # 4  12
    kinds.Dropout(0.5),  # 5  12
    kinds.Connected(10, False, "logistic"),  # 6  10
    kinds.Softmax(2, 1.5),  # 7  10
    kinds.Cost(),  # 8
]
