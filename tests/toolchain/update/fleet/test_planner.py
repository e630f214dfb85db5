"""What each installed release is sent, and the word that says why."""

from dataclasses import replace

import pytest
from hwc.toolchain.update.fleet.inventory import Device
from hwc.toolchain.update.fleet.links import LINKS
from hwc.toolchain.update.fleet.matrix import Hop, Matrix
from hwc.toolchain.update.fleet.paths import Prices
from hwc.toolchain.update.fleet.planner import Choice, FleetPlan, Reason, Way, plan_fleet, ways

PRICES = Prices(egress=1e-4, cpu=0.05)
MB = 1_000_000
VERSIONS = {1: "1.1", 2: "1.2", 3: "1.3"}
FULL = Hop(None, 3, 20 * MB, 0.0, 5 * MB, 1.0, "full")
OLD = Hop(1, 2, 2 * MB, 0.0, 5 * MB, 1.0, "old")
LAST = Hop(2, 3, 3 * MB, 0.0, 5 * MB, 1.0, "last")
DIRECT = Hop(1, 3, 4 * MB, 1.0, 5 * MB, 1.0)


def fleet(installed: int | str, count: int, memory: int | None = None) -> list[Device]:
    """Devices that differ in nothing but their names."""
    return [Device(f"{i}", "camera", installed, LINKS["lte"], memory) for i in range(count)]


def plan(hops: tuple[Hop, ...], devices: list[Device]) -> FleetPlan:
    """The plan of a fleet for release 3."""
    return plan_fleet(Matrix("camera", VERSIONS, hops), devices, PRICES)


def only(found: FleetPlan) -> Choice:
    """The choice of the only group."""
    (choice,) = found.choices
    return choice


COSTLY = replace(DIRECT, cpu=3600.0 * 100)
HUNGRY = replace(DIRECT, path="direct", memory=90 * MB)
REASONS = {
    "direct": ((FULL, OLD, LAST, DIRECT), fleet(1, 9), (DIRECT,), Way.DIRECT, Reason.CHEAPEST),
    "chain": ((FULL, OLD, LAST), fleet(1, 9), (OLD, LAST), Way.CHAIN, Reason.CHEAPEST),
    "full": ((replace(FULL, size=MB), LAST), fleet(2, 9), None, Way.FULL, Reason.CHEAPEST),
    "not worth making": (
        *((FULL, OLD, LAST, COSTLY), fleet(1, 9), (OLD, LAST)),
        *(Way.CHAIN, Reason.MAKING),
    ),
    "memory": (
        *((FULL, OLD, LAST, HUNGRY), fleet(1, 9, 6 * MB), (OLD, LAST)),
        *(Way.CHAIN, Reason.MEMORY),
    ),
    "memory enough": ((FULL, HUNGRY), fleet(1, 9, 90 * MB), (HUNGRY,), Way.DIRECT, Reason.CHEAPEST),
    "only full": ((FULL, LAST), fleet(1, 9), (FULL,), Way.FULL, Reason.ONLY),
    "unknown version": ((FULL, LAST), fleet("0.1", 9), (FULL,), Way.FULL, Reason.ONLY),
    "current": ((FULL, LAST), fleet(3, 9), (), Way.NONE, Reason.CURRENT),
    "current version": ((FULL, LAST), fleet("1.3", 9), (), Way.NONE, Reason.CURRENT),
    "ahead": ((FULL, LAST), fleet(7, 9), (), Way.NONE, Reason.AHEAD),
    "stuck": ((LAST,), fleet(1, 9), (), Way.NONE, Reason.STUCK),
    "stuck for memory": ((FULL, LAST), fleet(2, 9, MB), (), Way.NONE, Reason.STUCK),
}


@pytest.mark.parametrize(
    ("hops", "devices", "path", "way", "reason"), REASONS.values(), ids=REASONS
)
def test_way_and_reason(
    hops: tuple[Hop, ...],
    devices: list[Device],
    path: tuple[Hop, ...] | None,
    way: Way,
    reason: Reason,
) -> None:
    choice = only(plan(hops, devices))
    assert (choice.way, choice.reason, choice.devices) == (way, reason, 9)
    assert choice.hops == (hops[:1] if path is None else path)


def test_costs_and_bytes() -> None:
    found = plan((FULL, OLD, LAST, DIRECT), fleet(1, 9) + fleet(2, 1))
    assert found.make == (DIRECT,)
    assert found.served(DIRECT) == 9
    assert found.wire == 9 * 4 * MB + 3 * MB
    assert found.making == pytest.approx(0.05 / 3600)
    sending = (9 * 4 + 3) * (LINKS["lte"].price + 1e-4)
    assert found.cost == pytest.approx(sending + found.making)


def test_a_delta_is_made_for_many_and_not_for_one() -> None:
    hops = (FULL, OLD, LAST, replace(DIRECT, cpu=36_000.0))  # half a unit of currency
    assert plan(hops, fleet(1, 1)).make == ()
    assert len(plan(hops, fleet(1, 1000)).make) == 1


def test_groups_are_told_apart_by_memory_and_price() -> None:
    devices = [*fleet(1, 5), *fleet(1, 4, 6 * MB)]
    devices.append(replace(devices[0], id="x", link=LINKS["wifi"]))
    found = plan((FULL, OLD, LAST, HUNGRY), devices)
    assert sorted(choice.devices for choice in found.choices) == [1, 4, 5]
    assert sum(choice.devices for choice in found.choices) == len(devices)


@pytest.mark.parametrize(
    ("seq", "expected"),
    [
        pytest.param(1, {Way.FULL: 20 * MB, Way.DIRECT: 4 * MB, Way.CHAIN: 5 * MB}, id="every way"),
        pytest.param(2, {Way.FULL: 20 * MB, Way.DIRECT: 3 * MB}, id="no chain"),
        pytest.param(3, {}, id="there"),
    ],
)
def test_ways(seq: int, expected: dict[Way, int]) -> None:
    assert ways(Matrix("camera", VERSIONS, (FULL, OLD, LAST, DIRECT)), seq) == expected
