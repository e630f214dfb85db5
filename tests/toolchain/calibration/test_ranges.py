"""Choosing ranges: against brute force, on the distributions that break the usual calibrators."""

import numpy as np
import numpy.typing as npt
import pytest
from hwc.toolchain.calibration import (
    Histogram,
    Method,
    Range,
    quantization_parameters,
    ranges,
)
from hwc.toolchain.calibration.ranges import _divergence
from hwc.toolchain.errors import InputError

Floats = npt.NDArray[np.float64]

RNG = np.random.default_rng(0)
SPREADS: dict[str, Floats] = {
    "normal": RNG.normal(size=20_000),
    "relu": np.maximum(RNG.normal(size=20_000), 0.0),
    "relu6": np.clip(RNG.normal(3.0, 3.0, size=20_000), 0.0, 6.0),
    "shifted laplace": RNG.laplace(0.3, size=20_000),
    "heavy tails": RNG.standard_t(3, size=20_000),
    "one outlier": np.append(RNG.normal(size=20_000), 200.0),
    "all negative": -np.abs(RNG.normal(size=20_000)),
    "far from zero": RNG.normal(50.0, 1.0, size=20_000),
}
EVERY_SPREAD = pytest.mark.parametrize("values", SPREADS.values(), ids=SPREADS.keys())
EVERY_METHOD = pytest.mark.parametrize("method", list(Method))
BOTH_SIGNS = pytest.mark.parametrize("unsigned", [True, False], ids=["uint8", "int8"])


def _of(values: Floats) -> Histogram:
    histogram = Histogram()
    histogram.widen(values)
    histogram.add(values)
    return histogram


def _range(values: Floats, method: Method, *, unsigned: bool) -> Range:
    return ranges({"x": _of(values)}, method, unsigned=unsigned)["x"]


def _error(values: Floats, range_: Range, *, unsigned: bool) -> float:
    """Mean squared error of the values after quantisation and back."""
    scale, zero = quantization_parameters(range_, unsigned=unsigned)
    low, high = (0, 255) if unsigned else (-127, 127)
    integers = np.clip(np.rint(values / float(scale)) + zero, low, high)
    return float(np.square((integers - zero) * float(scale) - values).mean())


@EVERY_SPREAD
@EVERY_METHOD
@BOTH_SIGNS
def test_ranges_hold_zero_and_stay_inside_the_values(
    values: Floats, method: Method, *, unsigned: bool
) -> None:
    found = _range(values, method, unsigned=unsigned)
    top = np.abs(values).max() * (1 + 1e-12)
    assert -top <= found.low <= 0.0 <= found.high <= top
    assert found.high > found.low
    if unsigned:
        assert found.low >= min(0.0, values.min())
        assert found.high <= max(0.0, values.max())
    else:
        assert found.low == -found.high


@EVERY_SPREAD
def test_minmax_is_exact(values: Floats) -> None:
    low, high = min(0.0, values.min()), max(0.0, values.max())
    assert _range(values, Method.MINMAX, unsigned=True) == Range(low, high)
    assert _range(values, Method.MINMAX, unsigned=False).high == max(-low, high)


@EVERY_SPREAD
def test_percentile_cuts_one_value_in_ten_thousand(values: Floats) -> None:
    found = _range(values, Method.PERCENTILE, unsigned=True)
    outside = np.count_nonzero((values < found.low - 1e-9) | (values > found.high + 1e-9))
    assert outside <= 1e-4 * values.size + 1


def test_percentile_drops_the_outlier() -> None:
    found = _range(SPREADS["one outlier"], Method.PERCENTILE, unsigned=False)
    assert found.high < 5.0


@EVERY_SPREAD
def test_mse_is_as_good_as_brute_force_symmetric(values: Floats) -> None:
    found = _range(values, Method.MSE, unsigned=False)
    top = float(np.abs(values).max())
    best = min(
        _error(values, Range(-top * clip, top * clip), unsigned=False)
        for clip in np.linspace(0.01, 1.0, 150)
    )
    assert _error(values, found, unsigned=False) <= 1.05 * best


@EVERY_SPREAD
def test_mse_is_as_good_as_brute_force_asymmetric(values: Floats) -> None:
    found = _range(values, Method.MSE, unsigned=True)
    low, high = min(0.0, values.min()), max(0.0, values.max())
    clips = np.linspace(0.04, 1.0, 25)
    best = min(
        _error(values, Range(low * a, high * b), unsigned=True) for a in clips for b in clips
    )
    assert _error(values, found, unsigned=True) <= 1.05 * best


@BOTH_SIGNS
@pytest.mark.parametrize("name", ["normal", "heavy tails", "one outlier"])
def test_mse_is_never_worse_than_the_other_methods(name: str, *, unsigned: bool) -> None:
    values = SPREADS[name]
    errors = {
        method: _error(values, _range(values, method, unsigned=unsigned), unsigned=unsigned)
        for method in Method
    }
    assert errors[Method.MSE] <= 1.02 * min(errors.values())


def _migacz(counts: Floats, start: int, stop: int, levels: int) -> float:
    """KL divergence of one window, written out as in Migacz's slides."""
    window = counts[start:stop]
    reference = window.copy()
    reference[0] += counts[:start].sum()
    reference[-1] += counts[stop:].sum()
    candidate = np.zeros_like(window)
    for level in range(levels):
        part = slice(level * window.size // levels, (level + 1) * window.size // levels)
        filled = window[part] > 0
        if filled.any():
            candidate[part] = np.where(filled, window[part].sum() / filled.sum(), 0.0)
    candidate[(candidate == 0) & (reference > 0)] = 1e-4 * window.sum()
    p, q = reference / reference.sum(), candidate / candidate.sum()
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


@pytest.mark.parametrize("empty", [0.0, 0.6], ids=["dense", "sparse"])
def test_divergence_is_migacz(empty: float) -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 1000, 2048) * (rng.random(2048) >= empty).astype(np.float64)
    starts = np.array([0, 0, 100, 700, 512])
    stops = np.array([2048, 300, 2048, 1200, 513 + 128])
    found = _divergence(counts, starts, stops, 128)
    expected = [_migacz(counts, a, b, 128) for a, b in zip(starts, stops, strict=True)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found[0] > 0.0


@BOTH_SIGNS
def test_entropy_clips_a_thin_tail_and_keeps_a_flat_one(*, unsigned: bool) -> None:
    rng = np.random.default_rng(4)
    tail = np.concatenate((rng.normal(size=500_000), [-200.0, 150.0, 199.0]))
    flat = rng.uniform(-1.0, 1.0, 200_000)
    assert _range(tail, Method.ENTROPY, unsigned=unsigned).high < 30.0
    assert _range(flat, Method.ENTROPY, unsigned=unsigned).high > 0.95


@EVERY_METHOD
@BOTH_SIGNS
def test_zeros_behind_a_relu_do_not_sway_the_range(method: Method, *, unsigned: bool) -> None:
    values = np.abs(np.random.default_rng(5).normal(size=50_000))
    found = _range(np.append(values, np.zeros(500_000)), method, unsigned=unsigned)
    expected = _range(values, method, unsigned=unsigned)
    tolerance = 0.0 if method is Method.MINMAX else 0.25 if method is Method.PERCENTILE else 0.02
    assert found.high == pytest.approx(expected.high, rel=tolerance)


@EVERY_METHOD
@BOTH_SIGNS
@pytest.mark.parametrize(
    ("values", "high"),
    [([], 0.0), ([0.0] * 9, 0.0), ([3.0] * 9, 3.0), ([0.0] * 999 + [2.0], 2.0), ([1e-42], 1e-42)],
    ids=["empty", "zero", "constant", "zeros and one value", "subnormal"],
)
def test_degenerate_tensors(
    method: Method, values: list[float], high: float, *, unsigned: bool
) -> None:
    found = _range(np.array(values), method, unsigned=unsigned)
    assert found.high == pytest.approx(high, rel=1e-6)
    assert found.low == pytest.approx(0.0 if unsigned else -high)


@pytest.mark.parametrize(
    "ends",
    [(0.5, 1.0), (-1.0, -0.5), (float("nan"), 1.0), (0.0, float("inf"))],
    ids=["above zero", "below zero", "nan", "infinite"],
)
def test_impossible_ranges_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="not finite or lacks 0"):
        Range(*ends)
