"""The command line: what it understands, what it answers at once, exit codes, and where its output goes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from yolov3 import commands
from yolov3.cli import build_parser
from yolov3.commands import training
from yolov3.train_settings import TrainSettings

COMMANDS = (
    *("demo", "train", "overfit", "val", "detect", "video", "export", "info", "compare-backbones"),
    *("anchors", "check-data", "convert", "download"),
)


def run_python(*arguments, folder, **options):
    """A real Python process in ``folder`` that can import the project."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": ""}
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=folder, env=environment, text=True, **options)


# --- help and start -----------------------------------------------------------------------------


HEAVY = {"matplotlib", "PIL", "yaml", "scipy", "tqdm"}


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import minidl", HEAVY),
        ("import yolov3", HEAVY | {"numpy"}),
        ("from yolov3.cli import build_parser; build_parser()", HEAVY | {"numpy"}),
    ],
)
def test_what_must_start_at_once_loads_nothing_heavy(tmp_path, code, heavy):
    listing = f"{code}; import sys; print(*sys.modules)"
    done = run_python("-c", listing, folder=tmp_path, capture_output=True, check=True)
    assert heavy.isdisjoint(done.stdout.split())


def test_help_in_a_process_of_its_own(tmp_path):
    listing = "import sys, atexit; atexit.register(lambda: print(*sys.modules)); sys.argv[1:] = ['--help']; "
    listing += "import runpy; runpy.run_module('yolov3', run_name='__main__')"
    done = run_python("-c", listing, folder=tmp_path, capture_output=True, check=True)
    for command in COMMANDS:
        assert command in done.stdout
    assert (HEAVY | {"numpy"}).isdisjoint(done.stdout.split())
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(succeeds, command):
    outcome = succeeds(command, "--help")
    assert outcome.lines[0].startswith(f"usage: yolov3 {command} ")
    # Every option is explained.
    parser = next(action for action in build_parser()._actions if action.choices).choices[command]
    assert all(action.help for action in parser._actions)


def test_documented_defaults_are_the_real_ones():
    def options(*arguments):
        return vars(build_parser().parse_args(arguments))

    train = options("train")
    assert (train["device"], train["project"], train["name"]) == (
        "auto",
        None,
        None,
    )  # a resumed run has its own folder
    detect = options("detect", "a.jpg", "--weights", "last.npz")
    assert (detect["conf_thres"], detect["iou_thres"], detect["project"]) == (0.25, 0.45, "runs/detect")
    val = options("val", "--data", "x", "--weights", "last.npz")
    assert (val["conf_thres"], val["split"], val["project"]) == (0.005, "val", "runs/val")
    assert options("demo")["steps"] == 1000


def test_documented_defaults_of_training_are_those_of_its_settings():
    assert training.TRAIN_OPTIONS.keys() <= vars(build_parser().parse_args(["train"])).keys()
    parser = next(action for action in build_parser()._actions if action.choices).choices["train"]
    help_of = {action.dest: action.help for action in parser._actions}
    for option, setting in training.TRAIN_OPTIONS.items():
        if option not in ("imgsz", "multi_scale", "local_batchnorm", "any_way_up"):  # depends on the preset; switches
            value = str(getattr(TrainSettings, setting))
            assert f"(default {value})" in help_of[option] or f"{value} (default" in help_of[option], option


@pytest.mark.parametrize(("text", "size"), [("416", (416, 416)), ("192x256", (192, 256)), ("64X32", (64, 32))])
def test_sizes_are_n_or_height_x_width(text, size):
    assert build_parser().parse_args(["info", "--imgsz", text]).imgsz == size


# --- wrong usage --------------------------------------------------------------------------------

TRAIN = ("train", "--data", "shapes")
DETECT = ("detect", "a.jpg", "--weights", "last.npz")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "COMMAND"),
        (("dance",), "dance"),
        (("detect", "a.jpg"), "--weights"),
        (("detect", "--weights", "last.npz"), "PICTURE"),
        (("val", "--weights", "last.npz"), "--data"),
        (("anchors",), "--data"),
        (("check-data",), "--data"),
        (("download",), "name"),
        ((*TRAIN, "--imgsz", "abc"), "'abc' is not a size: write N or HxW"),
        ((*TRAIN, "--imgsz", "64x64x64"), "is not a size"),
        ((*TRAIN, "--imgsz", "-64"), "--imgsz"),
        ((*TRAIN, "--imgsz", "64.0"), "is not a size"),
        ((*TRAIN, "--imgsz", "x"), "is not a size"),
        ((*TRAIN, "--batch", "0"), "'0' is not a whole number of at least 1"),
        ((*TRAIN, "--batch", "two"), "'two' is not a whole number"),
        ((*TRAIN, "--epochs", "-1"), "--epochs"),
        ((*TRAIN, "--epochs", "1.5"), "'1.5' is not a whole number"),
        ((*TRAIN, "--epochs", "9" * 5000), "--epochs"),
        ((*TRAIN, "--seed", "-1"), "--seed"),
        ((*TRAIN, "--epochs", "9" * 400), "has more than 18 digits"),
        ((*TRAIN, "--seed", "x"), "'x' is not a whole number of at least 0"),
        ((*TRAIN, "--lr", "fast"), "--lr"),
        ((*TRAIN, "--device", "tpu"), "'tpu'"),
        ((*TRAIN, "--ignore-thres", "1.1"), "'1.1' is not a number from 0 to 1"),
        ((*DETECT, "--conf-thres", "2"), "'2' is not a number from 0 to 1"),
        ((*DETECT, "--conf-thres", "nan"), "'nan' is not a number from 0 to 1"),
        ((*DETECT, "--iou-thres", "x"), "'x' is not a number from 0 to 1"),
        (("demo", "--steps", "0"), "'0' is not a whole number of at least 1"),
        (("anchors", "--data", "shapes", "--by", "luck"), "'luck'"),
        (("anchors", "--data", "shapes", "--clusters", "0"), "'0' is not a whole number"),
    ],
)
def test_wrong_usage_is_exit_code_2(yolov3, in_tmp_path, arguments, says):
    outcome = yolov3(*arguments)
    assert outcome.code == 2
    assert outcome.lines == []
    *usage, sentence = outcome.errors
    assert usage[0].startswith("usage: yolov3")
    assert re.match(r"yolov3( [a-z-]+)?: error: ", sentence)
    assert says in sentence
    assert os.listdir(in_tmp_path) == []


@pytest.mark.parametrize("command", [TRAIN, ("val", "--data", "shapes", "--weights", "last.npz"), DETECT])
def test_a_device_that_is_not_there(refused, in_tmp_path, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # as where it is not installed
    refused(*command, "--device", "cuda", says=["device 'cuda'", "CuPy cannot be imported"])
    assert os.listdir(in_tmp_path) == []


# --- other ends ---------------------------------------------------------------------------------


def ending_with(monkeypatch, error):
    """Let ``yolov3 info`` raise ``error``."""

    def fail(options):
        raise error

    monkeypatch.setattr(commands, "info", fail)


def test_running_out_of_memory(refused, monkeypatch):
    ending_with(monkeypatch, MemoryError())
    refused("info", says=["out of memory", "--imgsz"])


def test_control_c(yolov3, monkeypatch):
    ending_with(monkeypatch, KeyboardInterrupt())
    outcome = yolov3("info")
    assert outcome.code == 130
    assert outcome.errors == ["yolov3 info: stopped"]


def test_mistakes_of_the_program_are_not_hidden(yolov3, monkeypatch):
    ending_with(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        yolov3("info")


@pytest.mark.skipif(os.name != "posix", reason="the reader of a pipe can only leave first on POSIX")
@pytest.mark.parametrize("arguments", [["info", "yolov3-nano", "--imgsz", "32"], ["check-data", "--data", "shapes"]])
def test_a_reader_that_leaves_early(tmp_path, arguments):  # the first answer is longer than a buffer
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = run_python("-m", "yolov3", *arguments, folder=tmp_path, stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert done.stderr == ""
    assert done.returncode == 0


# --- every command, in this process -------------------------------------------------------------


def test_info_of_presets_and_checkpoints(succeeds, checkpoint):
    for model, size, total in [
        ("yolov3-nano", "32", "384,405"),
        ("yolov3-small", "32x64", "1,001,365"),
        ("yolov3-tiny", "32", "8,852,366"),
        ("darknet53", "32", "41,609,928"),
        (checkpoint, "64", "339,360"),
    ]:
        outcome = succeeds("info", model, "--imgsz", size)
        assert outcome.errors == []
        assert f"{total} trainable parameters" in outcome.lines
    assert "64 x  64 x   3" in succeeds("info", checkpoint).lines[1]  # its own size


def test_check_data_prints_both_parts(succeeds, voc):
    outcome = succeeds("check-data", "--data", voc)
    assert [line for line in outcome.lines if line.startswith("---")] == [f"--- {voc}, train", f"--- {voc}, val"]
    assert [line for line in outcome.lines if line.startswith("pictures")] == [
        "pictures  6 (0 without boxes)",
        "pictures  2 (0 without boxes)",
    ]
    assert outcome.errors == []
    assert "pictures  2 (0 without boxes)" in succeeds("check-data", "--data", voc, "--split", "test").lines


@pytest.mark.parametrize("by", ["band", "rank"])
@pytest.mark.parametrize("update", ["mean", "median"])
def test_anchors_are_printed_ready_to_paste(succeeds, by, update):
    arguments = ("anchors", "--data", "shapes", "--imgsz", "96x128", "--by", by, "--update", update, "--seed", 3)
    outcome = succeeds(*arguments)
    python, cfg = outcome.lines[-2:]
    groups = eval(python)
    assert list(groups) == [8, 16, 32]
    assert all(len(group) == 3 for group in groups.values())
    numbers = [number for stride in groups for pair in groups[stride] for number in pair]
    assert cfg.startswith("anchors = ")
    assert [float(text) for text in cfg.removeprefix("anchors = ").split(",")] == numbers
    assert "at 96x128: " in outcome.lines[-3]
    assert succeeds(*arguments).lines == outcome.lines
    assert len(eval(succeeds(*arguments, "--clusters", 6).lines[-2])[8]) == 2


def test_val_writes_results_and_pictures(in_tmp_path, succeeds, voc, checkpoint):
    outcome = succeeds("val", "--data", voc, "--weights", checkpoint, "--batch", 1, "--save-json")
    assert outcome.folder == str(Path("runs/val/exp"))
    assert outcome.lines[0].split() == ["class", "objects", "AP@0.5", "AP@[.5:.95]"]
    assert outcome.lines[-2].startswith("mAP@0.5 0.")
    assert {"detections.json", "precision_recall.png", "predictions.png", "results.json"} <= set(
        os.listdir(outcome.folder)
    )
    assert "%|" in outcome.stderr
    assert not any("%|" in line for line in outcome.lines)
    # The batch changes nothing, and neither does asking again.
    again = succeeds("val", "--data", voc, "--weights", checkpoint, "--batch", 8)
    assert again.folder == str(Path("runs/val/exp2"))
    assert again.lines[:-3] == outcome.lines[:-3]  # behind these: the speed, the headline, the folder
    assert again.lines[-2] == outcome.lines[-2]
    assert "detections.json" not in os.listdir(again.folder)


def test_where_results_go(in_tmp_path, succeeds, voc, checkpoint):
    options = ("--data", voc, "--weights", checkpoint, "--project", "out/of/the/way", "--name", "mine")
    assert succeeds("val", *options).folder == str(Path("out/of/the/way/mine"))
    assert succeeds("val", *options).folder == str(Path("out/of/the/way/mine2"))


# --- in processes of their own ------------------------------------------------------------------


def test_train_then_detect_as_from_a_terminal(tmp_path, voc):
    common = {"folder": tmp_path, "capture_output": True}
    train = ["--data", voc, "--imgsz", 64, "--epochs", 1, "--batch", 3]
    done = run_python("-m", "yolov3", "train", *train, **common)
    assert done.returncode == 0, done.stderr
    folder = done.stdout.splitlines()[-1]
    assert folder == str(Path("runs/train/exp"))
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    weights = Path(folder, "last.npz")
    done = run_python("-m", "yolov3", "detect", voc / "JPEGImages", "--weights", weights, **common)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(Path("runs/detect/exp"))
    assert len(os.listdir(tmp_path / "runs/detect/exp")) == 8


def test_a_refusal_as_seen_from_a_terminal(tmp_path):
    done = run_python("-m", "yolov3", "check-data", "--data", "absent", folder=tmp_path, capture_output=True)
    assert done.returncode == 1
    assert done.stderr.startswith("yolov3 check-data: absent: no such file or folder")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--resume", "x", "--epochs", "3"), "--epochs"),
        (("--resume", "x", "--name", "exp"), "--name"),
        (("--resume", "x", "--ignore-thres", "0.5"), "--ignore-thres"),
        (("--resume", "x", "--seed", "0"), "--seed"),
        (("--resume", "x", "--strict"), "--strict"),
        (("--weights", "x.npz", "--data", "shapes", "--anchors", "published"), "--anchors"),
        (("--weights", "x.npz", "--data", "shapes", "--lateral", "add"), "--lateral"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(refused, arguments, option):
    refused("train", *arguments, says=[f"leave out {option}"])


def test_anchors_for_a_network_with_two_strides(succeeds):
    outcome = succeeds("anchors", "--data", "shapes", "--model", "yolov3-tiny", "--by", "rank", "--imgsz", "96")
    assert outcome.lines[-2].startswith("{16: ((")
    assert "32: ((" in outcome.lines[-2]
    assert outcome.lines[-1].count(",") == 2 * 6 - 1


def test_anchors_that_cannot_be_shared(refused):
    refused(
        "anchors", "--data", "shapes", "--model", "yolov3-tiny", "--clusters", "9", says=["2 strides", "multiple of 2"]
    )
