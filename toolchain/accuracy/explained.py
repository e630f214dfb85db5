"""How much of the variance of an output's values is explained: detections, embeddings, states."""

from dataclasses import dataclass

import numpy as np

from ..engine import Array
from .measure import sound

_BROKEN = 1e200  # error of an output that is not finite; finite, so that a weight of 0 removes it
_ROUNDING = 1e-12  # what subtracting two large sums leaves of a constant, relative to them


@dataclass(frozen=True, slots=True)
class Explained:
    """1 - FVU: the part of the original's variance that is explained, mean of the channels.

    The fraction of variance unexplained of a channel is its squared error over its squared
    deviation from the mean, both summed over samples and positions, at most 1. Each channel counts
    alike, since their units differ (pixels, probabilities). Channels that do not vary are left
    out; if none varies, the error is set against the energy instead.

    Attributes:
        axis: The axis that counts the channels.
        size: How many there are; with one, all values are taken together.
        one_unit: Whether channels have the same unit: then errors and variances are summed first.
    """

    axis: int
    size: int
    one_unit: bool = False
    counted: bool = False

    def tally(self, output: Array, reference: Array) -> Array:
        """[squared error, sum, sum of squares] for each channel, then the number of positions."""
        r = self._by_channel(reference)
        if output.shape != reference.shape:
            error = (r * r).sum(0)  # as if it had given zeros
        elif not sound(output, reference):
            error = np.full(self.size, _BROKEN)
        else:
            known = np.where(np.isfinite(reference), output, 0)
            error = ((self._by_channel(known) - r) ** 2).sum(0)
        return np.concatenate([error, r.sum(0), (r * r).sum(0), [len(r)]])

    def finish(self, sums: Array) -> Array:
        """1 - FVU, from 0 to 1."""
        return 1.0 - self.unexplained(sums)

    def unexplained(self, sums: Array) -> Array:
        """FVU, from 0 to 1."""
        error, part, used = self._channels(sums)
        fvu: Array = (part * used).sum(1) / used.sum(1)
        return np.where((error >= _BROKEN).any(1), 1.0, fvu)

    def losses(self, tallies: Array) -> Array:
        """What each sample adds to the FVU of all, times their number; shape (n,)."""
        summed, part, used = self._channels(tallies.sum(0, keepdims=True))
        error = tallies[:, : self.size]
        if self.one_unit:
            error = error.sum(1, keepdims=True)
        share = error / np.where(summed > 0, summed, 1.0)
        losses: Array = len(tallies) * (share * part * used).sum(1) / used.sum()
        return losses

    def _channels(self, sums: Array) -> tuple[Array, Array, Array]:
        """Error, FVU, and whether it counts, of each channel; each of shape (b, channels)."""
        error, total, energy = np.split(sums[:, :-1], 3, axis=1)
        spread = np.maximum(energy - total**2 / np.maximum(sums[:, -1:], 1.0), 0.0)
        if self.one_unit:
            error, spread, energy = (x.sum(1, keepdims=True) for x in (error, spread, energy))
        alive = spread > _ROUNDING * energy
        constant = ~alive.any(1, keepdims=True)
        base = np.where(constant, energy, spread)
        part = np.where(error > 0, np.minimum(error / np.maximum(base, 1e-300), 1.0), 0.0)
        return error, part, alive | constant

    def _by_channel(self, array: Array) -> Array:
        """Finite float64 values, shape (positions, channels)."""
        wide = np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0)
        if self.size == 1:
            return wide.reshape(-1, 1)
        return np.moveaxis(wide, self.axis, -1).reshape(-1, self.size)


@dataclass(frozen=True, slots=True)
class Unexplained:
    """FVU as a loss: 0 for equal outputs, at most 1."""

    explained: Explained
    counted: bool = False

    def tally(self, output: Array, reference: Array) -> Array:
        """As `Explained` does."""
        return self.explained.tally(output, reference)

    def finish(self, sums: Array) -> Array:
        """FVU."""
        return self.explained.unexplained(sums)

    def losses(self, tallies: Array) -> Array:
        """What each sample adds to it, times their number."""
        return self.explained.losses(tallies)
