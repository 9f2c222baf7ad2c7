"""The progress bar of everything that takes long, and what it says of a training."""

WIDE = 140  # columns of a terminal from which on there is room for a bar and for words
WIDE_LINE = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
NARROW_LINE = "{desc} {percentage:.0f}%|<{remaining}{postfix}"
TERMS = {"centre": "xy", "size": "wh", "object": "obj", "no_object": "no", "classes": "cls"}
"""The terms of the loss (:class:`yolov3.loss.LossTerms`) and what they are called where there is little room."""


def progress_bar(total, unit):
    """A tqdm bar on stderr, with the rate and the time left; a line now and then where stderr is no terminal."""
    import sys

    from tqdm import tqdm

    class Lines(tqdm):
        """For a file: whole lines, one below the other, instead of one line that is written again and again."""

        @staticmethod
        def status_printer(file):
            return lambda line: print(line, file=file, flush=True) if line else None

    # Smoothing 0: the time left follows from the mean over everything so far, in which validations count.
    options = {"total": total, "unit": unit, "smoothing": 0}
    if sys.stderr.isatty():
        return tqdm(**options, dynamic_ncols=True)
    return Lines(**options, mininterval=10, maxinterval=10)  # a log file needs no ten lines a second


def start_bar_at(bar, done):
    """Let a bar begin at ``done``: what another process did before tells nothing about the speed of this one."""
    bar.initial = bar.n = bar.last_print_n = done
    bar.refresh()


def show_step(bar, epoch, epochs, terms, rate, images_per_second):
    """Say on the bar how a training stands, in the width that its terminal has now.

    ``epoch`` of ``epochs``, from 1; ``terms``: the loss and its terms by name, as numbers; ``rate``: of learning.
    """
    is_wide = (bar.format_dict["ncols"] or WIDE) >= WIDE  # None: no terminal
    losses = {short: terms[name] for name, short in TERMS.items() if name in terms}
    if is_wide:
        parts = " + ".join(f"{name} {_digits(value, 4)}" for name, value in losses.items())
        text = f"{images_per_second:.3g} img/s, rate {rate:.1e}, loss {_digits(terms['loss'], 4)} = {parts}"
    else:
        parts = " ".join(f"{name}{_digits(value, 3)}" for name, value in losses.items())
        text = f"{images_per_second:.0f}img/s lr {_short_power(rate)} loss {_digits(terms['loss'], 4)}: {parts}"
    bar.bar_format = WIDE_LINE if is_wide else NARROW_LINE
    bar.set_description_str(f"epoch {epoch}/{epochs}" if is_wide else f"{epoch}/{epochs}", refresh=False)
    bar.set_postfix_str(text, refresh=False)


def _digits(value, room):
    """A number from 0 up in at most ``room`` characters, 3 or more; with 3: .12, 1.2, 12, 123, 1e5."""
    for decimals in range(room - 1, -1, -1):
        text = f"{value:.{decimals}f}"
        text = text.removeprefix("0") if decimals else text
        if len(text) <= room:
            return text
    return _short_power(value, decimals=0)


def _short_power(value, decimals=1):
    """2.7e-3 for 0.0027."""
    digits, power = f"{value:.{decimals}e}".split("e")
    return f"{digits}e{int(power)}"
