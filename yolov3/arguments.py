"""What a word on the command line can be: each function turns text into a value, or says what is wrong with it."""

import argparse
import math

MOST_DIGITS = 18  # of whole numbers: with some more even floating-point numbers end


def image_size(text):
    """``416`` or ``192x256`` (height x width) as (height, width)."""
    sides = text.lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write N or HxW, such as 416 or 192x256")
    return int(sides[0]), int(sides[-1])


def positive_integer(text):
    """A whole number of at least 1."""
    return _whole_number(text, 1)


def minutes(text):
    """A number of minutes, at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes, at least 0")
    return value


def natural_number(text):
    """A whole number of at least 0."""
    return _whole_number(text, 0)


def _whole_number(text, least):
    if len(text) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} has more than {MOST_DIGITS} digits")
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def fraction(text):
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value
