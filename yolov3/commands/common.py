"""What several commands need."""

import sys

from yolov3.errors import UserError
from yolov3.wording import some_of


def open_data(source, split, strict, names=None):
    """A data set with boxes to learn or to find; what was wrong with it goes to stderr."""
    from yolov3.data.dataset import open_dataset
    from yolov3.data.split_problems import has_no_box

    dataset = open_dataset(source, split, strict, names)
    if has_no_box(dataset):
        classes = "" if names is None else f" of the network's classes {some_of(names)} (--names gives them others)"
        raise UserError(f"{source}: split {split!r} has no box{classes}: see yolov3 check-data --data {source}")
    for line in dataset.report.summary():
        say(f"{source}, {split}: {line}")
    return dataset


def speed(options):
    """How the network is to be made fast, as the command line says."""
    from minidl.inference import FuseSettings

    return FuseSettings(winograd=()) if options.low_memory else FuseSettings()


def choose_device(options):
    """Put the device to use in the place of the one asked for (``auto``).  Raises DeviceError, UserError."""
    from yolov3.devices import choose_device as choose

    options.device = choose(options.device, options.precision)
    if options.device == "emulated":
        say("the emulator runs CUDA kernels on the CPU, thread by thread: it is slow, and for learning")


def network_options(options):
    """What the command line says about the network, as arguments of :func:`yolov3.loading.load_detector`."""
    from minidl.nn import BATCHNORM_RULES

    return {
        "weights": options.weights,
        "cfg": options.cfg,
        "model": options.model,
        "names": options.names,
        "image_size": options.imgsz,
        "rule": BATCHNORM_RULES[options.batchnorm],
    }


def say(line):
    """Print a remark that is no result."""
    print(line, file=sys.stderr)


def is_given(options, name):
    """Whether an option without a default was given."""
    value = getattr(options, name)
    return value is not None and value is not False


def refuse(options, names, reason):
    """UserError if one of these options was given: better than to ignore it."""
    given = next((name for name in names if is_given(options, name)), None)
    if given:
        raise UserError(f"{reason}: leave out --{given.replace('_', '-')}")
