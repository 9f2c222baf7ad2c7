"""Names in any script: drawn in a font that has their letters, and otherwise readable."""

import numpy as np
import pytest
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from yolov3 import fonts
from yolov3.draw import draw_boxes
from yolov3.figures import new_figure, plain_text, save_figure
from yolov3.fonts import readable, text_and_font

SIZE = 32
NOWHERE = "\ufffe"  # no character at all, so that every font draws its box for what is missing
IN_STIX = "\U0001d49c"  # a script A: in STIX, which comes with Matplotlib, too, but not in DejaVu Sans


@pytest.fixture
def bare(monkeypatch):
    """A machine without other fonts."""
    monkeypatch.setattr(fonts, "other_fonts", dict)


@pytest.fixture
def with_stix(monkeypatch):
    """A machine with another font."""
    path = f"{get_data_path()}/fonts/ttf/STIXGeneral.ttf"
    monkeypatch.setattr(fonts, "other_fonts", lambda: {"STIXGeneral": path})


def ink(text, font):
    """The picture of a text: (height, width) of bool."""
    canvas = Image.new("L", (60 + 30 * len(text), 80))
    ImageDraw.Draw(canvas).text((10, 10), text, 255, font)
    return np.asarray(canvas) > 127


def is_missing(character, font):
    return np.array_equal(ink(character, font), ink(NOWHERE, font))


def test_a_font_with_latin_letters_only_fails_this_test():
    """The judge of the tests below can say no."""
    assert is_missing("λ", ImageFont.load_default(SIZE))
    assert not is_missing("a", ImageFont.load_default(SIZE))


@pytest.mark.parametrize("name", ["Fußgänger", "Лиса", "λ", "été", "İnek", "ζώο", "Čáp", "کتاب", "a-b_c 100 %"])
def test_letters_are_drawn(bare, name):
    text, font = text_and_font(name, SIZE)
    assert text == name == readable(name)
    assert not any(is_missing(letter, font) for letter in name)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("犬", "U+72AC"),
        ("犬猫", "U+72AC U+732B"),
        ("big 猫2", "big U+732B 2"),
        ("half \udcff", "half U+DCFF"),  # of a file name that is no UTF-8
        ("bell\x07", "bell U+0007"),
        ("two\n lines", "two lines"),
        ("", ""),
    ],
)
def test_what_no_font_has_is_written_as_its_number(bare, name, written):
    assert text_and_font(name, SIZE)[0] == written
    assert readable(name) == written


def test_another_font_of_the_machine_is_taken_where_it_has_more(with_stix):
    text, font = text_and_font(f"{IN_STIX} 0.9", SIZE)
    assert text == f"{IN_STIX} 0.9"
    assert font.getname()[0] == "STIXGeneral"
    assert not is_missing(IN_STIX, font)
    assert text_and_font("Лиса", SIZE)[1].getname()[0] == "DejaVu Sans"
    # Matplotlib takes each character from a font of its own; Pillow has one font for a text.
    assert readable(f"{IN_STIX} 犬") == f"{IN_STIX} U+72AC"
    assert text_and_font(f"{IN_STIX} 犬", SIZE)[0] == f"{IN_STIX} U+72AC"


def test_other_fonts_are_those_that_the_machine_has(monkeypatch):
    monkeypatch.setattr(fonts, "OTHER_FONTS", ("No Such Font", "STIXGeneral"))
    assert [*fonts.other_fonts.__wrapped__()] == ["STIXGeneral"]


def test_boxes_are_drawn_with_such_names(bare):
    image = np.full((100, 200, 3), 100, np.uint8)
    drawn = [draw_boxes(image, [[20, 40, 150, 90]], [0], [0.9], [name]) for name in ("犬", "U+72AC", "猫", "λ", "ж")]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    for one, other in ((0, 2), (3, 4)):
        assert (drawn[one] != drawn[other]).any()


def test_figures_have_no_missing_letters(bare, tmp_path, recwarn):
    """Matplotlib warns of each that it lacks."""
    figure, (axes,) = new_figure(3, 2)
    axes.set_title(plain_text("Лиса 犬 \x07 \udcff λ"))
    save_figure(figure, tmp_path / "figure.png")
    assert not recwarn.list
