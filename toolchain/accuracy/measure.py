"""What compares one output with the original model's, without labels.

A measure adds up over samples: `tally` gives a vector for one sample, `finish` turns sums of these
into figures. So samples stream through, and resampling is one matrix product.
"""

from typing import Protocol

import numpy as np

from ..engine import Array


class Measure(Protocol):
    """Compares one output with the original's, sample by sample."""

    @property
    def counted(self) -> bool:
        """Whether tallies are [agreement of the sample, 1] and the figure is their mean."""
        ...

    def tally(self, output: Array, reference: Array) -> Array:
        """What one sample adds, shape (d,)."""
        ...

    def finish(self, sums: Array) -> Array:
        """Figures, shape (b,), of sums of tallies, shape (b, d)."""
        ...


class LossMeasure(Measure, Protocol):
    """A measure whose figure is a loss, and the mean of what its samples lose."""

    def losses(self, tallies: Array) -> Array:
        """What each sample loses, shape (n,), of all tallies, shape (n, d)."""
        ...


def sound(output: Array, reference: Array) -> bool:
    """Whether an output can be compared at all: same shape, finite where the original is."""
    if output.shape != reference.shape:
        return False
    return bool(np.isfinite(output[np.isfinite(reference)]).all())


def shares_of(tallies: Array) -> Array:
    """The first column, such that its mean is the sum of it over the sum of the second column."""
    shares: Array = tallies[:, 0] / tallies[:, 1].mean()
    return shares


def ratio_of(sums: Array) -> Array:
    """The first column over the second."""
    ratio: Array = sums[:, 0] / sums[:, 1]
    return ratio
