"""The layers of the house, read from the imports themselves: they point down only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

# Higher layers may import lower ones and their own; those of one rank do not know each other.
RANKS = {
    "minidl.device": 0,
    "minidl.collective": 0.5,
    "minidl.kernels": 1,
    "minidl.tensor": 1,
    "minidl.ops": 2,
    "minidl.nn": 3,
    "minidl.optim": 3,
    "minidl.gradcheck": 3,
    "minidl.serialize": 3,
    "minidl.schedules": 3,
    "minidl.loss_scale": 3,
    "minidl.average": 3.2,
    "minidl.inference": 3.5,
    "minidl": 4,
    "yolov3": 5,  # boxes, anchors, decoding, drawing and all else that is not named below
    "yolov3.darknet.cfg_text": 5.3,
    "yolov3.darknet.names": 5.6,
    "yolov3.model": 6,
    "yolov3.loss": 6,
    "yolov3.data": 6,
    "yolov3.darknet": 7,
    "yolov3.checkpoint": 7,
    "yolov3.train_settings": 7,
    "yolov3.preflight": 7,
    "yolov3.resume": 8,
    "yolov3.loading": 8,
    "yolov3.evaluate": 8,
    "yolov3.onnx_layers": 8,
    "yolov3.start": 9,
    "yolov3.learner": 9,
    "yolov3.label_figure": 8,
    "yolov3.tensorboard": 8,
    "yolov3.training_log": 9,
    "yolov3.onnx_export": 9,
    "yolov3.detect": 9,
    "yolov3.frames": 7,
    "yolov3.video": 10,
    "yolov3.train": 10,
    "yolov3.overfit": 11,
    "yolov3.demo": 11,
    "yolov3.commands": 12,
    "yolov3.cli": 13,
    "yolov3.__main__": 14,
}


def module_name(path):
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source):
    """Every module that a source text imports, at its top or inside a function.

    ``from a import b`` counts as ``a.b``, as ``b`` may be a module.  A text given to import_module counts as well.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (each.value for each in node.args if isinstance(each, ast.Constant))


def layer_of(module):
    """The longest entry of RANKS that contains the module; None for other packages."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in RANKS), None)


def broken_rules(module, imported):
    """What is wrong with ``module`` importing ``imported``."""
    layer, target = layer_of(module), layer_of(imported)
    if imported.split(".")[0] == "cupy" and module != "minidl.device":
        yield "only minidl.device may know of cupy"
    if target is None or target == layer:
        return
    if layer.startswith("yolov3") and target == "minidl.kernels":
        yield "yolov3 never imports the kernels"
    if RANKS[target] >= RANKS[layer] and (module, imported) not in ALLOWED:
        yield f"{layer} must not import {target}"


ALLOWED = {
    # The one decision about devices: kernels_for() names the package it picks, by name, when it is called.
    ("minidl.device", "minidl.kernels.cpu"),
    # `from yolov3 import Detector` looks it up when it is asked for.
    ("yolov3", "yolov3.detect"),
}

FILES = sorted([*PROJECT.glob("minidl/**/*.py"), *PROJECT.glob("yolov3/**/*.py")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_imports_point_down(path):
    module = module_name(path)
    found = {f"{rule} ({each})" for each in imports(path.read_text()) for rule in broken_rules(module, each)}
    assert not found, f"{module}: {sorted(found)}"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("minidl.kernels.cpu.conv", "from minidl.tensor import Tensor"),
        ("minidl.tensor", "import minidl.kernels.shapes"),
        ("minidl.tensor", "def f():\n    from minidl.kernels import cpu"),
        ("minidl.ops.conv", "from minidl import nn"),
        ("minidl.ops.conv", "from minidl.nn.layers import Conv2d"),
        ("minidl.nn.layers", "import yolov3.boxes"),
        ("minidl.optim", "from minidl import nn"),
        ("yolov3.decode", "from minidl.kernels.batchnorm_rules import STANDARD"),
        ("yolov3.decode", "from minidl import kernels"),
        ("yolov3.decode", "importlib.import_module('minidl.kernels.cpu')"),
        ("minidl.ops.loss", "import cupy as cp"),
        ("minidl.device", "from minidl.ops import conv"),
    ],
)
def test_the_rules_notice_what_is_forbidden(module, source):
    assert any(list(broken_rules(module, each)) for each in imports(source))


def test_every_module_has_a_layer():
    assert len(FILES) > 30
    assert {layer_of(module_name(path)) for path in FILES} == set(RANKS)


def test_import_minidl_loads_nothing_heavy():
    heavy = ("PIL", "matplotlib", "yaml", "tqdm", "scipy", "cv2", "cupy", "torch", "threadpoolctl", "multiprocessing")
    code = f"import sys, minidl; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
