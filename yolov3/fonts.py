"""Typefaces for class names in any script, in pictures (Pillow) and in figures (Matplotlib).

Most scripts are in DejaVu Sans, which comes with Matplotlib, so every machine draws them the same.  For others, such as
Chinese or Devanagari, a font of the machine is taken where it has one.  A character that no font has is written as its
number in Unicode, such as ``U+72AC``: that can be looked up, an empty box cannot.
"""

from functools import lru_cache
from pathlib import Path

OTHER_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "WenQuanYi Micro Hei", "Droid Sans Fallback"),
    *("Microsoft YaHei", "Malgun Gothic", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Noto Sans Devanagari", "Nirmala UI", "Noto Sans Thai", "Leelawadee UI"),
)


def text_and_font(text, size):
    """What to give to Pillow: the text in one line, as far as it can be drawn, and a font of ``size`` pixels.

    The font is DejaVu Sans or, where that lacks a character, the one that lacks the fewest.
    """
    text = " ".join(text.split())
    path = _main_font()
    if _missing(text, [path]):
        path = min([path, *other_fonts().values()], key=lambda each: len(_missing(text, [each])))
    return _spelled_out(text, _missing(text, [path])), _font(path, size)


def readable(text):
    """The text in one line, with those characters as numbers that no font has: for Matplotlib, which mixes fonts."""
    text = " ".join(text.split())
    missing = _missing(text, [_main_font()])
    return _spelled_out(text, missing and _missing(text, [_main_font(), *other_fonts().values()]))


@lru_cache(maxsize=1)
def other_fonts():
    """Those of OTHER_FONTS that this machine has: ``{name: path}``."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return {name: fontManager.findfont(name) for name in OTHER_FONTS if name in installed}


def _spelled_out(text, missing):
    if not missing:
        return text
    return " ".join("".join(f" U+{ord(each):04X} " if each in missing else each for each in text).split())


def _missing(text, paths):
    """The characters of the text that none of the fonts has."""
    return {each for each in text if not any(ord(each) in _characters(path) for path in paths)}


@lru_cache(maxsize=32)
def _characters(path):
    """The numbers of all characters that a font has."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(path).get_charmap())


@lru_cache(maxsize=32)
def _font(path, size):
    from PIL import ImageFont

    return ImageFont.truetype(path, size)


@lru_cache(maxsize=1)
def _main_font():
    from matplotlib import get_data_path

    return str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
