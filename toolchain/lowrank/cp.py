"""CP: a 1x1 convolution, one for each channel by itself, and a 1x1 convolution.

W[o, i, taps] = sum over r of A[o, r] K[r, taps] B[r, i]: Lebedev et al. 2015, "Speeding-up
convolutional neural networks using fine-tuned CP-decomposition", equation 2, here with the taps of
a channel in one piece: one depthwise convolution instead of two, which loses less at equal rank and
is one kernel less to run. Fitted by alternating least squares; components that cancel each other
(the degeneracy that the paper meets, and what int8 activations cannot hold) are kept small by a
ridge, which is taken away for the last rounds.
"""

import math
from dataclasses import dataclass
from typing import Self

from .factors import Factorisation, Floats, Form, Method, Ranks
from .tensors import parafac


@dataclass(frozen=True, slots=True, eq=False)
class Cp:
    """One weight.

    Attributes:
        weight: Shape (out, in, *kernel).
        spectra: None: no decomposition says what a rank loses before it is fitted.
    """

    weight: Floats
    spectra: tuple[Floats, ...] = ()
    method: Method = Method.CP

    @classmethod
    def of(cls, weight: Floats) -> Self:
        """Look at a weight of shape (out, in, *kernel)."""
        return cls(weight)

    @property
    def full(self) -> Ranks:
        """A rank at which nothing need be lost: the least product of all dimensions but one."""
        out, into, *kernel = self.weight.shape
        taps = math.prod(kernel)
        return (min(out * into, out * taps, into * taps),)

    def forms(self, ranks: Ranks) -> tuple[tuple[Form, ...], ...]:
        """What the factors look like."""
        (rank,) = ranks
        out, into, *kernel = self.weight.shape
        ones = [1] * len(kernel)
        depthwise = Form((rank, 1, *kernel), tuple(range(len(kernel))), groups=rank)
        return ((Form((rank, into, *ones)), depthwise, Form((out, rank, *ones))),)

    def truncate(self, ranks: Ranks) -> Factorisation:
        """The factors of a given rank."""
        out, into, *_ = self.weight.shape
        last, first, taps = parafac(self.weight.reshape(out, into, -1), *ranks)
        (chain,) = self.forms(ranks)
        return Factorisation.of(self.method, ranks, chain, (first.T, taps.T, last))
