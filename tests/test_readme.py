"""The README is true: its commands exist, and its table of networks says what the networks say."""

import re
import shlex

import pytest

from minidl.nn import layer_table
from tests.conftest import PROJECT
from yolov3.cli import build_parser
from yolov3.model import build_model

README = (PROJECT / "README.md").read_text()
COMMANDS = re.findall(
    r"(?<!/)\b(?:\.venv/bin/)?yolov3 ((?:demo|train|val|detect|anchors|check-data|download|info)\b[^`\n]*)", README
)
NETWORKS = re.findall(
    r"\| `(yolov3[\w-]*)`(?: \((\d+) classes\))? \| ([\d,]+) \| ([\d.]+) billion at (\d+)x(\d+) \|", README
)


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


def test_every_preset_is_in_the_table():
    assert [network[0] for network in NETWORKS] == ["yolov3", "yolov3-tiny", "yolov3-small", "yolov3-nano"]
