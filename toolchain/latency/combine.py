"""One row of what several builds showed of the same kernel or boundary."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from ..origin import Origin
from .rows import BoundaryRow, KernelRow
from .timing import LONGEST_US, Timing, moment

_TRIMMED = 10  # one in so many is left out at either end
_WEAKEST_LAST = (Origin.MEASURED, Origin.BORROWED, Origin.ESTIMATED)


def combine_kernels(rows: Sequence[KernelRow]) -> KernelRow:
    """Rows of one key and choice as one; kind and work are those of the latest."""
    latest = max(rows, key=lambda row: moment(row.timing.date))
    return replace(latest, timing=combine_timings([row.timing for row in rows]))


def combine_boundaries(rows: Sequence[BoundaryRow]) -> BoundaryRow:
    """Rows of one change of one size as one."""
    return replace(rows[0], timing=combine_timings([row.timing for row in rows]))


def combine_timings(timings: Sequence[Timing]) -> Timing:
    """The mean over builds, with a spread that holds that within builds and that between them.

    The mean, because a plan's price is a sum over kernels, and medians do not add up: predictions
    from medians were 2 to 4 % low. The extremes of many builds do not count. The two spreads are
    independent, so they add in quadrature: in place, a kernel's time depends on its neighbours,
    and on where a build's memory happens to lie.
    """
    if len(timings) == 1:
        return timings[0]
    medians = [timing.median_us for timing in timings]
    median = _trimmed_mean(medians)
    tenths = statistics.quantiles(medians, n=10, method="inclusive")
    below = statistics.median(timing.median_us - timing.p10_us for timing in timings)
    above = statistics.median(timing.p90_us - timing.median_us for timing in timings)
    cpu = [timing.cpu_us for timing in timings if timing.cpu_us is not None]
    return Timing(
        median_us=median,
        p10_us=max(0.0, median - math.hypot(below, max(0.0, median - tenths[0]))),
        p90_us=min(LONGEST_US, median + math.hypot(above, max(0.0, tenths[-1] - median))),
        runs=sum(timing.runs for timing in timings),
        cpu_us=_trimmed_mean(cpu) if cpu else None,
        setting=timings[0].setting,
        date=max((timing.date for timing in timings), key=moment),
        source=max((timing.source for timing in timings), key=_WEAKEST_LAST.index),
    )


def _trimmed_mean(values: Sequence[float]) -> float:
    """The mean without the largest and smallest tenth."""
    cut = len(values) // _TRIMMED
    return statistics.fmean(sorted(values)[cut : len(values) - cut])
