"""Execute chapters and keep their outputs: ``python chapters/run.py [CHAPTER ...]`` (default: all, with solutions).

A chapter is named by the beginning of its file name, such as 03.  Each is run from the top in its own folder by a fresh
kernel; outputs are kept, widget state and times are not.  Stops at the first cell that fails.
"""

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
LARGEST = 1_000_000  # bytes of a notebook
SECONDS = 600  # that a cell may take


def notebooks(names=()):
    """The chapters and their solutions, in order; only those whose file name begins with one of ``names``."""
    found = [*sorted(FOLDER.glob("*.ipynb")), *sorted((FOLDER / "solutions").glob("*.ipynb"))]
    return [path for path in found if not names or path.name.startswith(tuple(names))]


def execute(path):
    """Run a notebook and write it back with its outputs."""
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(
        book, timeout=SECONDS, coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()
    write(book, path)


def write(book, path):
    """Write a notebook without what changes from run to run or belongs to one machine."""
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for index, cell in enumerate(book.cells):
        cell.id = f"cell-{index:03d}"
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    nbformat.validate(book)
    text = nbformat.writes(book) + "\n"
    if len(text) > LARGEST:
        raise SystemExit(f"{path.name} has {len(text):,} bytes, more than {LARGEST:,}: make its figures smaller")
    path.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chapters", nargs="*", help="beginnings of file names, such as 03 (default: all)")
    chosen = notebooks(parser.parse_args().chapters)
    if not chosen:
        sys.exit("no chapter has a name that begins like that")
    for path in chosen:
        begin = time.perf_counter()
        execute(path)
        print(f"{path.relative_to(FOLDER)}: {time.perf_counter() - begin:.0f} s, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
