"""Whether a latency table still holds: what builds took when they were measured, and take now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .rows import KernelRow, MeasuredBuild

# Whole builds of one model, measured minutes apart on a busy machine, differ by up to 8 %.
TOTAL = 0.1
# A single kernel differs by more: two sessions lay their memory out differently.
ROW = 0.25
SHARE = 0.1  # of the time that may lie in rows which differ by more than that


@dataclass(frozen=True, slots=True)
class Drift:
    """Now against then.

    Attributes:
        builds: How many builds were measured again.
        rows: How many kernel rows those have.
        total: What whole builds take now over what they took then; the median.
        off: Share of the time that is in rows which differ by more than `ROW`, after that.
        worst: Keys of those rows, with now over then, the one with most time first.
    """

    builds: int
    rows: int
    total: float
    off: float
    worst: tuple[tuple[str, str, float], ...]

    @property
    def holds(self) -> bool:
        """Whether predictions from the table can still be trusted."""
        return abs(self.total - 1.0) <= TOTAL and self.off <= SHARE

    @property
    def verdict(self) -> str:
        """One line that says so, and why."""
        if self.holds:
            return f"holds: builds take {self.total:.3f} of what they took"
        if self.off <= SHARE:
            return (
                f"does not hold: everything takes {self.total:.2f} of what it took "
                "(clocks, power mode, or other load)"
            )
        return (
            f"does not hold: {self.off:.0%} of the time is in kernels that changed by more than "
            f"{ROW:.0%} (another runtime, driver or machine)"
        )


def drift(pairs: Sequence[tuple[MeasuredBuild, float, Iterable[KernelRow]]]) -> Drift:
    """Compare builds with what they take now.

    Args:
        pairs: Each build of the table with its whole time now, in microseconds, and its rows now.
    """
    total = float(np.median([now / then.build.total_us for then, now, _ in pairs]))
    changed: list[tuple[float, str, str, float]] = []
    all_us, rows = 0.0, 0
    for then, _, now_rows in pairs:
        before = {(row.key, row.choice): row.timing.median_us for row in then.kernels}
        for row in now_rows:
            was, us = before.get((row.key, row.choice), 0.0), row.timing.median_us / total
            all_us, rows = all_us + max(was, us), rows + 1
            if abs(us - was) > ROW * max(was, us):
                changed.append((max(was, us), row.key, row.choice, us / was if was else np.inf))
    off = sum(us for us, *_ in changed) / all_us if all_us else 0.0
    worst = tuple((key, choice, ratio) for _, key, choice, ratio in sorted(changed, reverse=True))
    return Drift(len(pairs), rows, total, off, worst)
