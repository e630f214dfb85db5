"""The best weight of a given rank: all taps to a few channels, and these to all outputs.

Of a matrix, or the weight of a convolution with its taps among the inputs, the truncated singular
value decomposition is the nearest one of that rank (Eckart & Young 1936). Where the second moments
of the inputs are known, the outputs count instead of the weights: with C = L L' the nearest W' in
the sense of |(W - W') L| comes from the decomposition of W L ("truncation-aware data whitening",
Wang et al. 2024, SVD-LLM, section 3.1; for the responses of a convolution, Zhang et al. 2015,
"Accelerating very deep convolutional networks", section 3.1). W' is then W projected onto the first
left singular vectors U: W' = U (U' W), so that nothing has to be divided by L.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from .factors import Factorisation, Floats, Form, Method, Ranks, Shape

_DAMPING = 1e-8  # of the mean second moment: inputs that never fire keep their weights


@dataclass(frozen=True, slots=True, eq=False)
class Svd:
    """The decomposition of one weight, to be cut off anywhere.

    Attributes:
        weight: Shape (out, in, *kernel).
        left: Left singular vectors, shape (out, full rank).
        spectra: The singular values, largest first, as the only one of its kind.
    """

    weight: Floats
    left: Floats
    spectra: tuple[Floats, ...]
    method: Method = Method.SVD

    @classmethod
    def of(cls, weight: Floats, moments: Floats | None = None) -> Self:
        """Decompose a weight.

        Args:
            weight: Shape (out, in, *kernel); a matrix has no kernel.
            moments: Mean of x x' over the inputs x of one position, shape (in * taps,) twice, the
                taps last. Centred, it leaves a mean error, which a corrected bias takes away.
        """
        matrix = weight.reshape(weight.shape[0], -1)
        root = matrix if moments is None else matrix @ root_of(moments)
        left, values, _ = np.linalg.svd(root, full_matrices=False)
        return cls(weight, left, (values,))

    @property
    def full(self) -> Ranks:
        """The rank at which nothing is lost."""
        return (min(self.left.shape),)

    def forms(self, ranks: Ranks) -> tuple[tuple[Form, ...], ...]:
        """What the factors look like."""
        return (forms(self.weight.shape, *ranks),)

    def truncate(self, ranks: Ranks) -> Factorisation:
        """Factors whose channels in between are of equal weight on both sides."""
        left = self.left[:, : ranks[0]]
        inner = left.T @ self.weight.reshape(self.weight.shape[0], -1)
        size = np.sqrt(np.linalg.norm(inner, axis=1))
        size[size == 0] = 1.0
        arrays = inner / size[:, None], left * size
        return Factorisation.of(self.method, ranks, forms(self.weight.shape, *ranks), arrays)


def forms(shape: Shape, rank: int) -> tuple[Form, ...]:
    """All taps to `rank` channels, then a 1x1 convolution; two matrices for a matrix."""
    out, into, *kernel = shape
    ones = [1] * len(kernel)
    return Form((rank, into, *kernel), tuple(range(len(kernel)))), Form((out, rank, *ones))


def root_of(moments: Floats) -> Floats:
    """A root L of second moments: L L' = moments, but for a little damping.

    By eigenvalues: of fewer samples than inputs some are 0, or by rounding a little less.
    """
    values, vectors = np.linalg.eigh(moments)
    least = _DAMPING * float(np.trace(moments)) / len(moments) or 1.0
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0) + least), np.float64)
