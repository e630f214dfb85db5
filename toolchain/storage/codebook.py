"""k-means in one dimension: the levels that leave the least squared error of a weight."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .levels import Floats, bfloat16

Doubles = npt.NDArray[np.float64]
_ITERATIONS = 60  # Lloyd's; each takes a few binary searches, whatever the size of the weight


@dataclass(frozen=True, slots=True, eq=False)
class _Sorted:
    """Weights in ascending order with running sums: a cluster is a range, its cost a difference."""

    x: Doubles
    mass: Doubles  # of the first i; shape (n + 1,)
    first: Doubles  # their weighted sum
    second: Doubles  # their weighted sum of squares

    def bounds(self, centres: Doubles) -> npt.NDArray[np.intp]:
        """Where each cluster begins and the last ends; shape (k + 1,)."""
        between = np.searchsorted(self.x, (centres[1:] + centres[:-1]) / 2)
        return np.concatenate([[0], between, [len(self.x)]]).astype(np.intp)

    def step(self, centres: Doubles) -> Doubles:
        """Centres moved to the means of their clusters; an empty one stays."""
        ends = self.bounds(centres)
        mass, total = np.diff(self.mass[ends]), np.diff(self.first[ends])
        return np.where(mass > 0, total / np.where(mass > 0, mass, 1.0), centres)

    def error(self, centres: Doubles) -> float:
        """Squared error with each weight at its nearest centre."""
        ends = self.bounds(centres)
        mass, total = np.diff(self.mass[ends]), np.diff(self.first[ends])
        return float(self.second[-1] + (mass * centres**2 - 2 * centres * total).sum())


def codebook(array: Floats, size: int, importance: Floats | None = None) -> Floats:
    """The levels of a weight: sorted, distinct, and the same for the same weight.

    Lloyd's algorithm on the sorted weight, from evenly spaced centres (which Han et al. 2016,
    section 3.2, found best) and from centres as dense as the cube root of the weight's density
    (Panter and Dite 1951: the optimum for many levels); the better one is taken. Where the weight
    has zeros, 0 is a level: what was pruned stays so.

    Args:
        array: Finite numbers of any shape.
        size: How many levels there may be.
        importance: What an error of each counts, not negative; None: alike.

    Returns:
        At most `size` bfloat16 numbers, ascending; a weight that has no more than that of them is
        kept as it is.
    """
    flat = array.reshape(-1)
    distinct = np.unique(bfloat16(flat[: 4 * size])) if flat.size else np.zeros(0, np.float32)
    if len(distinct) <= size:  # worth a look at all of them
        distinct = np.unique(bfloat16(flat))
        if len(distinct) <= size:
            return distinct + np.float32(0)  # no negative zero
    if importance is not None and not (importance > 0).any():
        importance = None
    data = _sort(flat, None if importance is None else importance.reshape(-1))
    found = [_lloyd(data, start) for start in (_even(data, size), _dense(data, size))]
    centres = min(found, key=data.error)
    if (flat == 0).any():
        centres[np.abs(centres).argmin()] = 0.0
    return np.unique(bfloat16(centres.astype(np.float32)))


def _sort(flat: Floats, importance: Floats | None) -> _Sorted:
    if importance is None:
        x = np.sort(flat).astype(np.float64)
        mass = np.arange(len(x) + 1, dtype=np.float64)
        return _Sorted(x, mass, _running(x), _running(x * x))
    order = np.argsort(flat, kind="stable")
    x, m = flat[order].astype(np.float64), importance[order].astype(np.float64)
    return _Sorted(x, _running(m), _running(m * x), _running(m * x * x))


def _running(terms: Doubles) -> Doubles:
    return np.concatenate([[0.0], np.cumsum(terms)])


def _lloyd(data: _Sorted, centres: Doubles) -> Doubles:
    for _ in range(_ITERATIONS):
        moved = np.sort(data.step(centres))
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _even(data: _Sorted, size: int) -> Doubles:
    return np.linspace(data.x[0], data.x[-1], size)


def _dense(data: _Sorted, size: int) -> Doubles:
    """Quantiles of the cube root of the density, which a histogram tells."""
    edges = np.linspace(data.x[0], data.x[-1], 32 * size + 1)
    ends = np.searchsorted(data.x, edges)
    ends[-1] = len(data.x)
    share = np.cbrt(np.maximum(np.diff(data.mass[ends]), 0.0))
    running = _running(share)
    centres: Doubles = np.interp((np.arange(size) + 0.5) / size * running[-1], running, edges)
    return centres
