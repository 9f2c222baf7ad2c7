"""First values of weights."""

import numpy as np


def generator(rng):
    """The generator to draw from: the one given, or a fresh, unpredictable one for None."""
    return np.random.default_rng() if rng is None else rng


def he_normal(shape, rng):
    """Normal numbers of standard deviation ``sqrt(2 / fan_in)``, float32; fan_in: the product of all axes but the last.

    It keeps the size of activations behind rectifiers from layer to layer (He et al. 2015; spec 6; notes C1).
    """
    fan_in = int(np.prod(shape[:-1]))
    return rng.standard_normal(shape, dtype=np.float32) * np.float32((2 / fan_in) ** 0.5)
