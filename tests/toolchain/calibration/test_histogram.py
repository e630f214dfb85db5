"""Collecting histograms: streaming, exact ends, nothing lost, bad tensors named."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hwc.toolchain.calibration import BINS, Histogram, collect
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.errors import InputError
from hwc.toolchain.progress import Silent


def _echo(feeds: Feeds) -> dict[str, Array]:
    return {**feeds, "twice": 2 * feeds["x"]}


def _normal(samples: int, size: int = 1000) -> Iterator[Feeds]:
    rng = np.random.default_rng(0)
    for _ in range(samples):
        yield {"x": rng.normal(size=size).astype(np.float32)}


def _of(values: Array) -> Histogram:
    histogram = Histogram()
    histogram.widen(values)
    histogram.add(values)
    return histogram


def test_counts_every_value_of_every_sample() -> None:
    found = collect(_echo, lambda: _normal(7), tensors=["x", "twice"], progress=Silent())
    everything = np.concatenate([feeds["x"] for feeds in _normal(7)])
    assert list(found) == ["x", "twice"]
    assert found["x"].counts.sum() == everything.size
    assert (found["x"].low, found["x"].high) == (everything.min(), everything.max())
    expected, _ = np.histogram(everything, BINS, (everything.min(), everything.max()))
    assert np.abs(found["x"].counts - expected).sum() <= 2  # a value on an edge may differ
    assert np.array_equal(found["x"].counts, found["twice"].counts)


def test_memory_does_not_grow_with_the_samples() -> None:
    def peak(samples: int) -> int:
        tracemalloc.start()
        collect(_echo, lambda: _normal(samples, 20_000), tensors=["x"], progress=Silent())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)  # what is allocated once
    assert peak(100) < 1.2 * peak(2)


def test_memory_of_a_large_tensor_is_bounded() -> None:
    values = np.zeros(8_000_000, np.float32)
    histogram = Histogram(-1.0, 1.0)
    tracemalloc.start()
    histogram.add(values)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000
    assert histogram.counts.sum() == values.size


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=["nan", "inf", "minus-inf"])
def test_a_tensor_with_non_finite_values_is_left_out(bad: float) -> None:
    def runner(feeds: Feeds) -> dict[str, Array]:
        return {"fine": feeds["x"], "conv_3": np.array([1.0, bad, 2.0], np.float32)}

    found = collect(runner, lambda: _normal(1), tensors=["fine", "conv_3"], progress=Silent())
    assert set(found) == {"fine"}


def test_no_samples_are_refused() -> None:
    with pytest.raises(InputError, match="no calibration samples"):
        collect(_echo, lambda: _normal(0), tensors=["x"], progress=Silent())


def test_no_tensors_run_nothing() -> None:
    assert collect(_echo, lambda: iter(()), tensors=[], progress=Silent()) == {}


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([], (0.0, 0.0)),
        ([0.0, 0.0], (0.0, 0.0)),
        ([3.0, 3.0], (0.0, 3.0)),
        ([-2.0, -1.0], (-2.0, 0.0)),
        ([-1e-42, 1e-42], (-1e-42, 1e-42)),
        ([-3e38, 3e38], (-3e38, 3e38)),
    ],
    ids=["empty", "zero", "constant", "negative", "subnormal", "huge"],
)
def test_degenerate_tensors(values: list[float], ends: tuple[float, float]) -> None:
    array = np.array(values, np.float32)
    histogram = _of(array)
    assert (histogram.low, histogram.high) == pytest.approx(ends, rel=2e-3)
    assert histogram.counts.sum() == array.size


def test_float16_does_not_overflow() -> None:
    histogram = _of(np.array([-65504, 65504, 1], np.float16))
    assert (histogram.low, histogram.high) == (-65504, 65504)
    assert histogram.counts[[0, -1]].tolist() == [1, 1]


def test_values_beyond_the_first_pass_count_in_the_end_bins() -> None:
    histogram = Histogram(-1.0, 1.0)
    histogram.add(np.array([-5.0, 9.0], np.float32))
    assert histogram.counts[[0, -1]].tolist() == [1, 1]


def test_folding_keeps_the_magnitudes() -> None:
    values = np.random.default_rng(1).normal(0.7, 1.0, size=50_000)
    folded, direct = _of(values).folded(), _of(np.abs(values))
    assert folded.low == 0.0
    assert folded.high == direct.high
    assert folded.counts.sum() == values.size
    difference = np.abs(np.cumsum(folded.counts) - np.cumsum(direct.counts)).max()
    assert difference < 0.002 * values.size
