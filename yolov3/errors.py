"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""

LONGEST_SENTENCE = 2000  # characters


class UserError(Exception):
    """A mistake in a file, an argument or a label that the person at the keyboard can mend.

    The message is one clear sentence that names the file, line or layer and says what to do.
    The command line prints it without a traceback and ends with exit code 1.
    """

    def __init__(self, sentence):
        super().__init__(one_line(sentence, LONGEST_SENTENCE))


def one_line(text, longest):
    """The text as one line of at most ``longest`` characters; what is too long loses its middle.

    What a file says may stand in it: ends of lines and the codes that a terminal obeys are written as ``\\n`` or
    ``\\x1b``.
    """
    text = str(text)
    if len(text) > longest:
        half = longest // 2
        text = f"{text[: half - 5]} ... {text[-half:]}"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def in_words(command, error):
    """(what to say, exit code) for what ends a command; None for a mistake of the program itself.

    Notes that were added to the error (``add_note``) are said, too.
    """
    from minidl.device import DeviceError

    notes = "".join(f"; {note}" for note in getattr(error, "__notes__", []))
    match error:
        case UserError() | DeviceError():
            return f"yolov3 {command}: {error}{notes}", 1
        case MemoryError():
            return f"yolov3 {command}: out of memory; use a smaller --imgsz or --batch{notes}", 1
        case KeyboardInterrupt():
            return f"\nyolov3 {command}: stopped{notes}", 130  # the line with ^C, or a progress bar, is still open
    return None
