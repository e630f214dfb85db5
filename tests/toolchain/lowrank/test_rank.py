"""Ranks from shares and prices, and where they no longer pay."""

import numpy as np
import pytest
from hwc.toolchain.lowrank.factors import Floats, Method, Whole
from hwc.toolchain.lowrank.hierarchical import Hierarchical
from hwc.toolchain.lowrank.methods import decompose
from hwc.toolchain.lowrank.rank import (
    Criterion,
    by_energy,
    by_nuclear_norm,
    by_ratio,
    levels,
    ranks_at,
    rounded,
    within,
    within_levels,
)

VALUES = np.array([4.0, 2.0, 1.0, 1.0])  # squares: 16, 4, 1, 1 of 22; sums: 4, 6, 7, 8


def random(*shape: int) -> Floats:
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize(
    ("share", "rank"), [(0.5, 1), (16 / 22, 1), (0.73, 2), (20 / 22, 2), (0.95, 3), (1.0, 4)]
)
def test_energy(share: float, rank: int) -> None:
    assert by_energy(VALUES, share) == rank


@pytest.mark.parametrize(("share", "rank"), [(0.1, 1), (0.5, 1), (0.51, 2), (0.75, 2), (1.0, 4)])
def test_nuclear_norm(share: float, rank: int) -> None:
    assert by_nuclear_norm(VALUES, share) == rank


def test_of_nothing_one_is_enough() -> None:
    assert by_energy(np.zeros(5), 0.9) == by_nuclear_norm(np.zeros(5), 0.9) == 1


def test_ratio_and_multiple() -> None:
    assert [by_ratio(10, share) for share in (0.01, 0.25, 1.0)] == [1, 3, 10]
    assert [rounded(rank, 8, 20) for rank in (1, 8, 9, 17, 20)] == [8, 8, 16, 20, 20]


def test_energy_of_a_matrix_is_what_its_factors_keep() -> None:
    weight = random(20, 30)
    found = decompose(weight, Method.SVD)
    for share in (0.5, 0.9, 0.99):
        (rank,) = ranks_at(found, share, Criterion.ENERGY)
        kept = [
            np.sum(found.truncate((r,)).weight() ** 2) / np.sum(weight**2) for r in (rank - 1, rank)
        ]
        assert kept[0] < share <= kept[1]


@pytest.mark.parametrize(("out", "into"), [(384, 384), (1536, 384), (64, 10)])
def test_break_even_of_a_matrix(out: int, into: int) -> None:
    """Two factors of rank r have r (m + n) multiply-accumulates, one matrix has m n."""
    whole = Whole("n", (out, into), (7,), (7,))
    (rank,) = within(decompose(random(out, into), Method.SVD), whole, 1.0) or (0,)
    assert rank * (out + into) < out * into <= (rank + 1) * (out + into)


@pytest.mark.parametrize("method", [m for m in Method if m is not Method.HIERARCHICAL])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
def test_a_price_is_kept_and_used(method: Method, share: float) -> None:
    whole = Whole("n", (32, 16, 3, 3), (8, 8), (8, 8))
    found = decompose(random(*whole.shape), method)
    ranks = within(found, whole, share)
    assert ranks is not None
    price = whole.macs_of(found.forms(ranks))
    assert 0.7 * share * whole.macs < price < share * whole.macs


def test_no_rank_is_cheap_enough() -> None:
    whole = Whole("n", (2, 2), (1,), (1,))
    assert within(decompose(random(2, 2), Method.SVD), whole, 1.0) is None


@pytest.mark.parametrize("criterion", Criterion)
@pytest.mark.parametrize("method", Method)
def test_levels_cost_less_than_the_whole(method: Method, criterion: Criterion) -> None:
    whole = Whole("n", (32, 16, 3, 3), (8, 8), (8, 8))
    found = decompose(random(*whole.shape), method)
    offered = levels(found, whole, (0.1, 0.99, 0.5, 0.3, 1.0), criterion, multiple=4)
    prices = [whole.macs_of(found.forms(ranks)) for ranks in offered]
    assert offered
    assert len(set(offered)) == len(offered)
    assert prices == sorted(prices, reverse=True)
    assert max(prices) < whole.macs
    assert found.full not in offered


def test_a_random_matrix_has_no_level_that_keeps_its_energy() -> None:
    """A square matrix pays below half of its rank, where most of its energy is not."""
    whole = Whole("n", (64, 64), (1,), (1,))
    assert levels(decompose(random(64, 64), Method.SVD), whole, (0.99, 0.95)) == ()


@pytest.mark.parametrize("ratios", [(0.8, 0.6, 0.4), (1.0, 1.0, 0.01)], ids=str)
def test_levels_of_a_hierarchy_divide_the_price(ratios: tuple[float, ...]) -> None:
    whole = Whole("n", (32, 16, 3, 3), (8, 8), (8, 8))
    found = Hierarchical.of(random(*whole.shape))
    ranks = within_levels(found, whole, 0.6, ratios)
    branches = found.forms(ranks)
    assert whole.macs_of(branches) < 0.6 * whole.macs
    prices = [whole.macs_of([chain]) / whole.macs for chain in branches]
    parts = [0.6 * ratio / sum(ratios) for ratio in ratios]
    assert all(price < part for price, part in zip(prices, parts, strict=False))
    assert (ranks[-1] == 0) == (ratios[-1] == 0.01)
