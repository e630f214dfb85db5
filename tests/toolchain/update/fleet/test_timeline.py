"""Hours online, step by step, and what a link makes of an update."""

import numpy as np
import pytest
from hwc.toolchain.update.fleet.inventory import Device
from hwc.toolchain.update.fleet.links import Link
from hwc.toolchain.update.fleet.timeline import LOST, TRIAL, Timeline, Update

ALWAYS = Link("always", 1000.0, 0.0, 0.0, 0.0, poll=2.0)


def drawn(link: Link, *, size: float = 3.6e6, n: int = 1, power_cuts: float = 0.0) -> Timeline:
    """The timeline of n devices on one link."""
    devices = [Device(f"{i}", "camera", 1, link) for i in range(n)]
    update = Update(np.full(n, size), np.full(n, 360.0))
    return Timeline.draw(devices, update, power_cuts, np.random.default_rng(0))


def walked(since: float, hours: float, *, window: float, period: float, offset: float) -> float:
    """When so many hours online have passed, found in small steps."""
    step, left, now = 1 / 512, hours, since
    while left > step / 2 or (now - offset) % period >= window:
        left -= step * ((now - offset) % period < window)
        now += step
    return now


@pytest.mark.parametrize("since", [0.0, 1.5, 3.5, 11.0, 30.25])
@pytest.mark.parametrize("hours", [0.0, 0.5, 1.75, 2.5, 9.125])
def test_time_stands_still_outside_the_windows(since: float, hours: float) -> None:
    offset = np.array([3.0])
    place = {"windows": np.array([2.0]), "periods": np.array([8.0]), "offset": offset}
    zero = np.zeros(1)
    line = Timeline(**place, ask=np.array([hours]), fetch=zero, work=zero, wire=zero)
    expected = walked(since, hours, window=2.0, period=8.0, offset=3.0)
    assert line.begin(since, np.array([0]))[0] == pytest.approx(expected, abs=0.02)


def test_without_faults_it_takes_what_the_link_needs() -> None:
    line, who = drawn(ALWAYS), np.array([0])
    begun = line.begin(10.0, who)
    assert 10.0 <= begun[0] <= 12.0
    assert line.finish(begun, who) - begun == pytest.approx(1.0 + 0.1 + TRIAL)
    assert line.report(np.array([20.0]), who) == pytest.approx(20.0)
    assert line.wire == pytest.approx(3.6e6)


def test_lost_packets_are_sent_again() -> None:
    line = drawn(Link("lossy", 1000.0, 0.0, 0.2, 0.0))
    assert line.wire == pytest.approx(3.6e6 / 0.8)
    assert line.fetch == pytest.approx(1.0 / 0.8)


def test_a_cut_costs_what_was_in_flight_and_a_pause() -> None:
    whole, cut = drawn(ALWAYS, n=4000), drawn(Link("cut", 1000.0, 0.0, 0.0, 2.0), n=4000)
    assert (cut.wire - whole.wire).mean() == pytest.approx(2 * LOST / 2, rel=0.1)
    assert (cut.fetch - whole.fetch).mean() == pytest.approx(
        2 * (5 / 60 + LOST / 2 / 3.6e6), rel=0.1
    )
    assert (cut.wire >= whole.wire).all()


def test_a_power_cut_repeats_the_application_not_the_download() -> None:
    line = drawn(ALWAYS, n=4000, power_cuts=2.0)
    once = 0.1 + TRIAL
    assert line.work.mean() == pytest.approx(once * (1 + 2.0 * once), rel=0.05)
    assert (line.wire == 3.6e6).all()
