"""The order of channels that 2:4 loses least in: never worse, and as good as can be where known."""

from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from hwc.toolchain.sparse.pattern import two_four
from hwc.toolchain.sparse.permute import best_order, retained

Floats = npt.NDArray[np.float32]


def drawn(rows: int, channels: int, seed: int = 0, spread: float = 0.7) -> Floats:
    """Magnitudes of weights whose channels are not alike."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(0.0, spread, (1, channels)))
    return np.abs(rng.standard_normal((rows, channels)) * scale).astype(np.float32)


def test_what_is_retained_is_what_the_mask_keeps() -> None:
    weights = drawn(5, 16)
    kept = weights[two_four(weights, 1)].sum(dtype=np.float64)
    assert retained(weights) == pytest.approx(kept)


@pytest.mark.parametrize("channels", [4, 8, 12, 64])
@pytest.mark.parametrize("seed", range(5))
def test_never_less_than_the_order_that_is(channels: int, seed: int) -> None:
    weights = drawn(6, channels, seed)
    order = best_order(weights, escapes=5, seed=seed)
    assert sorted(order.tolist()) == list(range(channels))
    assert retained(weights, order) >= retained(weights)


def test_never_less_where_only_some_rows_are_looked_at() -> None:
    weights = drawn(3000, 16)
    assert retained(weights, best_order(weights, escapes=1)) >= retained(weights)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_all_orders_of_eight(seed: int) -> None:
    weights = drawn(3, 8, seed)
    firsts = [p for p in permutations(range(8), 4) if p[0] == 0 and list(p) == sorted(p)]
    orders = [np.array([*p, *(c for c in range(8) if c not in p)]) for p in firsts]
    best = max(retained(weights, order) for order in orders)
    assert retained(weights, best_order(weights)) == pytest.approx(best)


def test_channels_that_lie_badly_are_found() -> None:
    large, small = np.full((4, 4), 10.0), np.full((4, 4), 0.1)
    weights = np.concatenate([large, small], axis=1).astype(np.float32)
    assert retained(weights) < 85
    assert retained(weights, best_order(weights)) == pytest.approx(weights[:, :4].sum())


def test_an_order_without_a_gain_stays() -> None:
    assert best_order(np.ones((3, 8), np.float32)).tolist() == list(range(8))


def test_the_same_seed_gives_the_same_order() -> None:
    weights = drawn(20, 32)
    assert best_order(weights, seed=3).tolist() == best_order(weights, seed=3).tolist()
