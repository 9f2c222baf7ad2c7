"""How readers refuse bad files."""

import pytest

from yolov3.errors import UserError


def refusal_of(read, path):
    """The sentence with which ``read(path)`` refuses a file: it names the file and is one line."""
    with pytest.raises(UserError) as error:
        read(path)
    sentence = str(error.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence
