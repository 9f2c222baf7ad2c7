"""Sizes of windows sliding over an image: the arithmetic that every device's kernels share."""

from numbers import Integral


def pair(value, what, least=0):
    """``value`` as ``(vertical, horizontal)``: one number stands for both.

    Raises ValueError for anything but one whole number or two, none below ``least``.
    """
    numbers = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(numbers) != 2 or not all(isinstance(number, Integral) and number >= least for number in numbers):
        raise ValueError(
            f"{what} must be one whole number or two (vertical, horizontal) of at least {least}, not {value!r}"
        )
    return numbers


def whole_number(value, what, least):
    """``value``; raises ValueError unless it is a whole number of at least ``least``."""
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{what} must be a whole number of at least {least}, not {value!r}")
    return value


def window_count(size, kernel, stride, padding_total):
    """How many windows of ``kernel`` fit: ``(size + padding_total - kernel) // stride + 1``."""
    return (size + padding_total - kernel) // stride + 1


def conv_output_size(image_size, kernel_size, stride, padding):
    """Height and width of a convolution's output; every argument is ``(vertical, horizontal)``.

    ``padding`` is the number of zeros added on *each* side.  Raises ValueError where not one window fits.
    """
    output = tuple(
        window_count(size, kernel, step, 2 * pad)
        for size, kernel, step, pad in zip(image_size, kernel_size, stride, padding, strict=True)
    )
    if min(output) < 1:
        raise ValueError(
            f"a {kernel_size[0]}x{kernel_size[1]} window does not fit into a {image_size[0]}x{image_size[1]} image "
            f"with {padding[0]}x{padding[1]} padding"
        )
    return output
