"""Tucker-2: a 1x1 convolution to fewer channels, the core, and a 1x1 convolution to all outputs.

W[o, i, taps] = sum over s, r of L[o, s] G[s, r, taps] F[i, r], with L and F orthonormal: Kim et al.
2016, "Compression of deep convolutional neural networks for fast and low power mobile
applications", equation 3, by higher-order orthogonal iteration.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from .factors import Factorisation, Floats, Form, Method, Ranks, Shape
from .tensors import partial_tucker

_OUT, _IN = 0, 1


@dataclass(frozen=True, slots=True, eq=False)
class Tucker:
    """One weight, and the spectra that say which ranks lose what.

    Attributes:
        weight: Shape (out, in, *kernel).
        spectra: Singular values of the unfoldings along outputs and inputs, largest first (the
            higher-order SVD: what both cut off adds up to at most the sum of both).
    """

    weight: Floats
    spectra: tuple[Floats, ...]
    method: Method = Method.TUCKER

    @classmethod
    def of(cls, weight: Floats) -> Self:
        """Look at a weight of shape (out, in, *kernel)."""
        out, into = weight.shape[:2]
        rows = weight.reshape(out, -1), weight.swapaxes(0, 1).reshape(into, -1)
        return cls(weight, tuple(_singular_values(row) for row in rows))

    @property
    def full(self) -> Ranks:
        """The ranks of outputs and inputs at which nothing is lost."""
        return tuple(len(values) for values in self.spectra)

    def forms(self, ranks: Ranks) -> tuple[tuple[Form, ...], ...]:
        """What the factors look like: a full rank has no factor of its own."""
        out, into = useful(self.weight.shape, ranks)
        outputs, inputs, *kernel = self.weight.shape
        ones = [1] * len(kernel)
        first = [Form((into, inputs, *ones))] if into < inputs else []
        core = Form((out, into, *kernel), tuple(range(len(kernel))))
        last = [Form((outputs, out, *ones))] if out < outputs else []
        return ((*first, core, *last),)

    def truncate(self, ranks: Ranks) -> Factorisation:
        """The factors of given ranks of outputs and inputs."""
        shape = self.weight.shape
        clipped = useful(shape, ranks)
        modes = tuple(mode for mode in (_OUT, _IN) if clipped[mode] < shape[mode])
        (chain,) = self.forms(ranks)
        if not modes:
            return Factorisation.of(self.method, ranks, chain, (self.weight,))
        core, factors = partial_tucker(self.weight, tuple(clipped[m] for m in modes), modes)
        by_mode = dict(zip(modes, factors, strict=True))
        first = [by_mode[_IN].T] if _IN in by_mode else []
        last = [by_mode[_OUT]] if _OUT in by_mode else []
        return Factorisation.of(self.method, ranks, chain, (*first, core, *last))


def _singular_values(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.svd(matrix, compute_uv=False), np.float64)


def useful(shape: Shape, ranks: Ranks) -> Ranks:
    """Ranks of which neither is above what the core can have with the other."""
    out, into = ranks
    taps = math.prod(shape[2:])
    return min(out, into * taps), min(into, out * taps)
