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


def sound(output: Array, reference: Array) -> bool:
    """Whether an output can be compared at all: same shape, finite where the original is."""
    if output.shape != reference.shape:
        return False
    return bool(np.isfinite(output[np.isfinite(reference)]).all())


def ratio_of(sums: Array) -> Array:
    """The first column over the second."""
    ratio: Array = sums[:, 0] / sums[:, 1]
    return ratio
