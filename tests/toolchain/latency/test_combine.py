"""One row of several builds: the middle, a spread that holds them, and no better source."""

from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.latency.combine import combine_kernels, combine_timings
from hwc.toolchain.latency.rows import KernelRow
from hwc.toolchain.latency.timing import LONGEST_US, Setting, Timing
from hwc.toolchain.origin import Origin
from hwc.toolchain.slots import Work

SETTING = Setting("host", "onnxruntime", "1.32.0", 1)
DATES = ("2026-01-31", "2026-03-01T10:00:00+02:00", "2026-03-01T09:30:00+00:00")


def timing(median: float, spread: float = 0.0, **changes: object) -> Timing:
    """A timing with the same spread to both sides."""
    made = Timing(
        median, median - spread, median + spread, 8, median, SETTING, DATES[0], Origin.MEASURED
    )
    return replace(made, **changes)


def test_one_build_speaks_for_itself() -> None:
    alone = timing(10.0, 3.0, cpu_us=None)
    assert combine_timings([alone]) == alone


def test_the_mean_and_all_runs() -> None:
    both = combine_timings([timing(10.0), timing(40.0), timing(13.0)])
    assert (both.median_us, both.runs, both.cpu_us) == (21.0, 24, 21.0)


def test_the_extremes_of_many_builds_do_not_count() -> None:
    times = [1.0, *[10.0] * 8, 900.0]
    assert combine_timings([timing(us) for us in times]).median_us == 10.0


def test_builds_that_agree_keep_their_own_spread() -> None:
    both = combine_timings([timing(10.0, 3.0), timing(10.0, 3.0)])
    assert (both.p10_us, both.p90_us) == (7.0, 13.0)


def test_the_spread_between_builds_is_theirs() -> None:
    medians = [10.0, 11.0, 13.0, 20.0]
    both = combine_timings([timing(us) for us in medians])
    wanted = np.percentile(medians, (10, 90))
    np.testing.assert_allclose((both.p10_us, both.p90_us), wanted)


def test_both_spreads_add_in_quadrature() -> None:
    both = combine_timings([timing(10.0, 3.0), timing(20.0, 3.0)])
    assert both.p90_us == pytest.approx(15.0 + (3.0**2 + 4.0**2) ** 0.5)
    assert both.p10_us == pytest.approx(15.0 - (3.0**2 + 4.0**2) ** 0.5)


@pytest.mark.parametrize("us", [0.0, LONGEST_US], ids=["no time", "the longest"])
def test_the_result_stays_within_bounds(us: float) -> None:
    near = abs(us - 5.0)
    both = combine_timings([timing(us), timing(near), timing(us), replace(timing(near), p10_us=0)])
    assert 0.0 <= both.p10_us <= both.median_us <= both.p90_us <= LONGEST_US


def test_the_latest_date_is_a_moment_and_not_a_text() -> None:
    rows = [timing(1.0, date=date) for date in DATES]
    assert combine_timings(rows).date == DATES[2]  # half past eleven in the zone of the second


@pytest.mark.parametrize(
    ("sources", "weakest"),
    [
        ((Origin.MEASURED, Origin.MEASURED), Origin.MEASURED),
        ((Origin.BORROWED, Origin.MEASURED), Origin.BORROWED),
        ((Origin.MEASURED, Origin.ESTIMATED, Origin.BORROWED), Origin.ESTIMATED),
    ],
    ids=["measured", "borrowed", "estimated"],
)
def test_a_sum_is_as_good_as_its_weakest_part(sources: tuple[Origin, ...], weakest: Origin) -> None:
    assert combine_timings([timing(1.0, source=source) for source in sources]).source is weakest


def test_builds_without_cpu_time_do_not_count_in_it() -> None:
    assert combine_timings([timing(1.0, cpu_us=None), timing(3.0)]).cpu_us == 3.0
    assert combine_timings([timing(1.0, cpu_us=None)] * 2).cpu_us is None


def test_kind_and_work_are_the_latest() -> None:
    rows = [
        KernelRow("k", "int8", kind, Work(macs, 0, 0, 0), timing(1.0, date=date))
        for kind, macs, date in (("conv", 2, DATES[2]), ("other", 1, DATES[0]))
    ]
    assert combine_kernels(rows) == replace(rows[0], timing=replace(rows[0].timing, runs=16))
