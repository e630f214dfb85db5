"""Scales and zero points: every value in the range comes back within half a scale."""

import numpy as np
import pytest
from hwc.toolchain.calibration import Range, per_channel_scales, quantization_parameters
from hwc.toolchain.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

BOTH_SIGNS = pytest.mark.parametrize("unsigned", [True, False], ids=["uint8", "int8"])
MAGNITUDES = st.floats(0.0, 2.0**127, width=32) | st.floats(0.0, 10.0)


@BOTH_SIGNS
@given(low=MAGNITUDES, high=MAGNITUDES, fraction=st.floats(0.0, 1.0))
def test_round_trip_is_within_half_a_scale(
    low: float, high: float, fraction: float, *, unsigned: bool
) -> None:
    scale, zero = quantization_parameters(Range(-low, high), unsigned=unsigned)
    least, most = (0, 255) if unsigned else (-127, 127)
    assert scale.dtype == np.float32
    assert scale > 0
    assert least <= zero <= most
    value = -low + fraction * (low + high)
    integer = np.clip(np.rint(value / float(scale)) + zero, least, most)
    assert abs((integer - zero) * float(scale) - value) <= float(scale) * (0.5 + 1e-9)


@BOTH_SIGNS
@given(low=MAGNITUDES, high=MAGNITUDES)
def test_zero_is_exact(low: float, high: float, *, unsigned: bool) -> None:
    _, zero = quantization_parameters(Range(-low, high), unsigned=unsigned)
    assert zero == int(zero)
    assert unsigned or zero == 0


@pytest.mark.parametrize(
    ("range_", "unsigned", "expected"),
    [
        (Range(0.0, 6.0), True, (6 / 255, 0)),
        (Range(-1.0, 1.0), True, (2 / 255, 127)),
        (Range(-3.0, 0.0), True, (3 / 255, 255)),
        (Range(-1.0, 6.0), False, (6 / 127, 0)),
        (Range(0.0, 0.0), True, (1.0, 0)),
        (Range(0.0, 0.0), False, (1.0, 0)),
    ],
    ids=["relu6", "balanced", "negative", "int8", "uint8 zero", "int8 zero"],
)
def test_known_parameters(range_: Range, expected: tuple[float, int], *, unsigned: bool) -> None:
    scale, zero = quantization_parameters(range_, unsigned=unsigned)
    assert float(scale) == pytest.approx(expected[0], rel=2e-7)
    assert zero == expected[1]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_channel_scales_cover_each_channel(axis: int) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    scales = per_channel_scales(weight, axis)
    rest = tuple(i for i in range(3) if i != axis % 3)
    assert scales.dtype == np.float32
    assert scales == pytest.approx(np.abs(weight).max(axis=rest) / 127, rel=2e-7)
    shape = [1, 1, 1]
    shape[axis] = -1
    scale = scales.reshape(shape)
    assert (np.abs(weight / scale) <= 127 + 1e-4).all()
    error = np.abs(np.rint(weight / scale) * scale - weight)
    assert (error <= scale * 0.50001).all()


def test_degenerate_channels() -> None:
    weight = np.array([[0.0, 0.0], [1e-42, 0.0], [3e38, -3e38]], np.float32)
    scales = per_channel_scales(weight, 0)
    assert scales[0] == 1.0
    assert (scales >= np.finfo(np.float32).tiny).all()
    assert np.isfinite(scales).all()
    assert per_channel_scales(np.zeros((2, 0), np.float32), 0).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=["nan", "inf"])
def test_non_finite_weights_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        per_channel_scales(np.array([[1.0, bad]], np.float32), 0)
