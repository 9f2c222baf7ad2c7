"""``pytest chapters/exercises -k chapter_05``: every exercise of a chapter, with your own code in its file.

An exercise that is still to be done (NotImplementedError) is skipped.
"""

import inspect
import sys
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))  # chapters import `book` and `exercises` from there


def checks():
    """``(name, check)`` of every ``check_...`` function of the chapters' exercises."""
    for path in sorted(FOLDER.glob("chapter_*.py")):
        module = import_module(f"exercises.{path.stem}")
        for name, function in vars(module).items():
            if name.startswith("check_") and inspect.isfunction(function) and function.__module__ == module.__name__:
                yield f"{path.stem}-{name.removeprefix('check_')}", function
