"""Two latency tables side by side: how much longer each kernel and boundary takes in the second."""

import math
import statistics
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Self

from .rows import BoundaryRow, KernelRow
from .timing import Timing

Row = KernelRow | BoundaryRow


@dataclass(frozen=True, slots=True)
class Pair:
    """A kernel or boundary that both tables have.

    Attributes:
        a: Its row in the first table.
        b: Its row in the second.
        ratio: The second's median over the first's; infinite where the first took no time.
        low: The least that the spreads allow: b's tenth over a's ninetieth percentile.
        high: The most: b's ninetieth over a's tenth percentile.
    """

    a: Row
    b: Row
    ratio: float
    low: float
    high: float

    @classmethod
    def of(cls, a: Row, b: Row) -> Self:
        """Compare two rows of the same kernel or boundary."""
        then, now = a.timing, b.timing
        return cls(a, b, _over(now.median_us, then.median_us), *_limits(then, now))

    @property
    def distance(self) -> float:
        """How far the ratio is from 1, to either side: twice and half as long are equally far."""
        return abs(math.log(self.ratio)) if 0 < self.ratio < math.inf else math.inf


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two tables have in common, and what not.

    Attributes:
        pairs: Rows of both, the biggest differences first.
        only_a: Rows of the first alone.
        only_b: Rows of the second alone.
    """

    pairs: tuple[Pair, ...]
    only_a: tuple[Row, ...]
    only_b: tuple[Row, ...]

    @property
    def median_ratio(self) -> float | None:
        """The middle one of the ratios; None where there are none."""
        return statistics.median(pair.ratio for pair in self.pairs) if self.pairs else None

    def beyond(self, share: float) -> int:
        """How many rows differ by more than a share of the first's time."""
        return sum(abs(pair.ratio - 1) > share for pair in self.pairs)


def compare_rows(a: Iterable[Row], b: Iterable[Row]) -> Comparison:
    """Compare the rows of one setting with those of another, or of the same at another time."""
    first, second = ({identity(row): row for row in rows} for rows in (a, b))
    pairs = [Pair.of(row, second[key]) for key, row in first.items() if key in second]
    return Comparison(
        tuple(sorted(pairs, key=lambda pair: -pair.distance)),
        _without(first.values(), second),
        _without(second.values(), first),
    )


def identity(row: Row) -> Hashable:
    """What a row shares with the row of the same kernel or boundary in another table."""
    return (row.key, row.choice) if isinstance(row, KernelRow) else row.change


def _without(rows: Iterable[Row], others: dict[Hashable, Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if identity(row) not in others)


def _limits(a: Timing, b: Timing) -> tuple[float, float]:
    return _over(b.p10_us, a.p90_us), _over(b.p90_us, a.p10_us)


def _over(b: float, a: float) -> float:
    """A ratio of two times, of which either may be nothing."""
    if a == b:
        return 1.0
    return b / a if a > 0 else math.inf
