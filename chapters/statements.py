"""Which cell shows which statement of the notes: read from the chapters themselves, written as chapters/README.md.

A code cell that shows a statement begins with ``# Shows B3: what is computed`` (several such lines if it shows
several), and prints a line that begins with ``B3:`` and holds the result.  ``python chapters/statements.py`` writes the
table; ``--check`` only says whether it is up to date.
"""

import re
import sys
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parent
STATEMENTS = [
    f"{letter}{number}"
    for letter, count in zip("ABCDEFGHI", (2, 4, 6, 3, 5, 5, 4, 2, 3), strict=True)
    for number in range(1, count + 1)
]
SHOWS = re.compile(r"^# Shows (?P<statement>[A-I]\d): (?P<what>.+)$", re.M)
MARKS = ("<!-- statements -->", "<!-- /statements -->")


def shown():
    """``(statement, file, number of the code cell, heading above it, what is computed, the line with the result)``."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        heading, number = "", 0
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                headings = re.findall(r"^#+ (.+)$", cell.source, re.M)
                heading = headings[-1] if headings else heading
            elif cell.cell_type == "code":
                number += 1
                for match in SHOWS.finditer(cell.source):
                    result = _result(cell, match["statement"])
                    yield match["statement"], path.name, number, heading, match["what"], result


def _result(cell, statement):
    text = "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")
    lines = [line for line in text.splitlines() if line.startswith(f"{statement}:")]
    if not lines:
        raise SystemExit(f"a cell says that it shows {statement}, but prints no line that begins with '{statement}:'")
    return lines[0].removeprefix(f"{statement}:").strip()


def table():
    """The table as Markdown, in the notes' order.  Raises SystemExit where a statement is shown nowhere."""
    rows = sorted(shown(), key=lambda row: (STATEMENTS.index(row[0]), row[1], row[2]))
    missing = [each for each in STATEMENTS if each not in {row[0] for row in rows}]
    if missing:
        raise SystemExit(f"no chapter shows {', '.join(missing)}")
    lines = ["| statement | chapter, section, code cell | computed there | result |", "|---|---|---|---|"]
    for statement, file, number, heading, what, result in rows:
        place = f"[{file[:2]}]({file}), {heading}, {number}"
        lines.append("| " + " | ".join(each.replace("|", "\\|") for each in (statement, place, what, result)) + " |")
    return "\n".join(lines)


def main():
    readme = FOLDER / "README.md"
    text = readme.read_text()
    before, rest = text.split(MARKS[0])
    new = f"{before}{MARKS[0]}\n{table()}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"
    if "--check" in sys.argv:
        sys.exit(0 if new == text else "chapters/README.md is out of date: run python chapters/statements.py")
    readme.write_text(new)


if __name__ == "__main__":
    main()
