"""Measures that say of each sample how far it agrees: classes, sequences, maps, discrete values."""

from dataclasses import dataclass

import numpy as np

from ..engine import Array
from .kinds import class_rows
from .measure import ratio_of, shares_of, sound


@dataclass(frozen=True, slots=True)
class Top1:
    """The part of the batch whose most likely class is unchanged."""

    counted: bool = True

    def tally(self, output: Array, reference: Array) -> Array:
        """[agreement, 1]."""
        if not sound(output, reference):
            return np.array([0.0, 1.0])
        same = class_rows(output).argmax(1) == class_rows(reference).argmax(1)
        return np.array([same.mean(), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return ratio_of(sums)


@dataclass(frozen=True, slots=True)
class SameSequence:
    """The part of the batch whose decoded sequence is unchanged.

    Decoded as in CTC (Graves et al. 2006): the most likely class of each position, repeats merged,
    the most common class (blank, "outside") left out. Agreement per position would be too kind: a
    word is wrong as soon as one of its characters is.
    """

    common: int
    counted: bool = True

    def tally(self, output: Array, reference: Array) -> Array:
        """[agreement, 1]."""
        if not sound(output, reference):
            return np.array([0.0, 1.0])
        pairs = zip(output.argmax(-1), reference.argmax(-1), strict=True)
        same = [np.array_equal(self._decode(a), self._decode(b)) for a, b in pairs]
        return np.array([np.mean(same), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return ratio_of(sums)

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
        if not sound(output, reference):
            return np.array([0.0, 1.0])
        a, b = output.argmax(self.axis).ravel(), reference.argmax(self.axis).ravel()
        size = reference.shape[self.axis]
        both = np.bincount(b[a == b], minlength=size)
        either = np.bincount(a, minlength=size) + np.bincount(b, minlength=size) - both
        present = np.unique(b)
        return np.array([(both[present] / either[present]).mean(), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return ratio_of(sums)


@dataclass(frozen=True, slots=True)
class Exact:
    """Whether integers, booleans or texts are unchanged."""

    counted: bool = True

    def tally(self, output: Array, reference: Array) -> Array:
        """[agreement, 1]."""
        return np.array([float(np.array_equal(output, reference)), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return ratio_of(sums)


@dataclass(frozen=True, slots=True)
class Changed:
    """The part of the samples whose discrete output is not the original's."""

    counted: bool = False

    def tally(self, output: Array, reference: Array) -> Array:
        """[change, 1]."""
        return np.array([float(not np.array_equal(output, reference)), 1.0])

    def finish(self, sums: Array) -> Array:
        """Mean of the samples."""
        return ratio_of(sums)

    def losses(self, tallies: Array) -> Array:
        """1 where the sample changed."""
        return shares_of(tallies)
