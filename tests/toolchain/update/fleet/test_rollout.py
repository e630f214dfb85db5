"""Phases, and what the metadata say next."""

from itertools import pairwise

import numpy as np
import pytest
from hwc.toolchain.update.fleet.rollout import Rollout, Setting
from hwc.toolchain.update.fleet.wilson import StopRule
from hwc.toolchain.update.offer import BUCKETS, Offer, Step, bucket

HALTED = Setting(100, "s", halted=True)
ROLLOUT = Rollout((100, 1000, BUCKETS), 4.0, 0.75, StopRule(0.01, 3.0, 2), (1, 2, 3, 4, 8, 16))


def test_a_bucket_is_the_digest_of_salt_and_name() -> None:
    # printf 'spring:camera-17' | sha256sum, and the number modulo 10,000
    assert bucket("spring:", "camera-17") == int(SPRING, 16) % BUCKETS


SPRING = "bb3e546637951acd3b020484479ccea4052d2633f433f5d0cba3788403655cf1"


def test_buckets_are_even() -> None:
    counts = np.bincount([bucket("s", f"d{i}") * 10 // BUCKETS for i in range(10_000)])
    assert np.abs(counts - 1000).max() < 120  # four standard deviations


@pytest.mark.parametrize(
    ("share", "halted", "admitted"),
    [
        pytest.param(0, False, False, id="none"),
        pytest.param(BUCKETS, False, True, id="all"),
        pytest.param(BUCKETS, True, False, id="halted"),
    ],
)
def test_whom_an_offer_admits(share: int, *, halted: bool, admitted: bool) -> None:
    step = Step("0" * 64, "camera", "1.4", 3, 0, ())
    assert Offer((step,), share, "salt", halted, 0).admits("camera-17") is admitted


def test_a_growing_share_drops_nobody() -> None:
    step = Step("0" * 64, "camera", "1.4", 3, 0, ())
    offers = [Offer((step,), share, "salt", halted=False, trusted_time=0) for share in (500, 900)]
    small, large = ({i for i in range(999) if offer.admits(f"{i}")} for offer in offers)
    assert small < large


@pytest.mark.parametrize("devices", [1, 7, 300, 10_000, 5_000_000])
def test_phases_rise_to_everybody(devices: int) -> None:
    shares = Rollout.of(devices).shares
    assert shares[-1] == BUCKETS
    assert shares[0] >= 1
    assert all(before < after for before, after in pairwise(shares))


def test_the_first_phase_of_a_small_fleet_is_not_everybody() -> None:
    assert Rollout.of(300).shares == (667, 1334, 2000, 2667, 4000, BUCKETS)  # 20 of 300, ...


@pytest.mark.parametrize(
    ("failed", "count"),
    [
        pytest.param([], None, id="no report"),
        pytest.param([True], None, id="one accident"),
        pytest.param([True, True], 2, id="two of two"),
        pytest.param([False] * 4 + [True, True], None, id="between two looks"),
        pytest.param([False] * 4 + [True, True, False, False], 8, id="at the next look"),
        pytest.param([False] * 14 + [True, True], 16, id="late"),
    ],
)
def test_stopped_at(failed: list[bool], count: int | None) -> None:
    assert ROLLOUT.stopped_at(np.array(failed, dtype=np.bool_)) == count


@pytest.mark.parametrize(
    ("setting", "failed", "hours", "expected"),
    [
        pytest.param(Setting(100, "s"), [False] * 8, 5.0, Setting(1000, "s"), id="next phase"),
        pytest.param(Setting(100, "s"), [False] * 8, 3.9, Setting(100, "s"), id="too early"),
        pytest.param(Setting(100, "s"), [False] * 7, 9.0, Setting(100, "s"), id="too few reports"),
        pytest.param(Setting(100, "s"), [True] * 2, 0.1, HALTED, id="stop"),
        pytest.param(HALTED, [False] * 8, 9.0, HALTED, id="for good"),
        pytest.param(
            Setting(BUCKETS, "s"), [False] * 8, 9.0, Setting(BUCKETS, "s"), id="everybody"
        ),
    ],
)
def test_next(setting: Setting, failed: list[bool], hours: float, expected: Setting) -> None:
    assert ROLLOUT.next(setting, failed, members=10, hours=hours) == expected
