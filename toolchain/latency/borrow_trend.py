"""A trend through measured times, corrected by the nearest of them, that knows its error."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from .wiring import Floats

COVERAGE = 0.85  # share of left-out times that a range should hold
FLOOR_US = 1.0  # finer than this no profiler tells: differences below it count little
BLIND = 4.0  # factor of error where there is nothing to learn it from
REACH = 0.7  # distance at which a neighbour's say has fallen to 1/e
PRIOR = 1.0  # what the trend itself counts, in neighbours at distance 0
_ROUNDS = 25  # of reweighting; the costs settle in about ten
_STEPS = 1000  # of each fit; a handful of costs takes a few
_EXACT = 0.1  # relative error below which a row pulls with its square, above it with its size
_HOLES = (0.0, 0.5, 1.0, 2.0)  # neighbours nearer than this are left out too, to look farther
_BEYOND = 4.0  # farther than any that was left out by this, the error is by `BLIND` larger
_BIN = 20  # errors that one quantile is taken of


@dataclass(frozen=True, slots=True)
class Guess:
    """A time for what was not measured.

    Attributes:
        us: The time, in microseconds.
        low: The lowest that is likely.
        high: The highest that is likely.
        nearest: Index of the nearest measured row.
    """

    us: float
    low: float
    high: float
    nearest: int


@dataclass(frozen=True, slots=True, eq=False)
class Trend:
    """The cost of each of D features, fitted to N measured times, and what that leaves of them.

    Times are compared as logarithms of time + `FLOOR_US`, so a kernel that takes nothing (a
    reshape, or what the runtime fused away) is one like any other, and stays at nothing.

    Attributes:
        costs: Microseconds of one unit of each feature, not negative; shape (D,).
        left: What the trend leaves of each row, as a logarithm; shape (N,).
        error: Distances to the nearest row, and the logarithm of the factor of error at each, both
            rising; shape (2, B).
    """

    costs: Floats
    left: Floats
    error: Floats

    @classmethod
    def fit(cls, features: Floats, us: Floats, distances: Floats) -> Self:
        """Fit the trend, and learn its error by leaving rows out.

        Args:
            features: What each row has to do, not negative; shape (N, D), N > 0.
            us: What it took; shape (N,).
            distances: How unlike each of M rows, as `spread` picks them, and every row are: these
                are left out in turn; shape (M, N).
        """
        costs, leverage = _robust(features, us)
        fitted = features @ costs
        left = _log(us) - _log(fitted)
        # The fit without a row, by the leverage of that row: no other fit is needed.
        without = np.maximum(0.0, (fitted - leverage * us) / (1.0 - leverage))
        tried = spread(len(us), len(distances))
        off = (_log(us) - _log(without))[tried]
        return cls(costs, left, _learned(off, left, distances.copy(), tried))

    def guess(self, features: Floats, distances: Floats) -> Guess:
        """The time of what has these features (D,) and is so unlike each row (N,)."""
        nearest = int(np.argmin(distances))
        level = _log(features @ self.costs) + _shift(self.left, distances)
        width = np.interp(distances[nearest], self.error[0], self.error[1])
        us, low, high = (_time(float(level + w)) for w in (0.0, -width, width))
        return Guess(us, low, high, nearest)


def scaled(guess: Guess, before: Floats, after: Floats) -> Guess:
    """A guess in one choice as one in another, from kernels that were measured in both.

    Args:
        guess: The time in the one choice.
        before: The kernels' times in that choice; shape (P,), P > 0.
        after: Their times in the other choice; shape (P,).
    """
    ratios = _log(after) - _log(before)
    ratio = float(np.median(ratios))
    width = float(np.quantile(np.abs(ratios - ratio), COVERAGE))
    us, low, high = (np.log(us + FLOOR_US) + ratio for us in (guess.us, guess.low, guess.high))
    return Guess(_time(us), _time(low - width), _time(high + width), guess.nearest)


def spread(rows: int, most: int) -> npt.NDArray[np.intp]:
    """Up to `most` indices of rows, evenly spread."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(np.intp)


def _log(us: Floats) -> Floats:
    logs: Floats = np.log(us + FLOOR_US)
    return logs


def _time(log: float) -> float:
    return max(0.0, float(np.exp(log)) - FLOOR_US)


def _shift(left: Floats, distances: Floats) -> Floats:
    """What the neighbours say that the trend leaves, and 0 far from all of them; over axis -1."""
    say = np.exp(-((distances / REACH) ** 2))
    shift: Floats = (say * left).sum(axis=-1) / (say.sum(axis=-1) + PRIOR)
    return shift


def _robust(features: Floats, us: Floats) -> tuple[Floats, Floats]:
    """The costs with the least sum of relative errors (D,), and the leverage of each row (N,).

    Least absolute errors by reweighted least squares: a kernel that the runtime handles badly (an
    int8 pool at 40 times its fp32 time) must not bend the trend of all others.
    """
    from scipy.optimize import nnls  # noqa: PLC0415 - slow to import

    fitted = us
    for _ in range(_ROUNDS):
        off = np.abs(_log(us) - _log(fitted))
        # Off by a factor counts the same either way: relative to the mean of measured and fitted.
        weights = np.exp(-(_log(us) + _log(fitted)) / 2) / np.sqrt(np.maximum(off, _EXACT))
        design = features * weights[:, None]
        scale = np.linalg.norm(design, axis=0)
        scale[scale == 0.0] = 1.0
        costs: Floats = nnls(design / scale, us * weights, maxiter=_STEPS)[0] / scale
        fitted = features @ costs
    used = (design / scale)[:, costs > 0.0]
    basis = np.linalg.svd(used, full_matrices=False)[0]
    return costs, np.minimum((basis**2).sum(axis=1), 0.99)


def _learned(off: Floats, left: Floats, distances: Floats, tried: npt.NDArray[np.intp]) -> Floats:
    """The error over the distance to the nearest row that was not left out.

    Args:
        off: What the trend without each of the M tried rows leaves of it; shape (M,).
        left: What the trend with all rows leaves of each; shape (N,).
        distances: Shape (M, N); changed.
        tried: The tried rows' indices; shape (M,).
    """
    distances[np.arange(len(tried)), tried] = np.inf
    far, errors = [], []
    for hole in _HOLES:
        distances[distances < hole] = np.inf
        far.append(distances.min(axis=1))
        errors.append(np.abs(off - _shift(left, distances)))
    return _rising(np.concatenate(far), np.concatenate(errors))


def _rising(far: Floats, errors: Floats) -> Floats:
    """Quantiles of the errors over the distance, made to rise; shape (2, B)."""
    there = np.isfinite(far)
    order = np.argsort(far[there], kind="stable")
    far, errors = far[there][order], errors[there][order]
    if not len(far):
        return np.array([[0.0], [np.log(BLIND)]])  # a single row
    bins = np.array_split(np.arange(len(far)), max(1, len(far) // _BIN))
    middles = [np.median(far[rows]) for rows in bins]
    quantiles = [np.quantile(errors[rows], COVERAGE) for rows in bins]
    # Farther than was ever tried, the trend may be off by as much again as it is blind.
    middles.append(middles[-1] + _BEYOND)
    quantiles.append(max(quantiles) + np.log(BLIND))
    return np.stack([np.array(middles), np.maximum.accumulate(quantiles)])
