"""Random and mutated cfg texts: always a plan or one clear sentence, and soon."""

import time
from functools import cache
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidl import Tensor, no_grad
from yolov3.darknet.cfg import BUILTIN, builtin_cfg, format_cfg, parse_cfg
from yolov3.darknet.cfg_layers import READERS
from yolov3.darknet.kinds import MaxPool
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.darknet.table import layer_table
from yolov3.errors import UserError

FUZZ = settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
MOST_WORK = 3e8  # multiplications and additions of a network that is run: far below a second
SECONDS = 60  # far above what a busy machine needs for any of these

PIECES = [
    *(f"[{name}]\n" for name in (*READERS, "net", "lrn", "")),
    *("filters=25\n", "size=3\n", "size=99\n", "stride=2\n", "stride=1000000\n", "pad=1\n", "padding=2\n", "pad=\n"),
    *("layers=-1\n", "layers=0,-1\n", "layers=99\n", "from=-2\n", "from=1\n", "activation=leaky\n", "activation=\n"),
    *("anchors=1,2\n", "anchors=1,2,3\n", "mask=0\n", "num=1\n", "num=999999\n", "classes=20\n", "groups=2\n"),
    *("batch_normalize=1\n", "softmax=1\n", "output=1000000\n", "width=16384\n", "height=\n", "=\n", "#", "\r\n", "\n"),
    *(
        "temperature=1e-9\n",
        "probability=nan\n",
        "scale=inf\n",
        "9" * 5000,
        "-",
        ",",
        "\0",
        "\ufeff",
        "\u2028",
        "é",
        "[",
    ),
]
NET = "[net]\nwidth=64\nheight=64\nchannels=3\n"


@cache
def shipped(name):
    return builtin_cfg(name).read_text()


def check(text):
    """The text gives a plan that can be printed, written and read again, or it is refused."""
    start = time.monotonic()
    plan, sentence = plan_or_refusal(text)
    if plan:
        assert layer_table(plan)
        again = parse_cfg(format_cfg(plan), "again.cfg")
        assert (again.input_shape, again.layers) == (plan.input_shape, plan.layers)
        run(plan)
    else:
        assert sentence.startswith("fuzz.cfg")
        assert "\n" not in sentence
        assert len(sentence) < 1000
    assert time.monotonic() - start < SECONDS


def run(plan):
    """What is accepted must run as well, unless it is too large for a test."""
    work = sum(layer.operations + prod(layer.output_shape) * window(layer.kind) for layer in plan.layers)
    if work > MOST_WORK or sum(layer.weights for layer in plan.layers) > MOST_WORK / 10:
        return
    network = ConfiguredNetwork(plan, seed=0).eval()
    with no_grad(), np.errstate(all="ignore"):
        outputs = network(Tensor(np.zeros((1, *plan.input_shape), np.float32)))
    shapes = [head.shape for head in outputs] if plan.detections else [outputs.shape]
    wanted = [(1, *layer.output_shape) for layer in plan.detections]
    assert shapes == (wanted or [(1, prod(plan.layers[-1].output_shape))])


def window(kind):
    """How many numbers a pool looks at for each that it gives."""
    return kind.size**2 if isinstance(kind, MaxPool) else 1


def plan_or_refusal(text):
    try:
        return parse_cfg(text, "fuzz.cfg", report=lambda sentence: None), None
    except UserError as error:
        return None, str(error)


@FUZZ
@given(st.text())
def test_random_text(text):
    check(text)
    check(NET + text)


@FUZZ
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_random_pieces(text):
    check(text)
    check(NET + text)


def mutations(name):
    """Strategy: the shipped text with a few lines deleted, doubled, swapped or replaced, or characters changed."""
    lines = shipped(name).splitlines(keepends=True)
    place = st.integers(0, len(lines) - 1)
    change = st.one_of(
        st.tuples(st.just("delete"), place),
        st.tuples(st.just("double"), place),
        st.tuples(st.just("replace"), place, st.sampled_from(PIECES)),
        st.tuples(st.just("swap"), place, place),
        st.tuples(st.just("character"), place, st.integers(0, 30), st.sampled_from([*"0123456789-=[],.#e \n", "\0"])),
        st.tuples(st.just("cut"), place),
    )
    return st.lists(change, min_size=1, max_size=4).map(lambda changes: apply(lines, changes))


def apply(lines, changes):
    lines = list(lines)
    for name, place, *rest in changes:
        line = lines[place]
        match name:
            case "delete":
                lines[place] = ""
            case "double":
                lines[place] = line * 2
            case "replace":
                (lines[place],) = rest
            case "swap":
                lines[place], lines[rest[0]] = lines[rest[0]], line
            case "character":
                lines[place] = line[: rest[0]] + rest[1] + line[rest[0] + 1 :]
            case "cut":
                lines[place:] = [""] * (len(lines) - place)
    return "".join(lines)


@FUZZ
@given(st.sampled_from(BUILTIN).flatmap(mutations))
def test_mutated_files(text):
    check(text)


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov2-voc", "darknet19"])
def test_cut_after_every_line(name):
    lines = shipped(name).splitlines(keepends=True)
    for count in range(len(lines)):
        check("".join(lines[:count]))


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov2-voc"])
def test_every_line_deleted_or_doubled(name):
    lines = shipped(name).splitlines(keepends=True)
    for place, line in enumerate(lines):
        check("".join([*lines[:place], *lines[place + 1 :]]))
        check("".join([*lines[:place], line, *lines[place:]]))


@pytest.mark.parametrize(
    "text",
    [
        "[net]\n" * 100_000,
        NET + "[route]\nlayers=0\n" * 50_000,
        NET + "[avg]\n" + "[route]\nlayers=-1,-1\n" * 40_000,
        NET + "[avg]\n[route]\nlayers=" + "0," * 400_000 + "0",
        NET + "[upsample]\nstride=1\n" * 40_000,
        NET + "[conv]\nfilters=1000000\n" * 30_000,
        NET + "[conv]\nfilters=6\n" + "[route]\nlayers=0\n[yolo]\nanchors=1,2\nclasses=1\n" * 22_000,
        NET + "[yolo]\nnum=1000000\n",
        NET + "[yolo]\nnum=400000\nanchors=" + "1," * 400_000 + "1",
        NET + "[conv]\nfilters=2400000\n[region]\nclasses=1\nnum=400000\nanchors=" + "1," * 799_999 + "1",
        NET + "".join(f"a{number}=1\n" for number in range(80_000)) + "[avg]\n",
        NET + "[conv]\nfilters=" + " " * 900_000 + "x",
        NET + "#" * 900_000,
        " " * 900_000,
        " #" * 450_000,
        "[" * 900_000,
    ],
    ids=range(16),
)
def test_long_texts_do_not_hang(text):
    check(text)
