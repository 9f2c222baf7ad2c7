"""Words for people."""


def count_of(count, noun):
    """``1 picture``, ``1,200 pictures``, ``0 boxes``."""
    plural = "es" if noun.endswith(("s", "x")) else "s"
    return f"{count:,} {noun}{'' if count == 1 else plural}"
