"""Ranges of channels: what streaming sees is what all samples together hold."""

from collections.abc import Iterator

import numpy as np
import pytest
from hwc.toolchain.calibration import ChannelRanges, collect_channels
from hwc.toolchain.engine import Feeds
from hwc.toolchain.errors import InputError
from hwc.toolchain.progress import Silent
from hypothesis import given
from hypothesis import strategies as st


def collected(samples: list[np.ndarray], axis: int) -> dict[str, ChannelRanges]:
    def feeds() -> Iterator[Feeds]:
        return ({"t": sample} for sample in samples)

    return collect_channels(dict, feeds, tensors={"t": axis}, progress=Silent())


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from([1, -2]))
def test_samples_of_any_length_add_up(lengths: list[int], axis: int) -> None:
    rng = np.random.default_rng(len(lengths))
    samples = [rng.standard_normal((2, 3, n)).astype(np.float32) for n in lengths]
    ranges = collected(samples, axis)["t"]
    whole = np.concatenate(samples, axis=2).astype(np.float64)
    np.testing.assert_array_equal(ranges.low, whole.min(axis=(0, 2)))
    np.testing.assert_array_equal(ranges.high, whole.max(axis=(0, 2)))
    np.testing.assert_allclose(ranges.square, (whole**2).mean(axis=(0, 2)))
    np.testing.assert_array_equal(ranges.magnitude, np.abs(whole).max(axis=(0, 2)))


def test_division_divides_what_was_seen() -> None:
    values, factors = np.array([[1.0, -4.0], [3.0, 2.0]], np.float32), np.array([2.0, 0.5])
    divided, again = (
        ChannelRanges.of(values, 1).divided(factors),
        ChannelRanges.of(values / factors, 1),
    )
    for name in ("low", "high", "square"):
        np.testing.assert_allclose(getattr(divided, name), getattr(again, name))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_tensor_that_is_not_finite_is_left_out(bad: float) -> None:
    assert collected([np.ones((1, 2)), np.array([[1.0, bad]])], 1) == {}


def test_an_empty_sample_says_nothing() -> None:
    ranges = collected([np.ones((0, 2), np.float32), np.full((1, 2), 3.0, np.float32)], 1)["t"]
    assert ranges.high.tolist() == [3.0, 3.0]


def test_no_sample_is_refused() -> None:
    with pytest.raises(InputError, match="no calibration samples"):
        collected([], 1)
