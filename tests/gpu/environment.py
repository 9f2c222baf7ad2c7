"""The machine and its programs; and two ceilings, measured: of multiplying and of moving numbers."""

import importlib.metadata
import json
import platform
import shutil
import subprocess
import time
from datetime import date

from minidl.device import array_library
from tests.gpu.stage import installed_torch, main
from tests.gpu.timing import take_turns

PACKAGES = ("numpy", "cupy-cuda12x", "cupy-cuda13x", "torch", "triton", "pytest")
PROGRAMS = ("nvcc", "g++", "compute-sanitizer", "ncu")
NVIDIA_SMI = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.max.memory"
COPIED_BYTES = 1 << 30
MATRIX_SIDE = 8192
ROUNDS = 5


def run(stage):
    stage.record("date", date.today().isoformat())
    stage.record("python", platform.python_version())
    stage.record("packages", {name: version for name in PACKAGES if (version := _version(name))})
    stage.record("programs", {name: shutil.which(name) for name in PROGRAMS})
    stage.record("device", describe_device(stage.device))
    print(json.dumps(stage.found_by(stage.name), indent=1))
    ceilings = measure_ceilings(stage)
    stage.record("ceilings", ceilings)
    speeds = ", ".join(f"{name} {value / 1e12:.3g} TFLOP/s" for name, value in ceilings.items() if name != "bytes")
    name = stage.found_by(stage.name)["device"]["name"]
    stage.say(f"{name}; ceilings: {speeds}, {ceilings['bytes'] / 1e9:.0f} GB/s")


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe_device(device):
    """What the driver says about the GPU."""
    if device != "cuda":
        return {"name": "emulator"}
    runtime = array_library(device).cuda.runtime
    properties = runtime.getDeviceProperties(runtime.getDevice())
    found = {
        "name": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory": properties["totalGlobalMem"],
        "second_level_cache": properties["l2CacheSize"],
        "cuda_of_driver": runtime.driverGetVersion(),
        "cuda_of_cupy": runtime.runtimeGetVersion(),
    }
    torch = installed_torch()
    if torch is not None:
        found |= {"cuda_of_torch": torch.version.cuda, "cudnn_of_torch": torch.backends.cudnn.version()}
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={NVIDIA_SMI}", "--format=csv,noheader"]
        found["nvidia_smi"] = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return found


def measure_ceilings(stage):
    """``{"bytes": bytes read and written per second by a copy, precision: operations per second}``.

    The operations are those of PyTorch's product of two large matrices of random numbers, which the vendor's library
    computes: the share of it that a convolution reaches is the share of what is in reach.  Without PyTorch there are
    the bytes alone.
    """
    deadline = time.monotonic() + 10
    xp = array_library(stage.device)
    source = xp.zeros(COPIED_BYTES // (1000 if stage.emulated else 1), "uint8")
    target = xp.zeros(source.shape, "uint8")

    def copy():
        target[...] = source

    seconds, _ = take_turns({"copy": copy}, stage.device, ROUNDS, deadline)
    ceilings = {"bytes": 2 * source.nbytes / min(seconds["copy"])}
    torch = installed_torch()
    if torch is None:
        return ceilings
    side = 256 if stage.emulated else MATRIX_SIDE
    programs = {precision: _product(torch, stage, side, precision) for precision in ("fp32", "tf32", "fp16")}
    seconds, _ = take_turns(programs, stage.device, ROUNDS, deadline)
    return ceilings | {precision: 2 * side**3 / min(each) for precision, each in seconds.items()}


def _product(torch, stage, side, precision):
    dtype = torch.float16 if precision == "fp16" else torch.float32
    a, b = torch.randn((2, side, side), dtype=dtype, device=stage.torch_device)
    out = torch.empty_like(a)

    def product():
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.matmul(a, b, out=out)

    return product


if __name__ == "__main__":
    main(run, __doc__)
