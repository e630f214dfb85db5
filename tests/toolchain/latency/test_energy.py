"""Energy: by hand, within the power budget, and "not known" where nobody says."""

from dataclasses import replace

import pytest
from hwc.toolchain.device import (
    Confidence,
    DeviceProfile,
    Figure,
    PowerModel,
    load_profile,
    profile_names,
)
from hwc.toolchain.latency.energy import energy_joules
from hwc.toolchain.latency.estimate import estimate_us
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.slots import Work
from hypothesis import given
from hypothesis import strategies as st

INT8 = NodeChoice(Precision.INT8)
CONV = Work(macs=115_605_504, weights=36_864, reads=200_704, writes=200_704)
PROFILES = {name: load_profile(name) for name in profile_names()}
POWERED = [name for name, profile in PROFILES.items() if profile.power]


def _figure(value: float) -> Figure:
    return Figure(value, "test", Confidence.LOW)


def _device(*, board: float = 100.0) -> DeviceProfile:
    """1 us a launch, 1 Tera-op/s, 100 GB/s, no cache; 10 W idle, 2 pJ an operation, 50 a byte."""
    one = _figure(1)
    return DeviceProfile(
        name="plain",
        title="",
        backend="ort",
        target="",
        units=1,
        opset_max=20,
        peak={Precision.INT8: one},
        bandwidth=_figure(100),
        cache=_figure(1e-6),
        memory=one,
        launch=one,
        grain=one,
        efficiency=dict.fromkeys(("conv", "memory"), one),
        power=PowerModel(_figure(board), _figure(10), {Precision.INT8: _figure(2)}, _figure(50)),
    )


def test_by_hand() -> None:
    work = Work(macs=500_000, weights=50_000, reads=25_000, writes=25_000)
    found = energy_joules(work, "conv", INT8, _device())
    assert found is not None
    # 2 us at 10 W, 1e6 operations of 2 pJ and 1e5 bytes of 50 pJ
    assert found.joules == pytest.approx(20e-6 + 2e-6 + 5e-6, rel=1e-4)
    assert found.low == pytest.approx(10 * 0.25 * 2e-6)  # the error that an unknown device may have
    assert found.high == pytest.approx(100 * 4 * 2e-6)


def test_power_is_never_above_the_budget() -> None:
    work = Work(macs=500_000, weights=50_000, reads=25_000, writes=25_000)
    found = energy_joules(work, "conv", INT8, _device(board=12))
    assert found is not None
    assert found.joules == pytest.approx(12 * 2e-6)


@pytest.mark.parametrize("name", ["host", "ascend_910b", "dcu_z100"])
def test_without_a_power_model_it_is_not_known(name: str) -> None:
    assert energy_joules(CONV, "conv", INT8, PROFILES[name]) is None


WORKS = st.builds(
    Work,
    macs=st.integers(0, 10**12),
    weights=st.integers(0, 10**9),
    reads=st.integers(0, 10**9),
    writes=st.integers(0, 10**9),
)


@given(WORKS, st.sampled_from(["conv", "depthwise", "gemm", "norm"]), st.sampled_from(POWERED))
def test_energy_is_positive_and_its_power_within_idle_and_budget(
    work: Work, kind: str, name: str
) -> None:
    for mode in PROFILES[name].power_modes or ("",):
        profile = PROFILES[name].in_mode(mode) if mode else PROFILES[name]
        found, time = (f(work, kind, INT8, profile) for f in (energy_joules, estimate_us))
        assert found is not None
        assert profile.budget is not None
        assert profile.power is not None
        assert 0 < found.low <= found.joules <= found.high
        watts = found.joules / time.us * 1e6
        assert min(profile.power.idle_watts.value, profile.budget.value) <= watts * (1 + 1e-9)
        assert watts <= profile.budget.value * (1 + 1e-9)


@pytest.mark.parametrize("name", POWERED)
def test_a_narrower_precision_takes_less(name: str) -> None:
    wide, narrow = (
        energy_joules(CONV, "conv", NodeChoice(p), PROFILES[name])
        for p in (Precision.FP16, Precision.INT8)
    )
    assert wide is not None
    assert narrow is not None
    assert narrow.joules < wide.joules


def test_a_mode_has_its_own_budget_or_the_boards() -> None:
    orin = PROFILES["jetson_agx_orin"]
    assert orin.power is not None
    assert orin.budget == orin.power.board_watts  # MAXN has none of its own
    low = orin.in_mode("15W").budget
    assert low is not None
    assert low.value == 15
    assert replace(orin, power=None).budget is None
