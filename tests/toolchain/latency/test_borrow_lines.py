"""Conversions are priced by a line through the measured ones."""

import numpy as np
import pytest
from hwc.toolchain.latency.borrow import Borrowed
from hwc.toolchain.latency.borrow_lines import BoundaryBorrower, KnownBoundary, Line
from hwc.toolchain.plan import Precision

FP32, INT8, FP16 = Precision.FP32, Precision.INT8, Precision.FP16


def rows(noise: float = 0.0) -> list[KnownBoundary]:
    rng = np.random.default_rng(0)
    return [
        KnownBoundary(
            before, after, size, (1.5 + slope * size) * float(np.exp(noise * rng.standard_normal()))
        )
        for before, after, slope in ((FP32, INT8, 2e-4), (INT8, FP32, 3e-4))
        for size in range(1_000, 200_000, 9_000)
    ]


def test_a_measured_conversion_keeps_its_time() -> None:
    borrower = BoundaryBorrower.fit(rows(noise=0.3))
    for row in rows(noise=0.3):
        found = borrower.time(row.before, row.after, row.elements)
        assert found == Borrowed(row.us, row.us, row.us, str(row.elements))


@pytest.mark.parametrize("elements", [50, 44_444, 1_000_000])
@pytest.mark.parametrize(("before", "after", "slope"), [(FP32, INT8, 2e-4), (INT8, FP32, 3e-4)])
def test_a_conversion_lies_on_the_line(
    before: Precision, after: Precision, slope: float, elements: int
) -> None:
    found = BoundaryBorrower.fit(rows()).time(before, after, elements)
    assert found is not None
    assert found.us == pytest.approx(1.5 + slope * elements, rel=0.02)
    assert found.low <= found.us <= found.high


def test_noise_shows_in_the_range() -> None:
    exact, noisy = (
        BoundaryBorrower.fit(rows(noise)).time(FP32, INT8, 44_444) for noise in (0.0, 0.4)
    )
    assert exact is not None
    assert noisy is not None
    assert noisy.high / noisy.us > 1.2 > exact.high / exact.us


def test_a_change_that_was_never_measured_has_no_time() -> None:
    assert BoundaryBorrower.fit(rows()).time(FP32, FP16, 1_000) is None
    assert BoundaryBorrower.fit([]).time(FP32, INT8, 1_000) is None


def test_conversions_that_take_nothing() -> None:
    found = Line.fit({10: 0.0, 1_000: 0.0, 50_000: 0.0}).time(20_000)
    assert (found.us, found.low, found.high) == (0.0, 0.0, 0.0)


def test_one_point_is_carried_through_with_a_wide_range() -> None:
    found = Line.fit({56: 40.0}).time(57)
    assert found.us == pytest.approx(40.0, rel=0.1)
    assert found.from_key == "56"
    assert found.high > 2 * found.us
