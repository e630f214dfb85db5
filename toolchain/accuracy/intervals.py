"""95 % confidence intervals of a score and of the drop between two scores on the same samples."""

import math
from typing import Protocol

import numpy as np

from ..engine import Array
from ..timing import Interval

_Z = 1.959964  # two-sided 95 %
_RESAMPLES = 1000
_GROUPS = 20


class Scored(Protocol):
    """A metric's result on n samples, from which its value on any weighting of them follows."""

    @property
    def per_sample(self) -> Array | None:
        """Scores from 0 to 1, shape (n,), if such are counted.

        The value is their mean or, where another measure decides, less.
        """
        ...

    @property
    def repeatable(self) -> bool:
        """Whether a sample may count twice.

        A user's function may compare samples with each other (AUC, retrieval): a copy of a sample
        would be an easy case.
        """
        ...

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def values(self, weights: Array) -> Array:
        """Values, shape (b,), with how often each sample counts, shape (b, n)."""
        ...


def value_of(scored: Scored) -> float:
    """The value with every sample counted once."""
    return float(scored.values(np.ones((1, len(scored))))[0])


def score_interval(scored: Scored) -> Interval:
    """A score with its interval; infinite bounds where one sample cannot tell."""
    value, each = value_of(scored), scored.per_sample
    counted = None
    if each is not None and np.isin(each, (0.0, 1.0)).all():
        counted = Interval(float(each.mean()), *wilson(int(each.sum()), len(each)))
    if counted is not None and math.isclose(counted.value, value):
        return counted
    spread = _spread(value, scored.values(_weights(scored)), repeatable=scored.repeatable)
    low = spread.low if counted is None else min(spread.low, counted.low)
    return Interval(value, low, spread.high)


def drop_interval(original: Scored, compiled: Scored) -> Interval:
    """The drop (original minus compiled) with its interval, paired by sample.

    Bootstrap over samples; for functions that compare samples with each other the grouped
    jackknife (Shao and Tu 1995, section 2.1). Where each sample either fails or not, or none
    differs, Wilson's interval (10 of 10 alike does not prove that all are).
    """
    value = value_of(original) - value_of(compiled)
    counted = _counted(original.per_sample, compiled.per_sample)
    if counted is not None and math.isclose(counted.value, value, abs_tol=1e-12):
        return counted
    weights = _weights(original)
    differences = original.values(weights) - compiled.values(weights)
    spread = _spread(value, differences, repeatable=original.repeatable)
    high = spread.high if counted is None else max(spread.high, counted.high)
    return Interval(value, spread.low, high)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927)."""
    p, z2 = successes / n, _Z * _Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _counted(original: Array | None, compiled: Array | None) -> Interval | None:
    """A drop that is a proportion, or one of which nothing was seen, with Wilson's bounds."""
    if original is None or compiled is None:
        return None
    lost = original - compiled
    if (original == 1).all() and np.isin(lost, (0.0, 1.0)).all():
        return Interval(float(lost.mean()), *wilson(int(lost.sum()), len(lost)))
    if not lost.any():
        bound = wilson(0, len(lost))[1]
        return Interval(0.0, -bound, bound)
    return None


def _weights(scored: Scored) -> Array:
    """How often each sample counts in each resample: bootstrap, or one group left out."""
    n, rng = len(scored), np.random.default_rng(0)
    if n == 1:
        return np.ones((1, 1))
    if scored.repeatable:
        return rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(np.float64)
    groups = rng.permutation(np.arange(n) % _GROUPS)
    kept: Array = groups[None] != np.arange(min(_GROUPS, n))[:, None]
    return kept.astype(np.float64)


def _spread(value: float, resampled: Array, *, repeatable: bool) -> Interval:
    """The interval that resampled values span."""
    if len(resampled) < 2 or not np.isfinite(resampled).all():  # noqa: PLR2004 - one value has no spread
        return Interval(value, -math.inf, math.inf)
    if repeatable:
        bias = resampled.mean() - value  # a resample varies less than the data: FVU rises
        low, high = np.percentile(resampled - bias, (2.5, 97.5))
        return Interval(value, float(low), float(high))
    groups = len(resampled)
    variance = (groups - 1) / groups * float(((resampled - resampled.mean()) ** 2).sum())
    half = _student(groups - 1) * math.sqrt(variance)
    return Interval(value, value - half, value + half)


def _student(freedom: int) -> float:
    """Student's t, two-sided 95 %, by its expansion (Abramowitz and Stegun 26.7.5)."""
    z = _Z
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
