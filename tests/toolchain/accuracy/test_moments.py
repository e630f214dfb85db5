"""Moments and rounding errors, from histograms, are those of the numbers themselves."""

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from hwc.toolchain.accuracy.moments import Moments, float_error, rounding_error
from hwc.toolchain.calibration import Histogram, Range, quantization_parameters

SIZE = 200_000
SPREADS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.standard_normal(SIZE),
    "behind a ReLU": lambda rng: np.maximum(rng.standard_normal(SIZE), 0),
    "all positive": lambda rng: rng.uniform(3, 4, SIZE),
    "one outlier": lambda rng: np.append(rng.standard_normal(SIZE) * 0.02, 30.0),
}
each_spread = pytest.mark.parametrize("name", SPREADS)


def made(name: str) -> tuple[np.ndarray, Histogram]:
    """Numbers and their histogram."""
    values = SPREADS[name](np.random.default_rng(0)).astype(np.float32)
    histogram = Histogram()
    histogram.widen(values)
    histogram.add(values)
    return values, histogram


@each_spread
def test_moments(name: str) -> None:
    values, histogram = made(name)
    wide = values.astype(np.float64)
    found = Moments.of(histogram)
    bin_error = histogram.width / 2
    assert found.mean == pytest.approx(wide.mean(), abs=bin_error)
    assert found.square == pytest.approx((wide**2).mean(), rel=0.02, abs=bin_error**2)
    assert found.variance == pytest.approx(wide.var(), rel=0.02, abs=bin_error**2)


def test_zeros_behind_a_relu_are_counted_apart() -> None:
    assert Moments.of(made("behind a ReLU")[1]).zeros == pytest.approx(0.5, abs=0.01)
    assert Moments.of(made("normal")[1]).zeros < 0.001


def test_nothing_was_seen() -> None:
    assert Moments.of(Histogram()) == Moments(0.0, 0.0)
    assert rounding_error(Histogram(), Range(0.0, 1.0), unsigned=True) == 0.0


@each_spread
@pytest.mark.parametrize("unsigned", [True, False], ids=["uint8", "int8"])
@pytest.mark.parametrize("part", [1.0, 0.5], ids=["whole range", "clipped"])
def test_rounding_error(name: str, part: float, *, unsigned: bool) -> None:
    """The error that rounding and clipping really make."""
    values, histogram = made(name)
    range_ = Range(histogram.low * part, histogram.high * part)
    scale, zero = quantization_parameters(range_, unsigned=unsigned)
    ends = (0, 255) if unsigned else (-128, 127)
    steps = np.clip(np.rint(values.astype(np.float64) / scale) + zero, *ends) - zero
    error = ((steps * scale - values) ** 2).mean()
    assert rounding_error(histogram, range_, unsigned=unsigned) == pytest.approx(error, rel=0.1)


@pytest.mark.parametrize(
    ("dtype", "bits"), [(np.float16, 10), (ml_dtypes.bfloat16, 7)], ids=["float16", "bfloat16"]
)
def test_float_error(dtype: type, bits: int) -> None:
    values = SPREADS["normal"](np.random.default_rng(0)).astype(np.float32)
    error = (values.astype(dtype).astype(np.float64) - values) ** 2
    assert float_error(bits) == pytest.approx(error.mean() / (values**2).mean(), rel=0.15)
