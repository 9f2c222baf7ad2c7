"""The text of the original program's files: lines, sections, and options that have a type.

A section is a line ``[name]`` with lines ``key=value`` below it.  Blanks do not count, and neither do lines that begin
with ``#`` or ``;``.  The original (spec 1.1) reads a leading number and ignores the rest, takes the first of two equal
keys, and uses 0 or the default for what it does not understand; here each of these is an error.
"""

import os
import re
from difflib import get_close_matches

from yolov3.errors import UserError

SIZE_LIMIT = 1_000_000  # bytes of a file; the longest of the family has some 20,000
LARGEST = 1_000_000  # the largest number that an option may have, so that no shape grows beyond reason
REQUIRED = object()  # stands for the default of an option that has none

_COMMENT = re.compile(r"(^|\s)[#;].*")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LONGEST_NUMBER = 40  # characters


def read_text(path):
    """The file's UTF-8 text, with or without a byte-order mark.  Raises UserError if it is something else."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a folder, or a pipe that would be waited for
            raise UserError(f"{path} is no file: name the file itself")
        with open(path, "rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # a name that no file can have
        raise UserError(f"{shown(str(path))} cannot be read ({error})") from error
    if len(content) > SIZE_LIMIT:
        raise UserError(f"{path} is longer than {SIZE_LIMIT / 1e6:g} MB, too long for such a file: check what it is")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UserError(f"{path} is not a text file in UTF-8: check what it is, or save it as plain UTF-8 text")
    return text


def lines_of(text):
    """``(number from 1, content)`` of every line that says something: no comments, no blanks at its ends.

    A comment is a line that begins with ``#`` or ``;``, and the rest of a line after a blank and one of these.
    """
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if content := _COMMENT.sub("", line, count=1).strip():
            yield number, content


def split_option(content, place):
    """``key=value`` as ``(key, value)``.  Raises UserError, beginning with ``place``, where one of them is missing."""
    key, equals, value = (part.strip() for part in content.partition("="))
    if not equals:
        raise UserError(f"{place}: {shown(content)} is neither a [section] nor an option: write key=value")
    if not key:
        raise UserError(f"{place}: {shown(content)} names no option: write key=value")
    if not value:
        raise UserError(f"{place}: {shown(content)} has no value: write one or remove the line")
    return key, value


def shown(text):
    """The text as it can stand in a sentence: short, and without characters that cannot be seen."""
    text = text if len(text) <= _LONGEST_NUMBER else text[:_LONGEST_NUMBER] + "..."
    return text if text.isprintable() else ascii(text)


class Section:
    """One section: its options are asked for by name and type; what nobody asked for is left over.

    ``title`` is the name between the brackets.  All mistakes are UserErrors that name file, line and section.
    """

    def __init__(self, file, line, title):
        self.file, self.line, self.title = file, line, title
        self._options = {}  # {key: (line, value)}
        self._asked = set()

    @property
    def place(self):
        """What messages call it, such as ``yolov3.cfg line 45 [convolutional]``."""
        return self._place(self.line)

    def _place(self, line):
        return f"{self.file} line {line} [{shown(self.title)}]"

    def add(self, line, content):
        """Take in the line ``key=value``."""
        key, value = split_option(content, self._place(line))
        if key in self._options:
            raise UserError(
                f"{self._place(line)}: {shown(key)} stands here again, after line {self._options[key][0]}: keep one"
            )
        self._options[key] = line, value

    def mistake(self, key, reason):
        """The UserError about the option ``key``, which is there."""
        line, value = self._options[key]
        return UserError(f"{self._place(line)}: {shown(f'{key}={value}')}: {reason}")

    def text(self, key, default=REQUIRED):
        """The value as it stands there."""
        self._asked.add(key)
        if key in self._options:
            return self._options[key][1]
        if default is REQUIRED:
            raise UserError(f"{self.place}: {key}= is missing")
        return default

    def whole(self, key, default=REQUIRED, least=1, most=LARGEST):
        """A whole number from ``least`` to ``most``."""
        return self._whole(key, self.text(key), least, most) if self._needed(key, default) else default

    def number(self, key, default=REQUIRED, least=-LARGEST, most=LARGEST):
        """A number from ``least`` to ``most``."""
        return self._number(key, self.text(key), least, most) if self._needed(key, default) else default

    def flag(self, key):
        """Whether the option is 1; 0 where it is absent."""
        return bool(self.whole(key, 0, least=0, most=1))

    def wholes(self, key, default=REQUIRED, least=-LARGEST, most=LARGEST):
        """Whole numbers with commas between them, as a tuple."""
        if not self._needed(key, default):
            return default
        return tuple(self._whole(key, part, least, most) for part in self._parts(key))

    def numbers(self, key, least=-LARGEST, most=LARGEST):
        """Numbers with commas between them, as a tuple."""
        return tuple(self._number(key, part, least, most) for part in self._parts(key))

    def choice(self, key, choices, default=REQUIRED):
        """One of these words."""
        value = self.text(key, default)
        if value not in choices:
            raise self.mistake(key, f"{shown(value)} is not supported, only {', '.join(choices)} are")
        return value

    def pass_over(self, *keys):
        """Options that nothing here needs; they must be numbers, or lists of numbers, all the same."""
        for key in keys:
            if self.text(key, None) is not None:
                self.numbers(key, -1e12, 1e12)

    def only(self, **values):
        """Refuse options by name unless they hold these values, which change nothing; None: refuse any value."""
        for key, neutral in values.items():
            value = self.text(key, None)
            if value is None or value == str(neutral) or (_NUMBER.fullmatch(value) and _same(value, neutral)):
                continue
            advice = "remove it" if neutral is None else f"only {key}={neutral} is"
            raise self.mistake(key, f"this option is not supported, {advice}")

    def left_over(self):
        """A sentence for each option that nobody asked for."""
        for key, (line, _) in self._options.items():
            if key not in self._asked:
                alike = get_close_matches(key, self._asked, 1, cutoff=0.8)
                hint = f" (do you mean {alike[0]}?)" if alike else ""
                yield f"{self._place(line)}: nothing knows the option {shown(key)}, it is ignored{hint}"

    def _needed(self, key, default):
        return self.text(key, default) is not default

    def _parts(self, key):
        return [part.strip() for part in self.text(key).split(",")]

    def _whole(self, key, text, least, most):
        if not _WHOLE.fullmatch(text):
            raise self.mistake(key, f"{shown(text) or 'nothing'} is no whole number")
        return self._within(key, text, least, most, int)

    def _number(self, key, text, least, most):
        if not _NUMBER.fullmatch(text):
            raise self.mistake(key, f"{shown(text) or 'nothing'} is no number")
        return self._within(key, text, least, most, float)

    def _within(self, key, text, least, most, convert):
        # The length first: converting takes long where there are millions of digits.
        if len(text) > _LONGEST_NUMBER or not least <= convert(text) <= most:
            raise self.mistake(key, f"{shown(text)} is not between {least:,} and {most:,}")
        return convert(text)


def _same(text, neutral):
    return isinstance(neutral, int | float) and len(text) <= _LONGEST_NUMBER and float(text) == neutral


def sections_of(text, file):
    """All sections of a text in order.  Raises UserError for lines that are no part of one.

    Blanks are removed everywhere, as the original does.
    """
    sections = []
    for line, content in lines_of(text):
        content = "".join(content.split())
        if content[0] == "[":
            if content[-1] != "]":
                raise UserError(f"{file} line {line}: {shown(content)} is no section: write [name]")
            sections.append(Section(file, line, content[1:-1]))
        elif not sections:
            raise UserError(f"{file} line {line}: {shown(content)} stands before the first section: begin with [net]")
        else:
            sections[-1].add(line, content)
    return sections
