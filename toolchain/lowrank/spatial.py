"""A convolution as one along the first spatial axis and one along the second.

W[o, i, y, x] = sum over r of A[o, r, x] B[r, i, y]: scheme 2 of Jaderberg et al. 2014, "Speeding up
convolutional neural networks with low rank expansions", section 3, in the closed form of Tai et al.
2016, "Convolutional neural networks with low-rank regularization", theorem 1: the singular value
decomposition of the weight with (o, x) as rows and (i, y) as columns.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from .factors import Factorisation, Floats, Form, Method, Ranks, Shape


@dataclass(frozen=True, slots=True, eq=False)
class Spatial:
    """The decomposition of one weight, to be cut off anywhere.

    Attributes:
        shape: Of the weight: (out, in, height, width).
        left: Left singular vectors, shape (out * width, full rank).
        right: Right singular vectors, shape (full rank, in * height).
        spectra: The singular values, largest first, as the only one of its kind.
    """

    shape: Shape
    left: Floats
    right: Floats
    spectra: tuple[Floats, ...]
    method: Method = Method.SPATIAL

    @classmethod
    def of(cls, weight: Floats) -> Self:
        """Decompose a weight of shape (out, in, height, width)."""
        out, into, height, width = weight.shape
        matrix = weight.transpose(0, 3, 1, 2).reshape(out * width, into * height)
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        return cls(weight.shape, left, right, (values,))

    @property
    def full(self) -> Ranks:
        """The rank at which nothing is lost."""
        return (len(self.right),)

    def forms(self, ranks: Ranks) -> tuple[tuple[Form, ...], ...]:
        """What the factors look like."""
        (rank,) = ranks
        out, into, height, width = self.shape
        return ((Form((rank, into, height, 1), (0,)), Form((out, rank, 1, width), (1,))),)

    def truncate(self, ranks: Ranks) -> Factorisation:
        """Factors whose channels in between are of equal weight on both sides."""
        (rank,) = ranks
        out, width = self.shape[0], self.shape[3]
        size = np.sqrt(self.spectra[0][:rank])
        last = (self.left[:, :rank] * size).reshape(out, width, rank).swapaxes(1, 2)
        (chain,) = self.forms(ranks)
        first = self.right[:rank] * size[:, None]
        return Factorisation.of(self.method, ranks, chain, (first, last))
