"""The policy as a function: each choice by itself, only what is allowed."""

import numpy as np
import pytest
from hwc.toolchain.search.rl.policy import Policy, draw, highest
from hypothesis import given
from hypothesis import strategies as st

CONTEXT, OPTION = ("a", "b"), ("c", "d", "e")


def drawn() -> Policy:
    return Policy.drawn(CONTEXT, OPTION, hidden=(8, 4), rng=np.random.default_rng(0))


def seen(seed: int, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, len(CONTEXT))), rng.normal(size=(count, 5, len(OPTION)))


@given(order=st.permutations(range(5)), seed=st.integers(0, 1000))
def test_permuting_the_choices_permutes_the_scores(order: list[int], seed: int) -> None:
    context, options = seen(seed)
    scores = drawn().scores(context, options)
    assert np.allclose(scores[:, order], drawn().scores(context, options[:, order]), atol=1e-6)


def test_lanes_and_choices_are_scored_by_themselves() -> None:
    context, options = seen(1)
    alone = [
        [drawn().scores(context[n : n + 1], options[n : n + 1, k : k + 1])[0, 0] for k in range(5)]
        for n in range(len(context))
    ]
    assert np.allclose(drawn().scores(context, options), alone, atol=1e-6)


def test_both_kinds_of_features_count() -> None:
    context, options = seen(2)
    scores = drawn().scores(context, options)
    assert not np.allclose(scores, drawn().scores(context + 1.0, options))
    assert not np.allclose(scores, drawn().scores(context, options + 1.0))


@given(seed=st.integers(0, 10_000))
def test_what_is_masked_is_never_chosen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.0, 50.0, (64, 6)).astype(np.float32)
    mask = rng.random((64, 6)) < 0.4
    mask[np.arange(64), rng.integers(0, 6, 64)] = True
    rows = np.arange(64)
    assert mask[rows, highest(scores, mask)].all()
    assert mask[rows, draw(scores, mask, rng, heat=3.0)].all()


def test_draws_follow_the_softmax() -> None:
    scores = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    many = np.broadcast_to(scores, (40_000, 3))
    drawn = draw(many, np.ones(many.shape, bool), np.random.default_rng(0))
    assert np.bincount(drawn) / len(drawn) == pytest.approx([0.5, 0.3, 0.2], abs=0.01)
