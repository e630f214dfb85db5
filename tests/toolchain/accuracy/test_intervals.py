"""Intervals hold what they promise."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hwc.toolchain.accuracy.intervals import drop_interval, score_interval, value_of, wilson
from hwc.toolchain.accuracy.metric import Tallied
from hwc.toolchain.engine import Array


def scored(each: Array) -> Tallied:
    """A mean of scores from 0 to 1."""
    n = len(each)
    return Tallied(each[:, None], lambda sums: sums[:, 0] / n, each)


@dataclass(frozen=True, slots=True)
class Median:
    """A score that must not see a sample twice."""

    each: Array
    per_sample: None = None
    repeatable: bool = False

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.each)

    def values(self, weights: Array) -> Array:
        """The median of those that count."""
        assert np.isin(weights, (0, 1)).all()
        return np.array([np.median(self.each[row > 0]) for row in weights])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (10, 10, 0.7225, 1.0),
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson(successes: int, n: int, low: float, high: float) -> None:
    """The last line is the example of Newcombe 1998."""
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("original", "compiled", "low", "high"),
    [
        pytest.param([1] * 10, [1] * 10, 0.0, 0.2775, id="10 of 10 agree"),
        pytest.param([1] * 10, [1] * 9 + [0], 0.0179, 0.4042, id="9 of 10 agree"),
        pytest.param([1, 0] * 5, [1, 0] * 5, -0.2775, 0.2775, id="same right and wrong answers"),
    ],
)
def test_counted_drops(original: list[int], compiled: list[int], low: float, high: float) -> None:
    """Few samples leave much open, even if none differs."""
    drop = drop_interval(scored(np.array(original, float)), scored(np.array(compiled, float)))
    assert drop.value == pytest.approx(np.mean(original) - np.mean(compiled))
    assert (drop.low, drop.high) == pytest.approx((low, high), abs=5e-5)


def test_paired_bootstrap_covers() -> None:
    """The true drop of 2 points lies in about 95 of 100 intervals, and pairing makes them small."""
    rng, hits, widths = np.random.default_rng(1), 0, []
    for _ in range(50):
        right = (rng.random(300) < 0.7).astype(float)
        changed = rng.random(300)
        compiled = np.where(changed < 0.05 / 0.7 * right, 0.0, right)
        compiled = np.where((changed > 1 - 0.03 / 0.3) & (right == 0), 1.0, compiled)
        drop = drop_interval(scored(right), scored(compiled))
        hits += drop.low <= 0.02 <= drop.high
        widths.append(drop.high - drop.low)
    assert hits >= 43  # of 50
    assert np.mean(widths) < 0.08  # unpaired: 0.15


def test_one_sample_tells_nothing() -> None:
    """No spread is known of one value."""
    one = Tallied(np.array([[0.5]]), lambda sums: sums[:, 0])
    assert drop_interval(one, one).high == math.inf
    assert score_interval(one).low == -math.inf


def test_another_measure_decides() -> None:
    """The count's uncertainty stays in the bound where another measure is a little worse."""
    each = np.ones(10)
    original = Tallied(np.ones((10, 1)), lambda sums: sums[:, 0] / 10, each)
    compiled = Tallied(np.full((10, 1), 0.99), lambda sums: sums[:, 0] / 10, each)
    drop = drop_interval(original, compiled)
    assert drop.value == pytest.approx(0.01)
    assert drop.high == pytest.approx(0.2775, abs=1e-4)
    assert drop.low == pytest.approx(0.01)


def test_jackknife() -> None:
    """Groups are left out, none is repeated; the interval is about that of a median."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    drop = drop_interval(Median(a), Median(a - 0.5))
    assert drop.value == pytest.approx(0.5)
    assert drop.high - drop.low < 1e-6
    score = score_interval(Median(a))
    assert 0.06 < (score.high - score.low) / 2 < 0.4  # exact: 0.123
    few = score_interval(Median(a[:3]))
    assert few.low < few.value < few.high


def test_value_of() -> None:
    """Every sample counts once."""
    assert value_of(scored(np.array([0, 1, 1, 1.0]))) == 0.75
