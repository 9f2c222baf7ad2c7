"""Generated inputs for every parser, the same ones in each run; ``python -m tests.fuzz`` makes as many as one likes."""

import random
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import __main__ as long_run
from tests.fuzz.guard import Misbehaved, guarded
from tests.fuzz.inputs import Workbench

NAMES = (
    *("VOC .xml", "VOC list", "data.yaml", "YOLO labels", "picture list", "COCO .json", "Darknet .data", "Roboflow"),
    *(".cfg .weights", "serialize", "checkpoint", "run", "archive", "arguments", "commands", "video .mp4"),
    *(f"picture .{kind}" for kind in ("jpg", "png", "gif", "bmp", "tif", "webp", "ppm")),
)
SLOW = ("checkpoint", "run", "commands")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Workbench(tmp_path_factory.mktemp("fuzz"))


def test_every_parser_has_its_row(bench):
    assert set(bench.parsers) == set(NAMES) - (set() if "video .mp4" in bench.parsers else {"video .mp4"})


@pytest.mark.parametrize("name", NAMES)
def test_valid_or_refused_with_a_sentence(bench, name):
    if name not in bench.parsers:
        pytest.skip("videos need PyAV, which is not installed")

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=10 if name in SLOW else 50,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def check(rng):
        bench.try_input(name, rng)

    check()


def test_the_same_seed_makes_the_same_input(bench):
    made = []
    for _ in range(2):
        bench.try_seed("COCO .json", "0/5")
        path, _ = bench.damaged
        made.append(path.read_bytes())
    assert made[0] == made[1] != bench.parsers["COCO .json"].files["instances_train.json"]


# --- the guard notices what it is there for -------------------------------------------------------


@pytest.mark.parametrize(
    "deed",
    [
        "__import__('os').system('true')",
        "__import__('subprocess').run(['true'])",
        "__import__('pickle').loads(b'cos\\nsystem\\n.')",
        "open(outside, 'w')",
        "__import__('os').mkdir(outside)",
        "__import__('socket').create_connection(('127.0.0.1', 9))",
        "exec('1')",
    ],
)
def test_what_a_parser_may_not_do_is_noticed(tmp_path, deed):
    code, outside = compile(deed, __file__, "eval"), tmp_path / "outside"
    (tmp_path / "watched").mkdir()
    with pytest.raises(Misbehaved), guarded(tmp_path / "watched"), suppress(Exception):
        eval(code, {"outside": outside})
    assert not outside.exists()


def test_a_parser_that_hangs_or_fills_the_memory_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fuzz.guard.SECONDS", 0.2)
    with pytest.raises(Misbehaved, match="seconds"), guarded(tmp_path):
        time.sleep(60)
    monkeypatch.setattr("tests.fuzz.guard.MEGABYTES", -1)
    with pytest.raises(Misbehaved, match="MB of memory"), guarded(tmp_path):
        pass


def test_a_run_is_counted_continued_and_keeps_its_failures(tmp_path, monkeypatch, capsys):
    arguments = ["fuzz", "--inputs", "40", "--only", "COCO .json", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    assert long_run.main() == 0
    first = capsys.readouterr().out.split("all ")[1].split()
    assert first[:1] == ["40"]
    assert int(first[1]) + int(first[2]) == 40
    assert min(int(first[1]), int(first[2])) > 5
    assert long_run.main() == 0  # nothing is left to do
    assert capsys.readouterr().out.split("all ")[1].split()[:4] == first[:4]

    def broken(dataset):
        raise ZeroDivisionError

    monkeypatch.setattr("sys.argv", [*arguments, "--seed", "1"])
    own_bench = Workbench(tmp_path / "work", ["COCO .json"])
    monkeypatch.setattr("tests.fuzz.parsers.check_dataset", broken)
    monkeypatch.setattr("tests.fuzz.__main__.Workbench", lambda *_: own_bench)
    assert long_run.main() == 1
    assert "ZeroDivisionError; kept in" in capsys.readouterr().out
    assert len(list((tmp_path / "failures").iterdir())) == long_run.MOST_KEPT


def test_mutations_change_their_input(bench):
    """Most of them: a generator that returns what it was given would find nothing."""
    for parser in bench.parsers.values():
        for path, mutate in parser.targets.items():
            content = parser.files[path]
            changed = sum(mutate(content, random.Random(seed)) != content for seed in range(20))
            assert changed >= 12, (parser.name, path)
