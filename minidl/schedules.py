"""Learning rates over the course of training: functions from the step's number to a rate.

Steps count from 1: the first update has ``step == 1``, as in the original (spec 6).
"""

import math


def burn_in(schedule, steps, power=4):
    """The first ``steps`` steps rise as ``rate * (step / steps) ** power``, then ``schedule`` takes over.

    ``rate`` is what the schedule gives at its start.  Power 4 is the original's burn-in, power 1 a linear warm-up.
    """

    def rate(step):
        return schedule(0) * (step / steps) ** power if step < steps else schedule(step)

    return rate


def constant(rate):
    """Always ``rate``."""
    return lambda step: rate


def steps(rate, at, scales):
    """``rate``, multiplied by ``scales[i]`` from step ``at[i]`` on."""
    if len(at) != len(scales):
        raise ValueError(f"steps: {len(at)} steps need as many scales, not {len(scales)}")

    def current(step):
        return rate * math.prod(scale for start, scale in zip(at, scales, strict=True) if start <= step)

    return current


def cosine(rate, total, final=0.01):
    """Half a cosine wave from ``rate`` at step 0 down to ``rate * final`` at step ``total``, and that from there on."""

    def current(step):
        progress = min(step / total, 1)
        return rate * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)

    return current
