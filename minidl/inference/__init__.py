"""Networks made ready for speed: nothing is learned any more, so what is constant is computed once.

``fuse(model)`` gives a network with the same results: batch norms are folded into convolutions, what follows a
convolution happens while its values are in the cache, maps are written where they are needed, memory is used again,
and 3x3 convolutions take Winograd's way where that is shorter.
"""

from minidl.inference.network import FusedNetwork, fuse
from minidl.kernels.cpu.choice import FuseSettings

__all__ = ["FuseSettings", "FusedNetwork", "fuse"]
