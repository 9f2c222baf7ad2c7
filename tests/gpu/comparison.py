"""Programs that compute the same, measured in turns: what is printed and kept of them."""

import time
import traceback
from statistics import median

import numpy as np

from minidl.device import to_cpu
from tests.benchmarks.peers import relative_error
from tests.gpu.roofline import figures
from tests.gpu.stage import installed_torch
from tests.gpu.timing import free_memory, our_peak, sentence, take_turns

PYTORCH = "PyTorch"  # begins the name of each program of its
HEAD = (
    f"{'precision, program':<36}{'ms':>9}{'TFLOP/s':>9}{'GB/s':>7}{'roofline':>10}{'MB':>8}{'difference':>12}"
    f"{'ratio':>7}"
)


def compare(stage, case, precision, makers, layers, passes, seconds, rounds):
    """``{program: median seconds}`` of those that ran; all about them is printed and recorded.

    Parameters
    ----------
    case: such as ``batch 8``
    makers: ``{program: function that makes it}``; a program is a function without arguments that returns arrays, a
        number, or None.  The first is what the others are compared with: ``ratio`` is its time divided by theirs.
    layers, passes: as for :func:`tests.gpu.roofline.figures`
    seconds, rounds: when either is over, it ends; three rounds at least
    """
    rounds = 1 if stage.emulated else rounds
    programs, failed, peaks, results = {}, {}, {}, {}
    deadline = time.monotonic() + seconds
    for name, make in makers.items():
        try:
            programs[name] = make()
            results[name], peaks[name] = _first_run(programs[name], name, stage)
        except Exception as error:  # such as a lack of memory: the others shall be measured
            traceback.print_exc()
            programs.pop(name, None)
            failed[name] = sentence(error)
        free_memory(stage.device)
    taken, failed_later = take_turns(programs, stage.device, rounds, deadline, lambda: free_memory(stage.device))
    medians = {name: median(each) for name, each in taken.items()}
    ceilings = stage.found_by("environment").get("ceilings", {})
    first = next(iter(makers))
    rows = {name: {"failed": reason} for name, reason in (failed | failed_later).items()}
    for name, value in medians.items():
        rows[name] = figures(layers, precision, value, ceilings, passes) | {"rounds": len(taken[name])}
        if peaks[name]:
            rows[name]["peak_mb"] = peaks[name] / 1e6
        if name != first and first in medians:
            rows[name]["ratio"] = medians[first] / value
            rows[name]["difference"] = _difference(results.get(first), results[name])
    stage.record(f"{case}, {precision}", rows)
    for name, row in rows.items():
        print(_line(precision, name, row), flush=True)
    return medians


def sentence_of(case, medians, ours):
    """Such as ``batch 1 tf32: 1.50 ms, 0.50 of PyTorch's``, for the line at the end."""
    if ours not in medians:
        return f"{case}: failed"
    said = f"{case}: {1e3 * medians[ours]:.2f} ms"
    return f"{said}, {medians[ours] / medians[PYTORCH]:.2f} of {PYTORCH}'s" if PYTORCH in medians else said


def _first_run(program, name, stage):
    """(the numbers that it returns at first, the most bytes that it holds the next time, when all is compiled)."""
    result = _numbers(program())
    if name.startswith(PYTORCH):
        return result, _torch_peak(program, stage.torch_device)
    return result, our_peak(program, stage.device)


def _torch_peak(function, device):
    """The most bytes of the GPU that PyTorch's tensors hold during ``function()``; None on the CPU."""
    cuda = installed_torch().cuda
    if device != "cuda":
        function()
        return None
    cuda.reset_peak_memory_stats()
    function()
    cuda.synchronize()
    return cuda.max_memory_allocated()


def _numbers(result):
    """What a program returned as NumPy arrays; None where it returned nothing."""
    if result is None:
        return None
    arrays = result if isinstance(result, list | tuple) else [result]
    torch = installed_torch()
    return [
        each.float().cpu().numpy()
        if torch is not None and isinstance(each, torch.Tensor)
        else to_cpu(each)
        if hasattr(each, "shape")
        else np.float64(each)
        for each in arrays
    ]


def _difference(ours, theirs):
    if ours is None or theirs is None:
        return None
    return max(map(relative_error, ours, theirs))


def _line(precision, name, row):
    line = f"{f'{precision}, {name}':<36}"
    if "failed" in row:
        return line + row["failed"]
    line += f"{row['ms']:>9.3f}{row['tflops']:>9.2f}{row['gb_per_s']:>7.0f}"
    line += f"{row['of_roofline']:>10.1%}" if "of_roofline" in row else " " * 10
    line += f"{row['peak_mb']:>8.0f}" if "peak_mb" in row else " " * 8
    line += f"{row['difference']:>12.1e}" if row.get("difference") is not None else " " * 12
    return line + (f"{row['ratio']:>7.2f}" if "ratio" in row else "")
