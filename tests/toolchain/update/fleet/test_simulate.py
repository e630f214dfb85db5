"""Simulated rollouts: all have it, or it stops or stalls, and the figures agree with theory."""

from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.update.fleet.inventory import Device
from hwc.toolchain.update.fleet.links import LINKS, Link
from hwc.toolchain.update.fleet.looks import outcome
from hwc.toolchain.update.fleet.rollout import Rollout
from hwc.toolchain.update.fleet.simulate import Behaviour, Run, simulate
from hwc.toolchain.update.fleet.timeline import Update

N = 1000
ROLLOUT = Rollout.of(N)
MIXED = [
    Device(f"d{i}", "camera", 1, LINKS[name])
    for i, name in enumerate(["ethernet", "lte", "depot", "visit"] * (N // 4))
]


def run(behaviour: Behaviour, seed: int = 0, rollout: Rollout = ROLLOUT) -> Run:
    """One rollout of 1 MB to a mixed fleet."""
    update = Update(np.full(N, 1e6), np.full(N, 1.0))
    return simulate(MIXED, update, rollout, behaviour, seed=seed)


def same(a: Run, b: Run) -> bool:
    """Equal in all figures."""
    blank = np.zeros(0)
    scalars = replace(a, finished=blank).begun == replace(b, finished=blank).begun
    return scalars and a.wire == b.wire and np.array_equal(a.finished, b.finished)


def test_a_good_release_reaches_everybody() -> None:
    good = run(Behaviour(0.0))
    assert good.begun == good.updated == N
    assert (good.failed, good.stopped, good.stalled) == (0, None, False)
    assert good.wire > N * 1e6
    assert len(good.opened) == len(ROLLOUT.shares)
    assert good.hours(0.5) < good.hours(0.9) < good.hours(0.99)


def test_phases_wait() -> None:
    opened = run(Behaviour(0.0)).opened
    assert (np.diff(opened) >= ROLLOUT.hours).all()


def test_a_bad_release_stops_and_leaves_the_rest_alone() -> None:
    bad = run(Behaviour(0.5))
    assert bad.stopped is not None
    assert bad.begun < 60
    assert bad.failed + bad.updated == bad.begun
    assert np.isnan(bad.hours(0.5))


def test_a_release_that_silences_devices_comes_to_stand() -> None:
    silent = run(Behaviour(0.6, silent=1.0))
    assert silent.stopped is None
    assert silent.stalled
    assert silent.begun < 60


def test_without_phases_more_devices_are_hit() -> None:
    at_once = replace(ROLLOUT, shares=ROLLOUT.shares[-1:])
    phased, hit = (
        sum(run(Behaviour(0.3), seed, rollout).begun for seed in range(10))
        for rollout in (ROLLOUT, at_once)
    )
    assert hit > 3 * phased


def test_the_seed_decides_everything() -> None:
    behaviour = Behaviour(0.01, power_cuts=0.1)
    assert same(run(behaviour, 5), run(behaviour, 5))
    assert not same(run(behaviour, 5), run(behaviour, 6))


def test_the_share_of_stops_is_the_computed_one() -> None:
    """Where devices answer one by one, nothing but the rule is left: 200 rollouts at 1 %."""
    link = Link("slow to ask", 1e9, 0.0, 0.0, 0.0, poll=1000.0)
    devices = [Device(f"d{i}", "camera", 1, link) for i in range(N)]
    everybody = replace(ROLLOUT, shares=ROLLOUT.shares[-1:])
    update = Update(np.full(N, 1.0), np.zeros(N))
    runs = [simulate(devices, update, everybody, Behaviour(0.02), seed=i) for i in range(200)]
    stops = np.array([one.stopped is not None for one in runs])
    exact = outcome(ROLLOUT.rule, ROLLOUT.looks, 0.02)
    assert 0.1 < exact.stop < 0.99
    assert abs(stops.mean() - exact.stop) < 4 * np.sqrt(exact.stop * (1 - exact.stop) / 200)
    begun = np.mean([one.begun for one in runs if one.stopped is not None])
    assert begun == pytest.approx(exact.reports, rel=0.15)
