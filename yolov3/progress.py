"""The progress bar of everything that takes long."""


def progress_bar(total, unit):
    """A tqdm bar on stderr, with the rate and the time left; a line now and then where stderr is no terminal."""
    import sys

    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 10  # a log file needs no ten lines a second
    return tqdm(total=total, unit=unit, dynamic_ncols=True, smoothing=0.1, mininterval=interval, maxinterval=interval)
