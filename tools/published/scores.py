"""How well published latencies were foretold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .fit import Foretold

FACTOR = 1.6


@dataclass(frozen=True, slots=True)
class Score:
    """The errors of some predictions.

    Attributes:
        rows: How many there are.
        models: Of how many models.
        median: Median of |predicted - published| / published.
        within: The share within a factor of `FACTOR`.
        low: The lowest published / predicted.
        high: The highest.
        pairs: Pairs that differ in precision only.
        ranked: How many of these were put in the right order.
    """

    rows: int
    models: int
    median: float
    within: float
    low: float
    high: float
    pairs: int
    ranked: int


def score(foretold: Sequence[Foretold]) -> Score:
    """The errors of at least one prediction."""
    ratios = np.array([item.ratio for item in foretold])
    pairs = list(_pairs(foretold))
    return Score(
        rows=len(foretold),
        models=len({item.row.model for item in foretold}),
        median=float(np.median(np.abs(1 / ratios - 1))),
        within=float(np.mean((ratios <= FACTOR) & (ratios >= 1 / FACTOR))),
        low=float(ratios.min()),
        high=float(ratios.max()),
        pairs=len(pairs),
        ranked=sum((a.us < b.us) == (a.row.us < b.row.us) for a, b in pairs),
    )


def _pairs(foretold: Iterable[Foretold]) -> Iterable[tuple[Foretold, Foretold]]:
    """All pairs of one model, input, batch and device that differ in precision only."""
    for a, b in combinations(foretold, 2):
        x, y = a.row, b.row
        same = (x.model, x.device, x.mode, x.size, x.batch, x.sparse, x.in_python)
        others = (y.model, y.device, y.mode, y.size, y.batch, y.sparse, y.in_python)
        if same == others and x.precision is not y.precision:
            yield a, b
