"""Inputs of one operation must lie on one device."""

from numbers import Number

from minidl.device import array_library, device_of


def check_devices(operation, *tensors):
    """ValueError, naming the operation and the devices, unless all tensors lie on one device; None is skipped."""
    kind = type(tensors[0].data)
    for each in tensors[1:]:
        if each is not None and type(each.data) is not kind:
            break
    else:
        return  # arrays of one class: the usual case, found without asking for devices
    devices = list(dict.fromkeys(device_of(each.data) for each in tensors if each is not None))
    if len(devices) > 1:
        raise ValueError(
            f"{operation}: the inputs lie on different devices, {' and '.join(devices)}; "
            "move the model with model.to(device), arrays with minidl.device.to_device(array, device)"
        )


def beside(values, array, operation, dtype=None):
    """A number, a list or an array on the device of ``array``, for an operation on both.

    ``dtype``: the number type to turn them into, by default that of ``array``.  What comes from the CPU is copied to
    a GPU.  Raises ValueError for an array on another device: nothing is copied back unasked.
    """
    device, own = device_of(array), device_of(values)
    if own not in ("cpu", device):
        raise ValueError(f"{operation}: the inputs lie on different devices, {device} and {own}")
    xp, dtype = array_library(device), array.dtype if dtype is None else dtype
    if isinstance(values, Number):
        return xp.full((), values, dtype)  # filled where it is needed: no copy
    return xp.asarray(values, dtype=dtype)
