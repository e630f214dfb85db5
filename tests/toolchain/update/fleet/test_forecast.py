"""A plan's forecast: every device that is sent something, and the promises of the stop rule."""

import pytest
from hwc.toolchain.update.fleet.forecast import RATES, forecast
from hwc.toolchain.update.fleet.inventory import Device
from hwc.toolchain.update.fleet.links import LINKS
from hwc.toolchain.update.fleet.matrix import Hop, Matrix
from hwc.toolchain.update.fleet.paths import Prices
from hwc.toolchain.update.fleet.planner import FleetPlan, plan_fleet

HOPS = (
    Hop(None, 2, 5_000_000, 0.0, 0, 1.0, "full"),
    Hop(1, 2, 1_000_000, 0.0, 0, 1.0, "delta"),
)
MATRIX = Matrix("camera", {1: "1.1", 2: "1.2"}, HOPS)


def fleet(**counts: int) -> list[Device]:
    """Devices by what they have: `v1`, `v2` or `unknown`."""
    versions = {"v1": "1.1", "v2": "1.2", "unknown": "0.1"}
    return [
        Device(f"{name}-{i}", "camera", versions[name], LINKS["wifi"])
        for name, count in counts.items()
        for i in range(count)
    ]


def planned(devices: list[Device]) -> FleetPlan:
    """Their plan."""
    return plan_fleet(MATRIX, devices, Prices())


def test_only_devices_that_are_sent_something_count() -> None:
    devices = fleet(v1=80, v2=50, unknown=20)
    found = forecast(planned(devices), devices, tolerated=0.005, seed=1)
    assert found is not None
    assert found.devices == 100
    assert found.wire == pytest.approx(80 * 1e6 + 20 * 5e6, rel=0.1)
    assert found.hours[0] < found.hours[1] < found.hours[2]
    assert found.curve[-1][1] == 1.0
    assert len(found.curve) <= 200


def test_promises() -> None:
    devices = fleet(v1=400)
    found = forecast(planned(devices), devices, tolerated=0.01, seed=1)
    assert found is not None
    assert [stop.rate for stop in found.stops] == [0.01, *RATES]
    assert found.stops[0].outcome.stop <= 0.02
    assert found.stops[-1].outcome.stop > 0.99


def test_nothing_to_send() -> None:
    devices = fleet(v2=5)
    assert forecast(planned(devices), devices, tolerated=0.005, seed=1) is None
