"""Two tables side by side: ratios with what the spreads allow, and rows that only one has."""

import math

import pytest
from hwc.toolchain.latency.compare import Pair, compare_rows
from hwc.toolchain.latency.rows import BoundaryRow, KernelRow
from hwc.toolchain.latency.timing import Setting, Timing
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import Precision
from hwc.toolchain.slots import Work

SETTING = Setting("host", "onnxruntime", "1.32.0", 1)


def timing(us: float) -> Timing:
    """A timing of 10 % to either side."""
    return Timing(us, 0.9 * us, 1.1 * us, 8, None, SETTING, "2026-01-31", Origin.MEASURED)


def kernel(key: str, us: float, choice: str = "int8") -> KernelRow:
    return KernelRow(key, choice, "conv", Work(0, 0, 0, 0), timing(us))


def boundary(elements: int, us: float) -> BoundaryRow:
    return BoundaryRow(Precision.FP32, Precision.INT8, elements, timing(us))


@pytest.mark.parametrize(
    ("a", "b", "ratio", "distance"),
    [
        (10.0, 20.0, 2.0, math.log(2)),
        (20.0, 10.0, 0.5, math.log(2)),
        (5.0, 5.0, 1.0, 0.0),
        (0.0, 0.0, 1.0, 0.0),
        (0.0, 5.0, math.inf, math.inf),
        (5.0, 0.0, 0.0, math.inf),
    ],
    ids=["longer", "shorter", "alike", "both nothing", "from nothing", "to nothing"],
)
def test_the_ratio_of_two_rows(a: float, b: float, ratio: float, distance: float) -> None:
    pair = Pair.of(kernel("k", a), kernel("k", b))
    assert pair.ratio == ratio
    assert pair.distance == pytest.approx(distance)
    assert pair.low <= pair.ratio <= pair.high


def test_the_limits_are_what_the_spreads_allow() -> None:
    pair = Pair.of(kernel("k", 10.0), kernel("k", 20.0))
    assert (pair.low, pair.high) == pytest.approx((18 / 11, 22 / 9))


def test_rows_are_matched_by_what_they_are() -> None:
    a = [kernel("k", 1.0), kernel("k", 1.0, "fp32"), kernel("gone", 1.0), boundary(64, 4.0)]
    b = [boundary(64, 1.0), boundary(65, 1.0), kernel("k", 2.0, "fp32"), kernel("k", 1.1)]
    found = compare_rows(a, b)
    assert [(pair.a, pair.b) for pair in found.pairs] == [(a[3], b[0]), (a[1], b[2]), (a[0], b[3])]
    assert found.only_a == (a[2],)
    assert found.only_b == (b[1],)


def test_the_middle_and_how_many_are_far() -> None:
    ratios = (0.85, 0.95, 1.0, 1.05, 1.3)
    a = [kernel(str(i), 100.0) for i in range(len(ratios))]
    b = [kernel(str(i), 100.0 * ratio) for i, ratio in enumerate(ratios)]
    found = compare_rows(a, b)
    assert found.median_ratio == 1.0
    assert (found.beyond(0.1), found.beyond(0.2), found.beyond(0.0)) == (2, 1, 4)


def test_nothing_in_common() -> None:
    found = compare_rows([kernel("k", 1.0)], [])
    assert (found.median_ratio, found.beyond(0.1), found.pairs) == (None, 0, ())
