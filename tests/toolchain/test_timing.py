"""Timing pairs engines fairly; a simulated clock stands for the machine."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hwc.toolchain.engine import Array, Feeds, Runner
from hwc.toolchain.timing import Clock, Spread, Timing, latency, paired_latency, ratio_interval


class Machine:
    """A clock that runners advance; nothing really waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0  # microseconds
        self.order: list[str] = []
        monkeypatch.setattr(
            "hwc.toolchain.timing.time.perf_counter_ns", lambda: round(self.now * 1e3)
        )
        monkeypatch.setattr(
            "hwc.toolchain.timing.time.process_time_ns", lambda: round(self.now * 500)
        )
        monkeypatch.setattr("hwc.toolchain.timing.time.perf_counter", lambda: self.now / 1e6)

    def runner(self, name: str, us: Callable[[], float]) -> Runner:
        """An engine that takes so many microseconds, half of them on the CPU."""

        def run(feeds: Feeds) -> dict[str, Array]:
            del feeds
            self.order.append(name)
            self.now += us()
            return {}

        return run


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_both_clocks_and_the_ratio(machine: Machine) -> None:
    a, b = machine.runner("a", lambda: 3000.0), machine.runner("b", lambda: 2000.0)
    paired = paired_latency(a, b, {})
    assert paired.a == {Clock.WALL: Spread(3000, 3000, 3000), Clock.CPU: Spread(1500, 1500, 1500)}
    assert paired.b[Clock.WALL].median == 2000
    for clock in Clock:
        ratio = paired.ratio[clock]
        assert (ratio.value, ratio.low, ratio.high) == (1.5, 1.5, 1.5)
    assert (paired.runs, paired.settled) == (Timing().min_runs, True)


def test_runs_in_turns_and_alternates_who_is_first(machine: Machine) -> None:
    a, b = machine.runner("a", lambda: 1e3), machine.runner("b", lambda: 1e3)
    paired_latency(a, b, {}, Timing(warm_up=1, min_runs=4, max_runs=4))
    assert "".join(machine.order) == "ab" + "abbaabba"


def test_a_slow_drift_of_the_machine_does_not_move_the_ratio(machine: Machine) -> None:
    a = machine.runner("a", lambda: 1000 * (1 + machine.now / 1e5))
    b = machine.runner("b", lambda: 500 * (1 + machine.now / 1e5))
    ratio = paired_latency(a, b, {}, Timing(min_runs=100, max_runs=100)).ratio[Clock.WALL]
    assert ratio.value == pytest.approx(2.0, rel=0.02)


def test_noise_runs_longer_until_settled(machine: Machine) -> None:
    random = np.random.default_rng(3)
    a = machine.runner("a", lambda: 1000 * random.lognormal(0, 0.1))
    b = machine.runner("b", lambda: 1000 * random.lognormal(0, 0.1))
    paired = paired_latency(a, b, {}, Timing(seconds=100))
    ratio = paired.ratio[Clock.CPU]
    assert paired.settled
    assert paired.runs > 4 * Timing().min_runs
    assert ratio.high - ratio.low <= 0.02 * ratio.value
    assert ratio.low <= 1.0 <= ratio.high


def test_says_that_it_did_not_settle_when_the_time_is_up(machine: Machine) -> None:
    random = np.random.default_rng(3)
    a = machine.runner("a", lambda: 1e4 * random.lognormal(0, 1))
    paired = paired_latency(a, a, {}, Timing(seconds=2))
    assert not paired.settled
    assert paired.runs < 200
    assert machine.now < 3e6


def test_no_run_is_left_out(machine: Machine) -> None:
    times = iter([100.0] * 2 + [1000.0, 1000.0] * 9 + [1e6, 1000.0])
    a = machine.runner("a", lambda: next(times))
    paired = paired_latency(
        a, a, {}, Timing(warm_up=1, min_runs=10, max_runs=10, sample_us=1, seconds=math.inf)
    )
    assert paired.runs == 10
    assert max(paired.a[Clock.WALL].p90, paired.b[Clock.WALL].p90) > 1000


def test_short_engines_are_timed_several_at_once(machine: Machine) -> None:
    a = machine.runner("a", lambda: 10.0)
    paired = paired_latency(a, a, {}, Timing(min_runs=5, max_runs=5, warm_up=1, sample_us=200))
    assert len(machine.order) == 2 + 2 * 5 * 20
    assert paired.a[Clock.WALL].median == 10


def test_alone(machine: Machine) -> None:
    times = latency(machine.runner("a", lambda: 1000.0), {}, Timing(seconds=1))
    assert times.spread[Clock.WALL].median == 1000
    assert times.runs == pytest.approx(95, abs=2)  # a tenth of a second, less the warm-up
    exact = latency(machine.runner("a", lambda: 1000.0), {}, Timing(min_runs=7, max_runs=7))
    assert exact.runs == 7


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        a = 1.05 * random.lognormal(0, 0.05, 60)
        interval = ratio_interval(a, random.lognormal(0, 0.05, 60))
        assert interval.low <= interval.value <= interval.high
        covered += interval.low <= 1.05 <= interval.high
    assert 0.92 <= covered / 200 < 1.0


def test_neighbours_that_share_a_state_widen_the_interval() -> None:
    random = np.random.default_rng(0)
    steps = np.repeat(random.lognormal(0, 0.05, 40), 10)  # ten runs in a row are alike
    alone = random.permutation(steps)
    together, apart = (ratio_interval(x, np.ones(400)) for x in (steps, alone))
    assert together.high - together.low > 1.5 * (apart.high - apart.low)
