"""The same kernels on the same inputs: GPU against emulator, and both against the CPU's own kernels."""

import time

import numpy as np

from minidl.device import to_cpu
from tests.gpu.calls import all_calls
from tests.gpu.stage import main

# Largest difference allowed, relative to the largest number of a result.  TF32 keeps 10 bits after the binary point, as
# float16 does: half a unit in the last of them is 2^-11; what is a float32 all the way differs by the order of sums.
TOLERANCES = {"fp32": 2e-5, "tf32": 2e-3, "fp16": 4e-3}
FEW = ("3x3",)  # convolutions of the miniature


def run(stage):
    devices = ("cpu", "emulated") if stage.emulated else ("cpu", "emulated", "cuda")
    calls = [call for call in all_calls(FEW) if call.precision != "fp16"] if stage.emulated else all_calls()
    pairs = [(first, second) for i, first in enumerate(devices) for second in devices[i + 1 :]]
    print(
        f"{'largest difference, relative to the largest number':<52}" + "".join(f"{_name(each):>18}" for each in pairs)
    )
    worst, wrong = dict.fromkeys(map(_name, pairs), 0.0), []
    begin = time.monotonic()
    for call in calls:
        results = {device: [to_cpu(each) for each in call.run(device)] for device in devices}
        found = {_name(pair): max(map(difference, *(results[device] for device in pair))) for pair in pairs}
        for pair, value in found.items():
            worst[pair] = max(worst[pair], value)
        if not all(value <= TOLERANCES[call.precision] for value in found.values()):
            wrong.append(str(call))
        print(f"{call!s:<52}" + "".join(f"{value:>18.1e}" for value in found.values()), flush=True)
        stage.record(str(call), found)
    seconds = time.monotonic() - begin
    stage.say(
        f"{len(calls) - len(wrong)} of {len(calls)} calls agree in {seconds:.0f} s; largest differences: "
        + ", ".join(f"{pair} {value:.1e}" for pair, value in worst.items())
    )
    if wrong:
        raise SystemExit("these do not agree: " + "; ".join(wrong))


def _name(pair):
    return "-".join(pair)


def difference(a, b):
    """The largest difference of two arrays, relative to the largest number of the first; infinite where one has NaN."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        return np.inf
    found = np.abs(a - b).max(initial=0) / max(np.abs(a).max(initial=0), 1e-6)
    return float(found) if np.isfinite(found) else np.inf


if __name__ == "__main__":
    main(run, __doc__)
