"""What is computed of repeated looks is what enumerating every rollout says."""

import math
from itertools import product

import pytest
from hwc.toolchain.update.fleet.looks import calibrated, looks, outcome
from hwc.toolchain.update.fleet.wilson import StopRule

RULE = StopRule(0.1, 1.2, least=2)


def enumerated(rule: StopRule, at: tuple[int, ...], rate: float) -> tuple[float, float]:
    """The probability of a stop and the mean reports at it, over all sequences of reports."""
    stop = weighted = 0.0
    for failed in product((0, 1), repeat=at[-1]):
        chance = math.prod(rate if bad else 1 - rate for bad in failed)
        hits = [n for n in at if rule.stops(sum(failed[:n]), n)]
        if hits:
            stop, weighted = stop + chance, weighted + chance * hits[0]
    return stop, weighted / stop


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.4])
@pytest.mark.parametrize(
    "at", [pytest.param(tuple(range(1, 12)), id="each"), pytest.param((3, 7, 12), id="in steps")]
)
def test_outcome_is_exact(at: tuple[int, ...], rate: float) -> None:
    found = outcome(RULE, at, rate)
    assert (found.stop, found.reports) == pytest.approx(enumerated(RULE, at, rate), rel=1e-12)


def test_a_release_that_never_fails_is_never_stopped() -> None:
    found = outcome(RULE, looks(500), 0.0)
    assert found.stop == 0.0
    assert math.isnan(found.reports)


def test_a_release_that_always_fails_stops_at_once() -> None:
    found = outcome(RULE, looks(500), 1.0)
    assert (found.stop, found.reports) == (1.0, 2.0)


def test_worse_releases_stop_more_often() -> None:
    stops = [outcome(RULE, looks(300), rate / 100).stop for rate in range(30)]
    assert stops == sorted(stops)


@pytest.mark.parametrize("devices", [1, 60, 10_000, 1_000_000])
def test_looks_rise_to_the_whole_fleet(devices: int) -> None:
    at = looks(devices)
    assert at[0] == 1
    assert at[-1] == devices
    assert list(at) == sorted(set(at))
    assert len(at) < 600


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_calibrated_keeps_its_promise_and_no_smaller_z_does(alpha: float) -> None:
    at = looks(2000)
    rule = calibrated(at, tolerated=0.01, alpha=alpha, least=3)
    assert outcome(rule, at, 0.01).stop <= alpha
    assert outcome(StopRule(0.01, rule.z - 1e-4, 3), at, 0.01).stop > alpha


def test_one_look_without_correction_would_break_it() -> None:
    """Why z is calibrated: 1.64 promises 5 % of one look, and stops far more over all of them."""
    assert outcome(StopRule(0.01, 1.645, 1), looks(2000), 0.01).stop > 0.3
