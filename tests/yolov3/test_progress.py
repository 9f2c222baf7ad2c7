"""The bar: what it says of a training in narrow and wide terminals, and in a file."""

import io
import re
import time

import pytest
from tqdm import tqdm

from yolov3 import progress
from yolov3.loss import LossTerms
from yolov3.progress import progress_bar, show_step, start_bar_at

VALUES = {"loss": 12.345, "centre": 1.234, "size": 0.046, "object": 3.45, "no_object": 2.1, "classes": 123.4}


def line(columns, epoch=3, epochs=41, rate=2.7e-3, speed=31.62, values=VALUES):
    with tqdm(total=14760, file=io.StringIO(), ncols=columns, smoothing=0) as bar:
        bar.start_t = time.time() - 3 * 3600
        start_bar_at(bar, 0)
        bar.n = 7000
        show_step(bar, epoch, epochs, values, rate, speed)
        return str(bar)


def test_every_term_has_a_short_name():
    assert tuple(progress.TERMS) == LossTerms.names


def test_everything_fits_into_80_columns():
    shown = line(80)
    assert len(shown) <= 80
    assert shown.startswith("3/41 47%|<3:")
    assert shown.endswith(", 32img/s lr 2.7e-3 loss 12.3: xy1.2 wh.05 obj3.5 no2.1 cls123")


def test_a_wide_terminal_has_a_bar_and_words():
    shown = line(150)
    assert len(shown) <= 150
    assert re.match(
        r"epoch 3/41:  47%\|#+\S* +\| 7000/14760 \[3:00:\d\d<3:\d\d:\d\d, 31.6 img/s, rate 2.7e-03, ", shown
    )
    assert shown.endswith("loss 12.3 = xy 1.23 + wh .046 + obj 3.45 + no 2.10 + cls 123]")


@pytest.mark.parametrize("room", [3, 4])
def test_numbers_keep_their_room(room):
    for exponent in range(-50, 80):
        for digit in (1, 9.4999, 9.5, 9.96):
            value = digit * 10 ** (exponent / 10)
            text = progress._digits(value, room)
            assert len(text) <= room
            error = 0.5 if value > 10 ** (room - 0.1) else 0.06  # beyond it there is one digit: 2e5
            assert float(text) == pytest.approx(value, rel=error, abs=0.6 * 10 ** (1 - room))
    assert [progress._digits(value, 3) for value in (0.123, 1.23, 12.3, 123.4, 1234)] == [
        ".12",
        "1.2",
        "12",
        "123",
        "1e3",
    ]


def test_a_file_gets_whole_lines(capsys):
    with progress_bar(3, "step") as bar:
        for _ in range(3):
            bar.update()
    lines = capsys.readouterr().err.split("\n")
    assert not any("\r" in each for each in lines)
    assert "3/3" in [each for each in lines if each][-1]
    assert all("%|" in each for each in lines if each)


def test_what_another_process_did_is_not_taken_for_speed():
    now = [1000.0]
    with tqdm(total=100, file=io.StringIO(), ncols=200, smoothing=0, bar_format="{remaining}", mininterval=0) as bar:
        bar._time = lambda: now[0]
        bar.start_t = now[0]
        start_bar_at(bar, 90)
        assert bar.n == 90
        now[0] += 2
        bar.update()  # one step in two seconds, nine to go
        assert str(bar) == "00:18"
