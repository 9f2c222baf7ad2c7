"""Words for people: one and many."""

import pytest

from yolov3.wording import count_of, share_of, some_of


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [
        (1, "picture", "1 picture"),
        (0, "box", "0 boxes"),
        (2, "class", "2 classes"),
        (1200, "picture", "1,200 pictures"),
    ],
)
def test_counts(count, noun, words):
    assert count_of(count, noun) == words


def test_shares_take_the_number_of_all():
    assert share_of(1, 1, "box") == "1 of 1 box"
    assert share_of(1, 3000, "box") == "1 of 3,000 boxes"


def test_long_lists_are_cut():
    assert some_of([]) == ""
    assert some_of(["a", "b"], 2) == "a, b"
    assert some_of(["a", "b", "c"], 2) == "a, b, ..."
