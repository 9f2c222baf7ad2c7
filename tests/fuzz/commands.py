"""Damage to command lines: a file with one argument on each line stands for them."""

import io
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from tests.fuzz.mutate import NUMBERS, WORDS
from yolov3.cli import build_parser, main

# Where to write is for the person to say, so that no path is among these words; no system passes on a NUL.
VALUES = [text for text in (*NUMBERS, *WORDS) if not set("/\0\\") & set(text)]

RUN = {  # commands that take milliseconds; a training is only prepared
    "info": "info n.cfg --imgsz 64",
    "info2": "info last.npz --imgsz 64x32",
    "check": "check-data --data voc --split train --strict",
    "anchors": "anchors --data voc --clusters 9 --imgsz 64 --seed 1 --by band --update mean --model yolov3-nano",
    "convert": "convert voc --to yolo --out new --link",
    "export": "export --weights last.npz --format darknet --reader opencv --project runs --name exp --imgsz 64",
    "detect": "detect p.png --weights n.weights --cfg n.cfg --names n.names --conf-thres 0.1 --iou-thres 0.4",
    "detect2": "detect voc/JPEGImages p*.png --weights last.npz --imgsz 32 --save-txt --save-json --max-det 5",
    "train": "train --data voc --model yolov3-nano --imgsz 64 --epochs 2 --batch 2 --lr 0.01 --seed 1 --momentum 0.1",
    "train2": "train --data voc --weights last.npz --epochs 3 --ignore-thres 0.5 --save-every 1 --name exp",
    "resume": "train --resume run.npz",
}
PARSED = {
    "demo": "demo --steps 10 --seed 1 --device cpu --precision fp32 --project runs",
    "overfit": "overfit --data voc --steps 5 --batch 2 --lr 0.1 --strict",
    "val": "val --weights last.npz --data voc --split val --batch 2 --conf-thres 0.1 --iou-thres 0.5 --save-json",
    "video": "video v.mp4 --weights last.npz --fps 10 --frames 3 --max-det 4 --low-memory",
    "backbones": "compare-backbones --repeat 2 --imgsz 64",
    "download": "download bccd --folder datasets",
}


def files_of(commands):
    """``{path: content}``, as samples have them."""
    return {f"{name}.arguments": "\n".join(line.split()).encode() for name, line in commands.items()}


def mutated_arguments(content, random):
    """Arguments replaced, removed, doubled or swapped."""
    arguments = content.decode().split("\n")
    for _ in range(random.choice((1, 1, 2, 3))):
        place, other = random.randrange(len(arguments)), random.randrange(len(arguments))
        change = random.randrange(14)
        numbers = [index for index, argument in enumerate(arguments) if argument[0:1].isdecimal()]
        if change >= 8 and numbers:
            arguments[random.choice(numbers)] = random.choice((*NUMBERS, "2", "7", "32", "96", "1000000"))
        elif change <= 3:
            arguments[max(place, 1) % len(arguments)] = random.choice(VALUES).replace("\n", " ")
        elif change == 4:
            del arguments[place]
        elif change == 5:
            arguments.insert(place, arguments[other])
        elif change == 6:
            arguments[place], arguments[other] = arguments[other], arguments[place]
        else:
            arguments[place] += random.choice(("=", "=1", "x", "0", "-"))
        arguments = arguments or ["info"]
    return "\n".join(arguments).encode("utf-8", "surrogatepass")


class Refused(Exception):
    """A command ended with exit code 1 or 2; the message is what it said."""


def _arguments(target):
    return target.read_bytes().decode("utf-8", "surrogatepass").split("\n")


_parser = build_parser()


def parse(folder, target):
    """Only understand the arguments."""
    _exit_code(lambda: _parser.parse_args(_arguments(target)))


def run(folder, target):
    """Run the command in its folder, with trainings that end before their first step."""
    for made in ("new", "new.unfinished", "runs"):
        shutil.rmtree(folder / made, ignore_errors=True)
    before = os.getcwd()
    os.chdir(folder)
    try:
        with patch("yolov3.train.TrainingRun.run", lambda *_: None):
            _exit_code(lambda: main(_arguments(target)))
    finally:
        os.chdir(before)


def _exit_code(call):
    """Refused for exit codes 1 and 2, which must come with a sentence and without a traceback."""
    errors = io.StringIO()
    code = 0
    with redirect_stderr(errors), redirect_stdout(io.StringIO()):
        try:
            call()
        except SystemExit as stopped:
            code = stopped.code or 0
    said = errors.getvalue()
    assert "Traceback" not in said, said
    assert code in (0, 1, 2), code
    if code:
        lines = said.strip("\n").split("\n")
        assert lines[-1].startswith("yolov3"), said
        raise Refused(lines[-1][:1000])  # argparse says again what it was given, however long
