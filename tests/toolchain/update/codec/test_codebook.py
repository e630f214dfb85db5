"""A codebook that follows its weight changes few codes and costs little accuracy."""

import numpy as np
import pytest
from hwc.toolchain.update.codec.codebook import levels, nearest

COUNT = 1 << 14


@pytest.fixture(name="weights")
def _weights() -> tuple[np.ndarray, np.ndarray]:
    """Before and after a fine-tune that moves each weight by about 1 %."""
    rng = np.random.default_rng(0)
    old = rng.standard_t(5, COUNT).astype(np.float32) * np.float32(0.05)
    old[:1000] = 0.0
    new = old + rng.normal(0, 5e-4, COUNT).astype(np.float32)
    new[:1000] = 0.0
    return old, new


def error(weight: np.ndarray, table: np.ndarray) -> float:
    """Mean squared error of what is stored."""
    return float(np.square(table[nearest(weight, table)] - weight).mean())


@pytest.mark.parametrize("bits", range(2, 9))
def test_levels_follow_their_weight(weights: tuple[np.ndarray, np.ndarray], bits: int) -> None:
    old, new = weights
    before = levels(old, bits)
    after, anew = levels(new, bits, before), levels(new, bits)
    assert len(after) == len(before) <= 2**bits
    assert (np.diff(after) >= 0).all()
    assert after[before == 0] == 0
    assert error(new, after) <= 1.02 * error(new, anew)


@pytest.mark.parametrize("bits", [3, 5, 8])
def test_fewer_codes_change_than_anew(weights: tuple[np.ndarray, np.ndarray], bits: int) -> None:
    old, new = weights
    before = levels(old, bits)
    codes = nearest(old, before)
    follows, anew = levels(new, bits, before), levels(new, bits)
    assert np.mean(nearest(new, follows) != codes) <= np.mean(nearest(new, anew) != codes)


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_levels_that_still_fit_stay(weights: tuple[np.ndarray, np.ndarray], bits: int) -> None:
    old, new = weights
    before = levels(old, bits)
    assert np.array_equal(levels(new, bits, before), before)


def test_levels_that_do_not_fit_any_more_move_in_their_order() -> None:
    rng = np.random.default_rng(2)
    before = levels(rng.normal(0, 1, COUNT).astype(np.float32), 4)
    weight = rng.normal(0.3, 1.5, COUNT).astype(np.float32)
    after = levels(weight, 4, before)
    assert len(after) == len(before)
    assert error(weight, after) < 0.7 * error(weight, before)


def test_a_level_without_numbers_stays() -> None:
    old = np.array([-1.0, 0.0, 1.0, 8.0], np.float32)
    weight = np.array([-1.5, 0.0, 0.75], np.float32)
    assert levels(weight, 2, old).tolist() == [
        -1.5,
        0.0,
        0.75,
        8.0,
    ]


def test_the_same_weight_keeps_its_levels() -> None:
    weight = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    old = levels(weight, 4)
    codes = nearest(weight, old)
    assert np.mean(nearest(weight, levels(weight, 4, old)) != codes) < 0.01
