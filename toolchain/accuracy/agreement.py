"""How far one output agrees with the original model's, without labels.

Each measure adds up over samples: `tally` gives a vector for one sample, `finish` turns sums of
these into figures. So samples stream through, and resampling is one matrix product.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..engine import Array
from .kinds import Kind, OutputKind, class_rows

_BROKEN = 1e200  # error of an output that is not finite; finite, so that a weight of 0 removes it
_ROUNDING = 1e-12  # what subtracting two large sums leaves of a constant, relative to them
_TINY = 1e-9  # smallest probability that KL sees


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


@dataclass(frozen=True, slots=True)
class Top1:
    """The part of the batch whose most likely class is unchanged."""

    counted: bool = True

    def tally(self, output: Array, reference: Array) -> Array:
        """[agreement, 1]."""
        if not _sound(output, reference):
            return np.array([0.0, 1.0])
        same = class_rows(output).argmax(1) == class_rows(reference).argmax(1)
        return np.array([same.mean(), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return _ratio(sums)


@dataclass(frozen=True, slots=True)
class Sequence1:
    """The part of the batch whose decoded sequence is unchanged.

    Decoded as in CTC (Graves et al. 2006): the most likely class of each position, repeats merged,
    the most common class (blank, "outside") left out. Agreement per position would be too kind: a
    word is wrong as soon as one of its characters is.
    """

    common: int
    counted: bool = True

    def tally(self, output: Array, reference: Array) -> Array:
        """[agreement, 1]."""
        if not _sound(output, reference):
            return np.array([0.0, 1.0])
        pairs = zip(output.argmax(-1), reference.argmax(-1), strict=True)
        same = [np.array_equal(self._decode(a), self._decode(b)) for a, b in pairs]
        return np.array([np.mean(same), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return _ratio(sums)

    def _decode(self, classes: Array) -> Array:
        changes = np.concatenate([[True], classes[1:] != classes[:-1]])
        merged: Array = classes[changes]
        decoded: Array = merged[merged != self.common]
        return decoded


@dataclass(frozen=True, slots=True)
class MapOverlap:
    """Mean intersection over union of the class maps, over the classes of the original's map.

    Agreement per pixel would hide the loss of a small object behind the background.
    """

    axis: int
    counted: bool = True

    def tally(self, output: Array, reference: Array) -> Array:
        """[mean IoU, 1]."""
        if not _sound(output, reference):
            return np.array([0.0, 1.0])
        a, b = output.argmax(self.axis).ravel(), reference.argmax(self.axis).ravel()
        size = reference.shape[self.axis]
        both = np.bincount(b[a == b], minlength=size)
        either = np.bincount(a, minlength=size) + np.bincount(b, minlength=size) - both
        present = np.unique(b)
        return np.array([(both[present] / either[present]).mean(), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return _ratio(sums)


@dataclass(frozen=True, slots=True)
class Exact:
    """Whether integers, booleans or texts are unchanged."""

    counted: bool = True

    def tally(self, output: Array, reference: Array) -> Array:
        """[agreement, 1]."""
        return np.array([float(np.array_equal(output, reference)), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return _ratio(sums)


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
        elif not _sound(output, reference):
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
        error, total, energy = np.split(sums[:, :-1], 3, axis=1)
        spread = np.maximum(energy - total**2 / np.maximum(sums[:, -1:], 1.0), 0.0)
        if self.one_unit:
            error, spread, energy = (x.sum(1, keepdims=True) for x in (error, spread, energy))
        alive = spread > _ROUNDING * energy
        constant = ~alive.any(1, keepdims=True)
        base = np.where(constant, energy, spread)
        part = np.where(error > 0, np.minimum(error / np.maximum(base, 1e-300), 1.0), 0.0)
        used = alive | constant
        fvu: Array = (part * used).sum(1) / used.sum(1)
        return np.where((error >= _BROKEN).any(1), 1.0, fvu)

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


@dataclass(frozen=True, slots=True)
class Changed:
    """The part of the samples whose discrete output is not the original's."""

    counted: bool = False

    def tally(self, output: Array, reference: Array) -> Array:
        """[change, 1]."""
        return np.array([float(not np.array_equal(output, reference)), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return _ratio(sums)


@dataclass(frozen=True, slots=True)
class Divergence:
    """Mean Kullback-Leibler divergence of the class probabilities from the original's, in nats."""

    kind: OutputKind
    counted: bool = False

    def tally(self, output: Array, reference: Array) -> Array:
        """[sum over positions, number of positions]."""
        q = self._probabilities(reference)
        if not _sound(output, reference):
            return np.array([len(q) * -np.log(_TINY), len(q)])
        p = self._probabilities(output)
        return np.array([(q * (np.log(q) - np.log(p))).sum(), len(q)])

    def finish(self, sums: Array) -> Array:
        """Mean of the positions."""
        return _ratio(sums)

    def _probabilities(self, array: Array) -> Array:
        """Probabilities, shape (positions, classes), none of them zero."""
        wide = np.moveaxis(array, self.kind.axis, -1) if array.ndim > 2 else array  # noqa: PLR2004 - [batch, K] as it is
        rows = wide.reshape(-1, self.kind.size).astype(np.float64)
        if not self.kind.probabilities:
            rows = np.exp(rows - rows.max(1, keepdims=True))
        rows = np.maximum(rows, _TINY * rows.sum(1, keepdims=True))
        normal: Array = rows / rows.sum(1, keepdims=True)
        return normal


def agreement_measures(kind: OutputKind) -> list[tuple[str, Measure]]:
    """The named measures of which the worst decides how well an output of this kind agrees.

    Logits are held to their numbers as well: a regression in pixels looks like them, and its
    largest element need not move when all others do. For true logits this costs nothing, since
    small errors change more classes than variance.
    """
    explained: list[tuple[str, Measure]] = [("1 - FVU", part) for part in _explained(kind)]
    match kind.kind:
        case Kind.CLASSES:
            return [("top-1", Top1()), *([] if kind.probabilities else explained)]
        case Kind.SEQUENCE:
            return [("sequence", Sequence1(kind.common))]
        case Kind.MAP:
            return [("class map IoU", MapOverlap(kind.axis))]
        case Kind.DISCRETE:
            return [("exact", Exact())]
        case Kind.VALUES:
            return explained


def loss_measures(kind: OutputKind) -> list[Measure]:
    """The losses that are added up: smooth, but for discrete values, which have no such."""
    match kind.kind:
        case Kind.DISCRETE:
            return [Changed()]
        case Kind.VALUES:
            return [Unexplained(part) for part in _explained(kind)]
        case _:
            return [Divergence(kind)]


def _explained(kind: OutputKind) -> list[Explained]:
    """Explained variance along each axis that may count channels."""
    return [Explained(axis, size, kind.one_unit) for axis, size in kind.channels]


def _sound(output: Array, reference: Array) -> bool:
    """Whether an output can be compared at all: same shape, finite where the original is."""
    if output.shape != reference.shape:
        return False
    return bool(np.isfinite(output[np.isfinite(reference)]).all())


def _ratio(sums: Array) -> Array:
    """The first column over the second."""
    ratio: Array = sums[:, 0] / sums[:, 1]
    return ratio
