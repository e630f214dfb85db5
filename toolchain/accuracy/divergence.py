"""How far class probabilities are from the original's."""

from dataclasses import dataclass

import numpy as np

from ..engine import Array
from .kinds import OutputKind
from .measure import ratio_of, shares_of, sound

_TINY = 1e-9  # the smallest probability that is seen


@dataclass(frozen=True, slots=True)
class Divergence:
    """Mean Kullback-Leibler divergence of the class probabilities from the original's, in nats."""

    kind: OutputKind
    counted: bool = False

    def tally(self, output: Array, reference: Array) -> Array:
        """[sum over positions, number of positions]."""
        q = self._probabilities(reference)
        if not sound(output, reference):
            return np.array([len(q) * -np.log(_TINY), len(q)])
        p = self._probabilities(output)
        return np.array([(q * (np.log(q) - np.log(p))).sum(), len(q)])

    def finish(self, sums: Array) -> Array:
        """Mean of the positions."""
        return ratio_of(sums)

    def losses(self, tallies: Array) -> Array:
        """The samples' divergences, a position weighing as much in each."""
        return shares_of(tallies)

    def _probabilities(self, array: Array) -> Array:
        """Probabilities, shape (positions, classes), none of them zero."""
        wide = np.moveaxis(array, self.kind.axis, -1) if array.ndim > 2 else array  # noqa: PLR2004 - [batch, K] as it is
        rows = wide.reshape(-1, self.kind.size).astype(np.float64)
        if not self.kind.probabilities:
            rows = np.exp(rows - rows.max(1, keepdims=True))
        rows = np.maximum(rows, _TINY * rows.sum(1, keepdims=True))
        normal: Array = rows / rows.sum(1, keepdims=True)
        return normal
