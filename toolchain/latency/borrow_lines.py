"""Times over one size: of a conversion over its elements, of a graph's rest over its slots."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..plan import Precision
from .borrow import Borrowed
from .borrow_trend import Trend
from .wiring import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A launch and a cost of each unit of size, corrected by the nearest measured sizes.

    Attributes:
        known: The measured times, by size.
        sizes: The logarithms of those sizes; shape (N,).
        trend: Through those times.
    """

    known: Mapping[int, float]
    sizes: Floats
    trend: Trend

    @classmethod
    def fit(cls, known: Mapping[int, float]) -> Self:
        """Learn from the times at some sizes, in microseconds; at least one."""
        sizes = np.log1p(list(known))
        features = np.array([(1.0, size) for size in known])
        us = np.array(list(known.values()), np.float64)
        return cls(known, sizes, Trend.fit(features, us, np.abs(sizes[:, None] - sizes)))

    def time(self, size: int) -> Borrowed:
        """The time at a size: measured if it was, else borrowed."""
        us = self.known.get(size)
        if us is not None:
            return Borrowed(us, us, us, str(size))
        guess = self.trend.guess(np.array((1.0, size)), np.abs(self.sizes - np.log1p(size)))
        return Borrowed(guess.us, guess.low, guess.high, str(list(self.known)[guess.nearest]))


@dataclass(frozen=True, slots=True)
class KnownBoundary:
    """The measured time of converting a tensor of `elements` from one format to another."""

    before: Precision
    after: Precision
    elements: int
    us: float


@dataclass(frozen=True, slots=True, eq=False)
class BoundaryBorrower:
    """One line for each change of format."""

    lines: Mapping[tuple[Precision, Precision], Line]

    @classmethod
    def fit(cls, rows: Iterable[KnownBoundary]) -> Self:
        """Learn from conversions; of rows that agree in all but the time the last counts."""
        known: dict[tuple[Precision, Precision], dict[int, float]] = {}
        for row in rows:
            known.setdefault((row.before, row.after), {})[row.elements] = row.us
        return cls({change: Line.fit(times) for change, times in known.items()})

    def time(self, before: Precision, after: Precision, elements: int) -> Borrowed | None:
        """The time of a conversion; None where that change of format was never measured."""
        line = self.lines.get((before, after))
        return line.time(elements) if line else None
