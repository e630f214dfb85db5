"""The gate lets nothing through that is wrong, too inaccurate or not surely faster."""

import math

import numpy as np
import pytest
from hwc.toolchain.engine import Array, Status
from hwc.toolchain.timing import Clock, Interval, Paired, Spread
from hwc.toolchain.verify import (
    OTHER_RUNTIME,
    GateDecision,
    Numbers,
    Tolerance,
    compare_outputs,
    gate,
    owed,
    regressions,
)

TOLERANCE = Tolerance(max_drop=0.01)
GOOD = Numbers(sqnr_db=30.0)


def paired(low: float, high: float, clock: Clock = Clock.CPU) -> Paired:
    """A comparison with this interval on one clock, and a clear gain on the other."""
    spread = dict.fromkeys(Clock, Spread(1, 1, 1))
    ratio = dict.fromkeys(Clock, Interval(2, 1.9, 2.1)) | {
        clock: Interval((low + high) / 2, low, high)
    }
    return Paired(spread, spread, ratio, 30, settled=True)


def test_equal_outputs() -> None:
    x = np.array([1.0, -2.0, np.nan, np.inf])
    numbers = compare_outputs({"y": x}, {"y": x.copy()})
    assert numbers == Numbers(worst="y")


def test_figures() -> None:
    numbers = compare_outputs({"y": np.array([3.0, 4.0])}, {"y": np.array([3.0, 4.5])})
    assert numbers.max_abs == 0.5
    assert numbers.rel == 0.125
    assert numbers.sqnr_db == pytest.approx(10 * math.log10(25 / 0.25))
    assert numbers.cosine == pytest.approx((9 + 18) / (5 * math.hypot(3, 4.5)))


def test_the_worst_output_decides() -> None:
    reference = {"big": np.full(1000, 100.0), "small": np.array([1e-3, 2e-3])}
    got = {"big": np.full(1000, 100.1), "small": np.array([2e-3, 1e-3])}
    numbers = compare_outputs(reference, got)
    assert numbers.worst == "small"
    assert numbers.sqnr_db == pytest.approx(10 * math.log10(5 / 2))
    assert numbers.max_abs == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("reference", "got", "expected"),
    [
        (np.ones(2), np.array([1, np.nan]), {"finite": False}),
        (np.ones(2), np.array([1, np.inf]), {"finite": False}),
        (np.ones(2), np.ones(3), {"same_shape": False, "finite": True}),
        (np.zeros(2), np.ones(2), {"sqnr_db": -math.inf, "rel": math.inf, "cosine": 0.0}),
        (np.array([True]), np.array([False]), {"max_abs": 1.0}),
        (np.array(["a"], object), np.array(["a"]), {"sqnr_db": math.inf}),
        (np.array(["a"], object), np.array(["b"]), {"sqnr_db": -math.inf}),
        (np.zeros((0, 4)), np.zeros((0, 4)), {"sqnr_db": math.inf}),
        (np.array([-np.inf, 1.0]), np.array([-65504.0, 1.0]), {"finite": True, "max_abs": 0.0}),
        (np.array([2**31], np.uint32), np.array([0], np.uint32), {"max_abs": 2.0**31}),
    ],
    ids=["nan", "inf", "shape", "zero", "bool", "text", "other text", "empty", "mask", "unsigned"],
)
def test_special_outputs(reference: Array, got: Array, expected: dict[str, object]) -> None:
    numbers = compare_outputs({"y": reference}, {"y": got})
    assert {name: getattr(numbers, name) for name in expected} == expected


def test_a_missing_output_is_another_shape() -> None:
    assert not compare_outputs({"y": np.ones(1)}, {"z": np.ones(1)}).same_shape


def test_accepts_with_the_reasons() -> None:
    decision = gate(GOOD, paired(1.01, 1.2), drop=0.005, tolerance=TOLERANCE)
    assert decision.accepted
    assert len(decision.reasons) == 3


@pytest.mark.parametrize(
    ("numbers", "interval", "drop", "reason"),
    [
        (Numbers(finite=False, worst="y"), (1.5, 1.6), 0.0, "output 'y' is NaN"),
        (Numbers(same_shape=False, worst="y"), (1.5, 1.6), None, "another shape"),
        (GOOD, (1.5, 1.6), 0.0101, "drop 1.01%, allowed 1.00%"),
        (GOOD, (1.5, 1.6), math.nan, "drop nan"),
        (GOOD, (0.99, 1.3), 0.0, "not surely faster"),
        (GOOD, (1.0, 1.3), 0.0, "not surely faster"),
        (GOOD, (0.5, 0.6), 0.0, "not surely faster"),
    ],
    ids=["nan", "shape", "drop", "drop unknown", "maybe slower", "equal", "slower"],
)
def test_refuses(
    numbers: Numbers, interval: tuple[float, float], drop: float | None, reason: str
) -> None:
    decision = gate(numbers, paired(*interval), drop=drop, tolerance=TOLERANCE)
    assert not decision.accepted
    assert len(decision.reasons) == 1
    assert reason in decision.reasons[0]


def test_every_reason_against_is_told() -> None:
    decision = gate(Numbers(finite=False), paired(0.5, 0.6), drop=0.5, tolerance=TOLERANCE)
    assert len(decision.reasons) == 3


def test_only_the_chosen_clock_counts() -> None:
    slower_on_wall = paired(0.8, 0.9, Clock.WALL)
    assert gate(GOOD, slower_on_wall, drop=0.0, tolerance=TOLERANCE).accepted
    wall = Tolerance(0.01, Clock.WALL)
    assert not gate(GOOD, slower_on_wall, drop=0.0, tolerance=wall).accepted


def test_a_metric_judges_outputs_whose_shape_depends_on_the_data() -> None:
    other_shape = Numbers(same_shape=False, sqnr_db=-math.inf)
    assert gate(other_shape, paired(1.1, 1.2), drop=0.0, tolerance=TOLERANCE).accepted


def test_what_was_not_checked_is_said() -> None:
    decision = gate(None, None, drop=None, tolerance=TOLERANCE)
    assert decision.accepted
    assert all("not" in reason for reason in decision.reasons)


def test_the_original_is_accepted_by_identity() -> None:
    assert GateDecision.identity().accepted


@pytest.mark.parametrize(
    ("recorded", "now", "worse"),
    [
        (GOOD, GOOD, False),
        (GOOD, Numbers(sqnr_db=29.2), False),
        (GOOD, Numbers(sqnr_db=28.9), True),
        (GOOD, Numbers(finite=False), True),
        (GOOD, Numbers(same_shape=False), True),
        (Numbers(same_shape=False, sqnr_db=-math.inf), Numbers(same_shape=False), False),
        (Numbers(sqnr_db=math.inf), Numbers(sqnr_db=110.0), False),
        (Numbers(sqnr_db=math.inf), Numbers(sqnr_db=40.0), True),
    ],
    ids=["same", "noise", "worse", "nan", "shape", "known shape", "exact", "no longer exact"],
)
def test_regressions(recorded: Numbers, now: Numbers, *, worse: bool) -> None:
    assert bool(regressions(recorded, now)) is worse


@pytest.mark.parametrize(
    ("recorded", "now", "worse"),
    [(math.inf, 55.0, False), (math.inf, 40.0, True), (30.0, 25.0, False), (30.0, 23.0, True)],
    ids=["tf32", "not even fp16", "other rounding", "wrong scale"],
)
def test_another_runtime_has_other_arithmetic(recorded: float, now: float, *, worse: bool) -> None:
    found = regressions(Numbers(sqnr_db=recorded), Numbers(sqnr_db=now), OTHER_RUNTIME)
    assert bool(found) is worse


def test_what_a_device_owes() -> None:
    assert {check.status for check in owed("Orin")} == {Status.OWED}
    assert all("Orin" in check.detail for check in owed("Orin"))


def test_no_samples_give_no_difference() -> None:
    assert Numbers.worst_of([]) == Numbers()
