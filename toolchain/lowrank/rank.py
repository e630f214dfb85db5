"""Ranks: from a share of what is kept, or from what they may cost, and where they no longer pay."""

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from .factors import Floats, Ranks, Whole
from .hierarchical import RATIOS, Hierarchical
from .methods import Decomposition

_STEPS = 1024  # shares of the ranks that are tried for a price


class Criterion(StrEnum):
    """What a share is a share of."""

    ENERGY = "energy"
    NUCLEAR_NORM = "nuclear_norm"
    RATIO = "ratio"


def by_energy(values: Floats, share: float) -> int:
    """The least rank that keeps a share of the sum of squared singular values."""
    return _reaching(values**2, share)


def by_nuclear_norm(values: Floats, share: float) -> int:
    """The least rank that keeps a share of the sum of singular values."""
    return _reaching(values, share)


def by_ratio(full: int, share: float) -> int:
    """A share of the full rank, rounded up."""
    return max(1, math.ceil(share * full))


def rounded(rank: int, multiple: int, full: int) -> int:
    """A rank rounded up to a multiple that kernels like, and not above the full one."""
    return min(full, -(-rank // multiple) * multiple)


def ranks_at(
    decomposition: Decomposition, share: float, criterion: Criterion, multiple: int = 1
) -> Ranks:
    """The ranks of a decomposition for a share of what is kept.

    A decomposition without spectra knows of no energy: its ranks are shares of the full ones.

    Args:
        decomposition: Of one weight.
        share: Above 0, at most 1.
        criterion: What it is a share of.
        multiple: A number of channels that kernels like.
    """
    full, spectra = decomposition.full, decomposition.spectra
    if criterion is Criterion.RATIO or not spectra:
        found = [by_ratio(rank, share) for rank in full]
    else:
        rule = by_energy if criterion is Criterion.ENERGY else by_nuclear_norm
        found = [rule(values, share) for values in spectra]
    return tuple(rounded(rank, multiple, most) for rank, most in zip(found, full, strict=True))


def levels(
    decomposition: Decomposition,
    whole: Whole,
    shares: Sequence[float],
    criterion: Criterion = Criterion.ENERGY,
    multiple: int = 1,
) -> tuple[Ranks, ...]:
    """The ranks that are worth a try: those at which fewer multiply-accumulates are left.

    Args:
        decomposition: Of the weight.
        whole: The node as it is.
        shares: What is to be kept, each a level.
        criterion: What they are shares of.
        multiple: A number of channels that kernels like.

    Returns:
        Each once, those that keep most first.
    """
    found: dict[Ranks, None] = {}
    for share in sorted(shares, reverse=True):
        ranks = ranks_at(decomposition, share, criterion, multiple)
        if whole.macs_of(decomposition.forms(ranks)) < whole.macs:
            found[ranks] = None
    return tuple(found)


def within(
    decomposition: Decomposition, whole: Whole, share: float, multiple: int = 1
) -> Ranks | None:
    """The largest ranks, all the same share of the full ones, that stay below a price.

    Args:
        decomposition: Of the weight.
        whole: The node as it is.
        share: Of its multiply-accumulates, below which the factors must stay; 1: break-even.
        multiple: A number of channels that kernels like.

    Returns:
        None where not even the least ranks do.
    """
    for step in range(_STEPS, 0, -1):
        ranks = ranks_at(decomposition, step / _STEPS, Criterion.RATIO, multiple)
        if whole.macs_of(decomposition.forms(ranks)) < share * whole.macs:
            return ranks
    return None


def within_levels(
    hierarchy: Hierarchical,
    whole: Whole,
    share: float,
    ratios: Sequence[float] = RATIOS,
    multiple: int = 1,
) -> Ranks:
    """Ranks of a hierarchy whose levels divide a price in given ratios.

    Args:
        hierarchy: Of the weight.
        whole: The node as it is.
        share: Of its multiply-accumulates, below which all levels together must stay.
        ratios: What the levels get of it, in proportion, the first level first.
        multiple: A number of channels that kernels like.

    Returns:
        Rank 0 for a level that cannot do anything for its part.
    """
    parts = [share * ratio / sum(ratios) for ratio in ratios]
    found: list[int] = []
    for level, part in zip(hierarchy.levels, parts, strict=True):
        found += within(level, whole, part, multiple) or [0] * len(level.full)
    return tuple(found)


def _reaching(amounts: Floats, share: float) -> int:
    """How many of the amounts, the largest first, make up a share of their sum."""
    sums = np.cumsum(amounts)
    if not sums[-1]:
        return 1
    return min(len(sums), int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12))) + 1)
