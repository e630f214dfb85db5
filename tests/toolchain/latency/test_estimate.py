"""The roofline: its parts by hand, and its laws."""

from dataclasses import replace
from typing import Any

import pytest
from hwc.toolchain.device import (
    Confidence,
    DeviceProfile,
    ErrorRange,
    Figure,
    load_profile,
    profile_names,
)
from hwc.toolchain.errors import DeviceError
from hwc.toolchain.latency.estimate import boundary_us, estimate_us, executed
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.slots import Work
from hypothesis import given
from hypothesis import strategies as st

FP32, FP16, INT8, INT4 = (
    NodeChoice(p) for p in (Precision.FP32, Precision.FP16, Precision.INT8, Precision.INT4)
)
CONV = Work(macs=115_605_504, weights=36_864, reads=200_704, writes=200_704)


def _figure(value: float) -> Figure:
    return Figure(value, "test", Confidence.LOW)


def _device(**changes: Any) -> DeviceProfile:  # noqa: ANN401 - fields of any type
    """Ten units, 1 Tera-op/s in fp32 and 4 in int8, 100 GB/s, everything else out of the way."""
    plain = DeviceProfile(
        name="plain",
        title="",
        backend="ort",
        target="",
        units=10,
        opset_max=20,
        peak={Precision.FP32: _figure(1), Precision.INT8: _figure(4)},
        bandwidth=_figure(100),
        cache=_figure(1e-6),
        memory=_figure(1),
        launch=_figure(3),
        grain=_figure(100),
        efficiency={"conv": _figure(0.5), "other": _figure(0.25), "memory": _figure(1)},
        error=ErrorRange(_figure(0.5), _figure(2)),
    )
    return replace(plain, **changes)


ROOFLINE = {
    # 1e9 macs = 2e9 operations at 1 Tera-op/s x 0.5
    "compute": (Work(10**9, 0, 0, 1000), "conv", FP32, 3 + 4000),
    "compute-int8": (Work(10**9, 0, 0, 1000), "conv", INT8, 3 + 1000),
    "kind-not-listed": (Work(10**9, 0, 0, 1000), "gemm", FP32, 3 + 8000),
    # 1e6 elements x 4 bytes at 100 GB/s
    "memory": (Work(0, 250_000, 500_000, 250_000), "move", FP32, 3 + 40),
    "memory-int8": (Work(0, 250_000, 500_000, 250_000), "move", INT8, 3 + 10),
    "nothing": (Work(0, 0, 0, 0), "move", FP32, 3),
    # 100 of the 1000 outputs that fill ten units: a tenth of the peak
    "one-unit": (Work(51_200, 0, 0, 100), "conv", FP32, 3 + 10 * 2 * 51_200 / 5e5),
    # ... but a reduction ten times as deep is split over ten units
    "split": (Work(512_000, 0, 0, 100), "conv", FP32, 3 + 2 * 512_000 / 5e5),
}


@pytest.mark.parametrize(("work", "kind", "choice", "us"), ROOFLINE.values(), ids=ROOFLINE)
def test_by_hand(work: Work, kind: str, choice: NodeChoice, us: float) -> None:
    estimate = estimate_us(work, kind, choice, _device())
    assert estimate.us == pytest.approx(us, rel=1e-4)
    assert estimate.low == pytest.approx(us / 2, rel=1e-4)
    assert estimate.high == pytest.approx(us * 2, rel=1e-4)


def test_activations_that_fit_move_at_cache_speed() -> None:
    work = Work(0, 0, 131_072, 131_072)  # 1 MiB
    slow = _device(cache=_figure(4))
    fast = _device(cache=_figure(4), cache_bandwidth=_figure(400))
    half = _device(cache=_figure(0.5), cache_bandwidth=_figure(400))
    times = [estimate_us(work, "move", FP32, d).us - 3 for d in (slow, half, fast)]
    assert times == pytest.approx([10.486, 10.486 * 5 / 8, 10.486 / 4], rel=1e-3)


def test_a_profile_that_says_little_gets_a_wide_range() -> None:
    estimate = estimate_us(CONV, "conv", FP32, _device(efficiency={}, grain=None, error=None))
    assert estimate.low == estimate.us / 4
    assert estimate.high == estimate.us * 4


BOUNDARY = {
    # 1e6 elements, read and written at 100 GB/s
    "fp32-int8": (Precision.FP32, Precision.INT8, 3 + 50),
    "int8-fp32": (Precision.INT8, Precision.FP32, 3 + 50),
    "fp16-int8": (Precision.FP16, Precision.INT8, 3 + 30),
    "fp32-fp32": (Precision.FP32, Precision.FP32, 0),
    "int8-int8": (Precision.INT8, Precision.INT8, 0),
    "fp32-int4": (Precision.FP32, Precision.INT4, 0),  # only the weights differ
    "int4-int8": (Precision.INT4, Precision.INT8, 3 + 50),
}


@pytest.mark.parametrize(("source", "target", "us"), BOUNDARY.values(), ids=BOUNDARY)
def test_boundary(source: Precision, target: Precision, us: float) -> None:
    device = _device(peak=dict.fromkeys(Precision, _figure(1)))
    estimate = boundary_us(1_000_000, source, target, device)
    found = (estimate.us, estimate.low, estimate.high)
    assert found == pytest.approx((us, us / 2, us * 2))


def test_ascend_runs_fp32_in_fp16() -> None:
    ascend = load_profile("ascend_310p")
    assert executed(Precision.FP32, ascend) is Precision.FP16
    assert estimate_us(CONV, "conv", FP32, ascend) == estimate_us(CONV, "conv", FP16, ascend)
    assert boundary_us(1000, Precision.FP32, Precision.FP16, ascend).us == 0


@pytest.mark.parametrize(
    ("name", "choice"), [("host", FP16), ("ascend_310p", INT4), ("dcu_z100", INT4)]
)
def test_a_precision_that_does_not_run_is_refused(name: str, choice: NodeChoice) -> None:
    with pytest.raises(DeviceError, match="does not run"):
        estimate_us(CONV, "conv", choice, load_profile(name))


WORKS = st.builds(
    Work,
    macs=st.integers(0, 10**12),
    weights=st.integers(0, 10**9),
    reads=st.integers(0, 10**9),
    writes=st.integers(0, 10**9),
)
KINDS = st.sampled_from(["conv", "depthwise", "gemm", "norm", "move", "other"])
PROFILES = {name: load_profile(name) for name in profile_names()}


@given(WORKS, KINDS, st.sampled_from(sorted(PROFILES)))
def test_less_precision_is_never_estimated_slower(work: Work, kind: str, name: str) -> None:
    wide, narrow = (estimate_us(work, kind, c, PROFILES[name]).us for c in (FP32, INT8))
    assert PROFILES[name].launch.value <= narrow <= wide * (1 + 1e-9)


@given(WORKS, st.integers(1, 10**9), st.sampled_from(sorted(PROFILES)))
def test_moving_more_is_never_faster(work: Work, more: int, name: str) -> None:
    bigger = replace(work, weights=work.weights + more)
    before, after = (estimate_us(w, "gemm", INT8, PROFILES[name]).us for w in (work, bigger))
    assert after >= before


@pytest.mark.parametrize("mode", ["50W", "30W", "15W"])
def test_a_lower_power_mode_is_slower(mode: str) -> None:
    orin = load_profile("jetson_agx_orin")
    full, low = (estimate_us(CONV, "conv", INT8, p).us for p in (orin, orin.in_mode(mode)))
    assert low > full


def test_the_last_wave_takes_as_long_as_a_full_one() -> None:
    def us(tiles: int) -> float:  # of 100 outputs each, on ten units
        return estimate_us(Work(1000 * tiles, 0, 0, 100 * tiles), "conv", FP32, _device()).us - 3

    one_wave = us(10)
    assert us(11) == pytest.approx(2 * one_wave)
    assert us(20) == pytest.approx(2 * one_wave)
    assert us(21) == pytest.approx(3 * one_wave)


def test_2_4_sparse_weights_are_computed_faster_and_are_smaller() -> None:
    device = _device(sparse_2_4=_figure(1.5))
    dense = estimate_us(CONV, "conv", INT8, device)
    assert estimate_us(CONV, "conv", INT8, device, sparse=True).us - 3 == pytest.approx(
        (dense.us - 3) / 1.5
    )
    weights = Work(0, 10**6, 0, 0)  # half the bytes of int8, and two bits for each that is kept
    assert estimate_us(weights, "gemm", INT8, device, sparse=True).us == pytest.approx(3 + 6.25)


@pytest.mark.parametrize("device", [_device(), _device(sparse_2_4=_figure(1.5))], ids=["no", "yes"])
def test_without_sparse_kernels_or_weights_sparsity_changes_nothing(device: DeviceProfile) -> None:
    work = CONV if device.sparse_2_4 is None else replace(CONV, weights=0)
    dense = estimate_us(work, "conv", INT8, device)
    assert estimate_us(work, "conv", INT8, device, sparse=True) == dense


def test_a_class_without_matrix_products_may_have_a_bandwidth_of_its_own() -> None:
    work = Work(0, 0, 500_000, 500_000)
    slow = _device(efficiency={"memory": _figure(1), "norm": _figure(0.25)})
    assert estimate_us(work, "norm", FP32, slow).us == pytest.approx(3 + 160, rel=1e-3)
    assert estimate_us(work, "move", FP32, slow).us == pytest.approx(3 + 40, rel=1e-3)


@given(WORKS, KINDS, st.integers(1, 10**12), st.sampled_from(sorted(PROFILES)))
def test_more_to_compute_is_never_faster(work: Work, kind: str, more: int, name: str) -> None:
    bigger = replace(work, macs=work.macs + more)
    before, after = (estimate_us(w, kind, INT8, PROFILES[name]).us for w in (work, bigger))
    assert after >= before * (1 - 1e-6)


@pytest.mark.parametrize("name", [n for n, p in PROFILES.items() if p.power_modes])
def test_every_mode_with_less_of_everything_is_slower(name: str) -> None:
    profile = PROFILES[name]
    for mode, it in profile.power_modes.items():
        now = profile.in_mode(mode)
        slower = it.clock.value < 1 and it.bandwidth.value <= 1 and it.units.value <= profile.units
        for work, kind in ((CONV, "conv"), (Work(0, 0, 10**7, 10**7), "move"), (CONV, "depthwise")):
            full, low = (estimate_us(work, kind, INT8, p).us for p in (profile, now))
            assert low > full or not slower, (mode, kind)


def test_looking_up_rows_reads_no_whole_table() -> None:
    few, all_of_it = Work(0, 10**8, 0, 10**4), Work(0, 10**4, 0, 10**4)
    profile = PROFILES["jetson_agx_orin"]
    times = [estimate_us(work, "move", FP32, profile).us for work in (few, all_of_it)]
    assert times[0] == pytest.approx(times[1])
    assert estimate_us(few, "elementwise", FP32, profile).us > 10 * times[0]
