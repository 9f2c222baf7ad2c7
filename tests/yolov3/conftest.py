"""Fixtures of the commands' tests: a tiny data set, a checkpoint, and the command line called in this process."""

from dataclasses import dataclass

import pytest

from tests.yolov3.local_server import LocalServers
from tests.yolov3.short_runs import SHORT, stopping_in_epoch
from tests.yolov3.tiny_data import shapes_for_voc, write_voc
from yolov3.checkpoint import Checkpoint, save_checkpoint
from yolov3.cli import main
from yolov3.data.shapes import SHAPE_NAMES
from yolov3.model import build_model


@dataclass
class Outcome:
    """What a command left: its exit code, the lines of stdout, and the lines of stderr that are no progress bars."""

    code: int
    lines: list
    errors: list
    stderr: str

    @property
    def folder(self):
        """The last line of stdout, which names the folder of the results."""
        return self.lines[-1]


def without_bars(stderr):
    """The lines of stderr that are no progress bars: of each, what a terminal shows in the end."""
    shown = [line.rsplit("\r", 1)[-1].strip() for line in stderr.split("\n")]
    return [line for line in shown if line and "%|" not in line]


@pytest.fixture
def yolov3(capsys):
    """Function ``yolov3("train", "--data", folder, ...)`` -> :class:`Outcome`: the command, in this process."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Outcome(stopped.value.code or 0, printed.out.splitlines(), without_bars(printed.err), printed.err)

    return run


@pytest.fixture
def succeeds(yolov3):
    """Like ``yolov3``, for a command that must end with exit code 0."""

    def run(*arguments):
        outcome = yolov3(*arguments)
        assert outcome.code == 0, outcome.errors
        return outcome

    return run


@pytest.fixture
def refused(yolov3):
    """Function ``refused("train", ..., says=[...])``: exit code 1 and one sentence with these words, nothing else.

    Returns the sentence.
    """

    def run(*arguments, says):
        outcome = yolov3(*arguments)
        assert outcome.code == 1
        assert len(outcome.errors) == 1, outcome.errors
        (sentence,) = outcome.errors
        assert sentence.startswith(f"yolov3 {arguments[0]}: ")
        for words in says:
            assert str(words) in sentence, sentence
        return sentence

    return run


@pytest.fixture(scope="session")
def voc(tmp_path_factory):
    """A VOC folder of generated shapes, not to be changed: 6 pictures to train on, 2 to test on."""
    pictures = shapes_for_voc(8)
    lists = {"trainval": list(pictures)[:6], "test": list(pictures)[6:]}
    return write_voc(tmp_path_factory.mktemp("voc"), pictures, lists)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The path of an untrained nano detector of the three shapes at 64x64, not to be changed."""
    path = tmp_path_factory.mktemp("checkpoint") / "last.npz"
    model = build_model("yolov3-nano", len(SHAPE_NAMES), seed=1)
    save_checkpoint(path, Checkpoint(model, "yolov3-nano", "concat", SHAPE_NAMES, (64, 64)))
    return path


@pytest.fixture
def serve():
    """Function: start a server on this machine that answers by the given function; returns its address."""
    servers = LocalServers()
    yield servers.start
    servers.stop()


@pytest.fixture
def in_tmp_path(tmp_path, monkeypatch):
    """An empty current folder; returns it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def half_run(tmp_path, monkeypatch, yolov3):
    """Function: the folder of a run of 2 epochs on a VOC folder that was stopped in the second one."""

    def make(voc):
        project = tmp_path / "runs"
        with pytest.MonkeyPatch.context() as patch:
            stopping_in_epoch(patch, 2)
            yolov3("train", "--data", voc, *SHORT, "--project", project)
        assert (project / "exp" / "last.npz").is_file()
        return project / "exp"

    return make
