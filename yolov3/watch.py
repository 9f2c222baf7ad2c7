"""Why training stopped: where the first number that is not finite came from, and what to try."""

from yolov3.errors import UserError

LOWER = 10  # by how much to lower a learning rate that was too high


def stopped(what, step, began, advice):
    """The UserError for a run that cannot go on; ``what`` happened, as in "the loss became nan"."""
    return UserError(f"{what} in step {step}: {began}; {advice}")


def where_it_began(anomaly, terms=None):
    """A :class:`minidl.anomaly.Anomaly`, or None, in words.  terms: the loss and its terms, ``{name: number}``."""
    if anomaly is None:
        return "where it began could not be found by computing the step again"
    operation, path = anomaly.operation, anomaly.path
    if operation == "leaf":
        return f"the parameter {path} is not finite itself" if path else "the pictures are not finite themselves"
    place = f"layer {path}" if path else "the loss"
    if anomaly.direction == "backward":
        return f"the first gradient that is not finite came out of {operation} in {place}, going backwards"
    wrong = [name for name, value in (terms or {}).items() if name != "loss" and not abs(value) < float("inf")]
    if not path and wrong:
        place = f"the loss (its term {wrong[0]})"
    return f"the first number that is not finite came out of {operation} in {place}"


def what_to_try(settings, precision, last, step, anomaly):
    """What helps most often, as a part of a sentence; ``last``: the path of the last good checkpoint, or None."""
    rate = settings.learning_rate
    if step == 1 and anomaly is not None and anomaly.operation == "leaf" and anomaly.path:
        return "the weights it started from are damaged: start from others"
    advice = f"try a lower --lr than {rate:g}"
    if precision == "fp16":
        advice += " or --precision fp32"
    if last is not None:
        return f"{advice}, from the last good checkpoint: --weights {last} --lr {rate / LOWER:g}"
    return f"{advice}; if that does not help, yolov3 overfit says whether this data can be learned"
