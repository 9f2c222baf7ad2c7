"""The README is true: its commands exist, and its table of networks says what the networks say."""

import re
import shlex

import numpy as np
import pytest

from minidl.nn import layer_table
from tests.conftest import PROJECT
from yolov3.checkpoint import Checkpoint, save_checkpoint
from yolov3.cli import build_parser
from yolov3.darknet.cfg import BUILTIN, builtin_cfg, read_cfg
from yolov3.draw import save_image
from yolov3.model import build_model

README = (PROJECT / "README.md").read_text()
NAMES = "demo|train|overfit|val|detect|video|export|anchors|check-data|convert|download|info|compare-backbones"
COMMANDS = re.findall(rf"(?<!/)\b(?:\.venv/bin/)?yolov3 ((?:{NAMES})\b[^`\n]*)", README)
NETWORKS = re.findall(
    r"\| `(yolov3[\w-]*)`(?: \((\d+) classes\))? \| ([\d,]+) \| ([\d.]+) billion at (\d+)x(\d+) \|", README
)
FAMILY = re.findall(r"\| ([^|]*`) \| ([\d.]+) billion at (\d+)x(\d+) \| ([\d,]+) \| ([\d,]+) \|", README)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command):
    command = command.replace("PICTURE...", "PICTURE").rstrip("\\:;,.) ")
    build_parser().parse_args(shlex.split(command))


def test_commands_were_found():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize(("name", "classes", "parameters", "billions", "height", "width"), NETWORKS)
def test_network_table(name, classes, parameters, billions, height, width):
    model = build_model(name, int(classes or 80))
    assert f"{model.parameter_count():,}" == parameters
    rows = layer_table(model, (int(height), int(width), 3))
    assert f"{sum(row.operations for row in rows) / 1e9:.2f}" == billions


@pytest.mark.parametrize(("names", "billions", "height", "width", "parameters", "file_bytes"), FAMILY)
def test_family_table(names, billions, height, width, parameters, file_bytes):
    for name in re.findall("`(.*?)`", names):
        plan = read_cfg(builtin_cfg(name), (int(height), int(width)))
        found = (f"{plan.operations / 1e9:.2f}", f"{plan.trainable:,}", f"{20 + 4 * plan.floats:,}")
        assert found == (billions, parameters, file_bytes)


def test_every_shipped_network_is_in_the_table():
    assert sorted(name for row in FAMILY for name in re.findall("`(.*?)`", row[0])) == sorted(BUILTIN)


def test_every_preset_is_in_the_table():
    assert [network[0] for network in NETWORKS] == ["yolov3", "yolov3-tiny", "yolov3-small", "yolov3-nano"]


def test_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (PROJECT / link).exists()] == []


def test_nothing_is_left_to_fill_in():
    assert re.findall(r"\b[A-Z]+_[A-Z_]+\b", README.replace("OPENBLAS_CORETYPE", "")) == []


def test_the_lines_of_python(tmp_path, monkeypatch, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    model = build_model("yolov3-nano", 3, seed=0)
    model.pyramid.branch_8.output.bias.data.reshape(3, -1)[0, 4:6] = 9  # sure of class 0 everywhere
    folder = tmp_path / "runs/demo/exp"
    folder.mkdir(parents=True)
    names = ["circle", "square", "triangle"]
    save_checkpoint(folder / "last.npz", Checkpoint(model, "yolov3-nano", "concat", names, (96, 96)))
    save_image(tmp_path / "photo.jpg", np.full((50, 60, 3), 128, np.uint8))
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert capsys.readouterr().out.startswith("[Detection(class_id=0, name='circle', score=0.99")
