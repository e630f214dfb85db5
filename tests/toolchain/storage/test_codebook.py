"""k-means in one dimension, against the optimum and against what it must keep."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from hwc.toolchain.storage.codebook import codebook
from hwc.toolchain.storage.levels import bfloat16

Array = npt.NDArray[np.float32]


def squared_error(array: Array, levels: Array) -> float:
    return float((np.abs(array.reshape(-1, 1) - levels).min(axis=1).astype(np.float64) ** 2).sum())


def optimum(array: Array, size: int) -> float:
    """The least squared error of all ways to cut a sorted array into so many pieces."""
    x = np.sort(array.astype(np.float64))
    cuts = combinations(range(1, len(x)), size - 1)
    return min(sum(p.var() * len(p) for p in np.split(x, list(c))) for c in cuts)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_near_the_best_of_all_partitions(seed: int) -> None:
    array = np.random.default_rng(seed).standard_normal(14).astype(np.float32)
    levels = codebook(array, 4)
    assert squared_error(array, levels) <= 1.5 * optimum(array, 4)


def test_it_beats_even_levels_and_quantiles() -> None:
    array = np.random.default_rng(0).standard_t(3, 20_000).astype(np.float32)
    even = np.linspace(array.min(), array.max(), 16, dtype=np.float32)
    quantiles = np.quantile(array, (np.arange(16) + 0.5) / 16).astype(np.float32)
    least = min(squared_error(array, even), squared_error(array, quantiles))
    assert squared_error(array, codebook(array, 16)) < 0.6 * least


def test_few_numbers_are_kept_as_they_are() -> None:
    array = np.array([[0.5, -2.0, 0.5], [0.0, -0.0, 3.0]], np.float32)
    levels = codebook(array, 4)
    assert levels.tolist() == [-2.0, 0.0, 0.5, 3.0]
    assert not np.signbit(levels[1])


def test_what_was_pruned_stays_zero() -> None:
    generator = np.random.default_rng(1)
    array = generator.standard_normal(5000).astype(np.float32) + 0.3
    array[generator.random(5000) < 0.3] = 0.0
    levels = codebook(array, 8)
    assert 0.0 in levels
    assert len(levels) <= 8


def test_important_weights_are_kept_better() -> None:
    generator = np.random.default_rng(2)
    array = generator.standard_normal(4000).astype(np.float32)
    importance = np.where(array > 1, 100, 1).astype(np.float32)

    def error(levels: Array) -> float:
        return squared_error(array[array > 1], levels)

    assert error(codebook(array, 8, importance)) < 0.5 * error(codebook(array, 8))


def test_an_importance_of_nothing_is_no_importance() -> None:
    array = np.random.default_rng(3).standard_normal(400).astype(np.float32)
    nothing = np.zeros_like(array)
    assert np.array_equal(codebook(array, 8, nothing), codebook(array, 8))


def test_levels_are_sorted_distinct_and_bfloat16() -> None:
    array = np.random.default_rng(4).standard_normal(3000).astype(np.float32)
    levels = codebook(array, 256)
    assert (np.diff(levels) > 0).all()
    assert np.array_equal(levels, bfloat16(levels))


def test_an_empty_weight_has_no_levels() -> None:
    assert codebook(np.zeros((0, 3), np.float32), 4).size == 0
