"""Words for people."""


def count_of(count, noun):
    """``1 picture``, ``1,200 pictures``, ``0 boxes``."""
    plural = "es" if noun.endswith(("s", "x")) else "s"
    return f"{count:,} {noun}{'' if count == 1 else plural}"


def share_of(count, total, noun):
    """``1 of 3 boxes``."""
    return f"{count} of {count_of(total, noun)}"


def some_of(names, most=5):
    """The first few of a list of texts."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
