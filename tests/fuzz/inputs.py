"""One generated input: made from a seed, given to its parser, and judged."""

import os
import random
import shutil
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from tests.fuzz.guard import guarded
from tests.fuzz.parsers import check_sentence, parsers

MOST_ADDED = 1_000_000  # bytes; doubling a range again and again would add more


@contextmanager
def quiet():
    """Without warnings and without what is printed: neither is a parser's result."""
    with (
        warnings.catch_warnings(),
        open(os.devnull, "w") as nowhere,
        redirect_stderr(nowhere),
        redirect_stdout(nowhere),
    ):
        warnings.simplefilter("ignore")
        yield


class Workbench:
    """The samples of all parsers on the disk, one of them damaged at a time.

    ``folder``: what is in it is removed first.  ``names``: of the parsers; default all.
    """

    def __init__(self, folder, names=None):
        self.folder = Path(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "made").mkdir(parents=True)
        every = parsers(self.folder / "made")
        self.parsers = {name: every[name] for name in names or every}
        self.damaged = None  # (path, its good content), of the file that is damaged now
        for number, parser in enumerate(self.parsers.values()):
            for path, content in parser.files.items():
                target = self._place(number) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        self._numbers = {name: number for number, name in enumerate(self.parsers)}
        for parser in self.parsers.values():  # undamaged, so that all that is imported late is there: imports run code
            for path in parser.targets:
                parser.read(self._place(self._numbers[parser.name]), self._place(self._numbers[parser.name]) / path)

    def _place(self, number):
        return self.folder / f"sample{number}"

    def try_seed(self, name, seed):
        """Whether the input that a seed stands for was taken (True) or refused; anything else is raised."""
        return self.try_input(name, random.Random(f"{name} {seed}"))

    def try_input(self, name, rng):
        """As :meth:`try_seed`, for an input made by a ``random.Random``."""
        parser = self.parsers[name]
        path = rng.choice(list(parser.targets))
        with quiet():
            content = parser.targets[path](parser.files[path], rng)
        content = content[: len(parser.files[path]) + MOST_ADDED]
        return self.try_content(name, path, content)

    def try_content(self, name, path, content):
        """Give the parser its sample with another content of one file."""
        parser, folder = self.parsers[name], self._place(self._numbers[name])
        self._repair()
        target = folder / path
        self.damaged = target, parser.files[path]
        _write(target, content)
        try:
            with quiet(), guarded(folder):
                parser.read(folder, target)
        except parser.refusals as refusal:
            sentence = str(refusal)
            check_sentence(sentence)
            named = str(folder) in sentence or sentence.startswith("/")  # or the path that the input itself gives
            assert named or not parser.names_file, f"the file is not named: {sentence}"
            return False
        return True

    def _repair(self):
        if self.damaged:
            path, content = self.damaged
            _write(path, content)
            self.damaged = None


def _write(path, content):
    """A new file in the place of the old one: some file systems wait for the disk when a file is overwritten."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
