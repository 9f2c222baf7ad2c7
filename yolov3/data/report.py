"""What is wrong with a data set: every problem is counted and named, or raised at once."""

from pathlib import Path
from typing import NamedTuple

from yolov3.errors import LONGEST_SENTENCE, UserError, one_line


class Kind(NamedTuple):
    """How one kind of problem is spoken of: ``skipped 2 zero-area boxes``."""

    handled: str
    one: str
    many: str


KINDS = {
    "zero-area box": Kind("skipped", "zero-area box", "zero-area boxes"),
    "non-finite box": Kind("skipped", "non-finite box", "non-finite boxes"),
    "box outside": Kind("skipped", "box outside its picture", "boxes outside their pictures"),
    "box clipped": Kind("clipped", "box that crosses the border", "boxes that cross the border"),
    "duplicate box": Kind("kept", "duplicate box", "duplicate boxes"),
    "unknown class": Kind("skipped", "box of an unknown class", "boxes of unknown classes"),
    "class id out of range": Kind("skipped", "box with a class id out of range", "boxes with class ids out of range"),
    "missing picture": Kind("skipped", "missing picture", "missing pictures"),
    "broken picture": Kind("skipped", "broken picture", "broken pictures"),
    "wrong picture size": Kind("kept", "picture of another size than stated", "pictures of another size than stated"),
    "missing annotation": Kind("skipped", "picture without annotation file", "pictures without annotation files"),
    "assumed background": Kind("kept as background", "picture without label file", "pictures without label files"),
    "shared label file": Kind("kept", "picture with another's label file", "pictures with others' label files"),
    "broken annotation": Kind("skipped", "broken annotation", "broken annotations"),
}
"""Everything that ``strict`` turns into an error."""

NAMES_IN_SUMMARY = 3
LONGEST_NAME = 100  # characters of a problem's short name


class Problem(NamedTuple):
    """One problem: its short name for a summary, and the sentence that explains it."""

    name: str
    message: str


class Report:
    """The problems met while a data set was opened.

    ``problems[kind]`` lists the :class:`Problem` s of one of the ``KINDS`` in the order they were met,
    ``boxes_rounded`` counts the boxes clipped by less than a pixel and ``boxes_from_outlines`` those put around a
    polygon or mask, which is nothing to mend, ``outlines_beside_boxes`` the outlines of objects that state their box,
    too, which are not read, and ``notes`` are remarks about the data set as a whole.
    With ``strict=True`` the first problem raises :class:`~yolov3.errors.UserError` instead.
    """

    def __init__(self, strict=False):
        self.strict = strict
        self.problems = {kind: [] for kind in KINDS}
        self.boxes_rounded = 0
        self.boxes_from_outlines = 0
        self.outlines_beside_boxes = 0
        self.notes = []

    def add(self, kind, file, detail, where=""):
        """Record one problem of ``kind`` (a key of ``KINDS``).

        ``file`` is the label file or picture, ``where`` the line or object in it (``object 3 (RBC)``), and
        ``detail`` says what is wrong and what to do.  Raises ``UserError`` with the same message if strict.
        """
        place = f"{file} {where}".strip()
        message = f"{place}: {detail}"
        if self.strict:
            raise UserError(message)
        name = one_line(f"{Path(file).name} {where}".strip(), LONGEST_NAME)
        self.problems[kind].append(Problem(name, one_line(message, LONGEST_SENTENCE)))

    def counts(self):
        """``{kind: number of problems}`` for the kinds that occurred."""
        return {kind: len(found) for kind, found in self.problems.items() if found}

    def first_message(self):
        """The first problem's sentence, the gravest kinds first; None if there is no problem.

        A picture that is not there or broken explains more than a label of it does.
        """
        gravest = ("missing picture", "broken picture", "missing annotation", "broken annotation")
        for kind in (*gravest, *KINDS):
            if self.problems[kind]:
                return self.problems[kind][0].message
        return None

    def remarks(self):
        """The notes, and how many boxes stand for an outline: nothing that must be mended."""
        count = self.boxes_from_outlines
        if not count:
            return list(self.notes)
        several = f"{count} outlines (polygons or masks) were replaced by the boxes around them"
        return [*self.notes, "1 outline (polygon or mask) was replaced by its box" if count == 1 else several]

    def summary(self):
        """Short warning lines, one per kind: ``skipped 2 zero-area boxes (a.xml object 3 (RBC), ...)``."""
        lines = self.remarks()
        for kind, count in self.counts().items():
            handled, one, many = KINDS[kind]
            names = [problem.name for problem in self.problems[kind][:NAMES_IN_SUMMARY]]
            more = ", ..." if count > len(names) else ""
            lines.append(f"{handled} {count} {one if count == 1 else many} ({', '.join(names)}{more})")
        return lines
