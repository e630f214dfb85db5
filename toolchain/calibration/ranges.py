"""Which range of real numbers a quantised tensor covers: four ways to read it off a histogram."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .histogram import BINS, Histogram

PERCENTILE = 99.99
_CANDIDATES = 128  # clipping points tried on each side of zero
_SMOOTH = 1e-4  # what an empty end bin gets: without it, one far outlier forbids all clipping

Floats = npt.NDArray[np.float64]


class Method(StrEnum):
    """How a range is chosen."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"


@dataclass(frozen=True, slots=True)
class Range:
    """The real numbers from `low` to `high`; always holds 0, as ONNX's zero point requires."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (-np.inf < self.low <= 0.0 <= self.high < np.inf):
            raise InputError(
                f"a quantisation range of [{self.low}, {self.high}] is not finite or lacks 0",
                "calibrate again",
            )


def ranges(
    histograms: Mapping[str, Histogram], method: Method, *, unsigned: bool
) -> dict[str, Range]:
    """The range of each tensor.

    Args:
        histograms: What `collect` returned.
        method: MINMAX keeps every value. PERCENTILE keeps 99.99 % of them, the rest cut evenly
            from both sides of zero, or from the one side there is. MSE minimises the expected
            squared error of clipping plus rounding. ENTROPY minimises the information lost, as
            TensorRT does (Migacz, "8-bit inference with TensorRT", GTC 2017); Migacz has symmetric
            ranges only, so an asymmetric one is clipped at one magnitude on both sides: [-t, t],
            cut to the values there are, in 256 levels.
        unsigned: uint8 with a zero point: the range need not be symmetric. Otherwise int8 with
            zero point 0: low = -high.
    """
    return {name: _range(histogram, method, unsigned) for name, histogram in histograms.items()}


def _range(histogram: Histogram, method: Method, unsigned: bool) -> Range:  # noqa: FBT001 - private
    if unsigned:
        return Range(*_ends(histogram, method, steps=255))
    _, high = _ends(histogram.folded(), method, steps=127)
    return Range(-high, high)


def _ends(histogram: Histogram, method: Method, *, steps: int) -> tuple[float, float]:
    """Low and high end; `steps` is the number of quantisation steps between them."""
    if histogram.width == 0.0 or not histogram.counts.any():
        return histogram.low, histogram.high
    match method:
        case Method.MINMAX:
            return histogram.low, histogram.high
        case Method.PERCENTILE:
            return _percentile(histogram)
        case Method.MSE:
            search = _mse
        case Method.ENTROPY:
            search = _entropy
    counts = _without_zeros(histogram)
    return search(histogram, counts, steps) if counts.any() else (histogram.low, histogram.high)


def _percentile(histogram: Histogram) -> tuple[float, float]:
    two_sided = histogram.low < 0.0 < histogram.high
    tail = histogram.counts.sum() * (1.0 - PERCENTILE / 100.0) / (2.0 if two_sided else 1.0)
    below, above = np.cumsum(histogram.counts), np.cumsum(histogram.counts[::-1])
    low, high = histogram.low, histogram.high
    if low < 0.0:
        low += histogram.width * int(np.searchsorted(below, tail, side="right"))
    if high > 0.0:
        high -= histogram.width * int(np.searchsorted(above, tail, side="right"))
    return min(low, 0.0), max(high, 0.0)


def _without_zeros(histogram: Histogram) -> Floats:
    """The counts, with the bin of 0 levelled to its neighbours; shape (BINS,).

    Zero is exact whatever the scale, so the many zeros behind a ReLU must not sway the choice.
    """
    counts = histogram.counts.astype(np.float64)
    zero = int(histogram.bins_of(np.zeros(1))[0])
    neighbours = counts[[i for i in (zero - 1, zero + 1) if 0 <= i < BINS]]
    counts[zero] = min(counts[zero], neighbours.mean())
    return counts


def _mse(histogram: Histogram, counts: Floats, steps: int) -> tuple[float, float]:
    """The ends that minimise clipping error + rounding error (a step squared / 12 for each value).

    Both ends are searched together: 129 fractions of the lowest by 129 of the highest value.
    """
    centers = histogram.centers
    lows, highs = (
        np.linspace(0.0, end, _CANDIDATES + 1) for end in (histogram.low, histogram.high)
    )
    clipped = _above(counts[::-1], -centers[::-1], -lows)[:, None] + _above(counts, centers, highs)
    below = np.concatenate(([0.0], np.cumsum(counts)))
    inside = below[np.searchsorted(centers, highs)] - below[np.searchsorted(centers, lows)][:, None]
    step = (highs - lows[:, None]) / steps
    error = clipped + inside * step**2 / 12.0
    i, j = np.unravel_index(np.argmin(error), error.shape)
    return float(lows[i]), float(highs[j])


def _above(counts: Floats, centers: Floats, ends: Floats) -> Floats:
    """Squared error of clipping at each of `ends`: sum of count * (center - end)^2 beyond it.

    From three running sums of the moments of the distribution; shape (ends,).
    """
    moments = np.stack((counts, counts * centers, counts * centers**2))
    beyond = np.zeros((3, counts.size + 1))
    beyond[:, :-1] = np.cumsum(moments[:, ::-1], axis=1)[:, ::-1]
    mass, first, second = beyond[:, np.searchsorted(centers, ends)]
    error: Floats = np.maximum(second - 2.0 * ends * first + ends**2 * mass, 0.0)
    return error


def _entropy(histogram: Histogram, counts: Floats, steps: int) -> tuple[float, float]:
    """The ends [max(low, -t), min(high, t)] for the t of the least Kullback-Leibler divergence."""
    top = max(-histogram.low, histogram.high)
    limits = top * np.arange(1, _CANDIDATES + 1) / _CANDIDATES
    lows, highs = np.maximum(histogram.low, -limits), np.minimum(histogram.high, limits)
    starts = np.rint((lows - histogram.low) / histogram.width).astype(np.intp)
    stops = np.rint((highs - histogram.low) / histogram.width).astype(np.intp)
    wide = stops - starts > steps  # narrower: every bin has a level of its own, nothing is lost
    lows, highs, starts, stops = lows[wide], highs[wide], starts[wide], stops[wide]
    best = int(np.argmin(_divergence(counts, starts, stops, steps + 1)))
    return float(lows[best]), float(highs[best])


def _divergence(
    counts: Floats, starts: npt.NDArray[np.intp], stops: npt.NDArray[np.intp], levels: int
) -> Floats:
    """KL(P || Q) of each window of bins [start, stop), shape (windows,).

    P is the window with everything outside it piled onto its end bins; Q is the window alone, each
    of its `levels` groups of bins levelled to the mean of the group's non-empty bins, and a little
    in an empty end bin that has a pile in P. Every sum over bins is the difference of two running
    sums, so a window costs O(levels).
    """
    mass, filled, entropy = (
        np.concatenate(([0.0], np.cumsum(terms)))
        for terms in (counts, counts > 0.0, _xlogx(counts))
    )
    bounds = starts[:, None] + np.arange(levels + 1) * (stops - starts)[:, None] // levels
    group = np.diff(mass[bounds], axis=1)
    level = group / np.maximum(np.diff(filled[bounds], axis=1), 1.0)
    total, window = mass[-1], group.sum(axis=1)
    p_log_p = entropy[stops] - entropy[starts]
    p_log_q = (group * np.log(np.where(level > 0.0, level, 1.0))).sum(axis=1)
    norm = window
    for outside, end, side in (
        (mass[starts], starts, level[:, 0]),
        (total - mass[stops], stops - 1, level[:, -1]),
    ):
        piled_on_nothing = (outside > 0.0) & (counts[end] <= 0.0)
        q = np.where(piled_on_nothing, _SMOOTH * window, side)
        norm = norm + np.where(piled_on_nothing, q, 0.0)
        p_log_p += _xlogx(counts[end] + outside) - _xlogx(counts[end])
        p_log_q += outside * np.log(np.where(q > 0.0, q, 1.0))
    divergence = (p_log_p - p_log_q) / total - np.log(total)
    divergence += np.log(np.where(window > 0.0, norm, 1.0))
    return np.where(window > 0.0, divergence, np.inf)


def _xlogx(values: Floats) -> Floats:
    """V log v, 0 where v is 0."""
    return values * np.log(np.where(values > 0.0, values, 1.0))
