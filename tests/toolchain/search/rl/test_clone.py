"""Imitation on a toy: the rule that solves it is learnt."""

from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.search.rl.clone import Cloning, clone
from hwc.toolchain.search.rl.episode import CONTEXT, OPTION
from hwc.toolchain.search.rl.features import K_MAX
from hwc.toolchain.search.rl.lessons import Lessons
from hwc.toolchain.search.rl.policy import highest

HOW = Cloning(hidden=(16,), epochs=20, batch=128)


@pytest.fixture(scope="module")
def toy() -> Lessons:
    """Take the allowed choice with the largest difference of two features."""
    rng = np.random.default_rng(0)
    context = rng.normal(size=(4000, len(CONTEXT))).astype(np.float32)
    options = rng.normal(size=(4000, K_MAX, len(OPTION))).astype(np.float32)
    options[..., OPTION.index("exists")] = 1.0
    masks = rng.random((4000, K_MAX)) < 0.6
    masks[np.arange(4000), rng.integers(0, K_MAX, 4000)] = True
    chosen = highest(options[..., 3] - options[..., 5], masks)
    return Lessons(context, options, masks, chosen)


def part(lessons: Lessons, rows: slice) -> Lessons:
    return Lessons(
        lessons.context[rows], lessons.options[rows], lessons.masks[rows], lessons.chosen[rows]
    )


def right(toy: Lessons, seed: int = 0, how: Cloning = HOW) -> float:
    policy = clone(part(toy, slice(3000)), seed=seed, how=how)
    unseen = part(toy, slice(3000, None))
    chosen = highest(policy.scores(unseen.context, unseen.options), unseen.masks)
    return float((chosen == unseen.chosen).mean())


def test_the_rule_is_learnt(toy: Lessons) -> None:
    assert right(toy) > 0.85


def test_without_training_it_is_not_known(toy: Lessons) -> None:
    assert right(toy, how=replace(HOW, epochs=1, rate=1e-9)) < 0.5


def test_the_same_seed_gives_the_same_policy(toy: Lessons) -> None:
    some = part(toy, slice(500))
    one, two, three = (clone(some, seed=s, how=replace(HOW, epochs=1)) for s in (1, 1, 2))
    seen = toy.context[:5], toy.options[:5]
    assert np.array_equal(one.scores(*seen), two.scores(*seen))
    assert not np.array_equal(one.scores(*seen), three.scores(*seen))


def test_features_that_never_change_do_no_harm(toy: Lessons) -> None:
    flat = replace(toy, context=np.ones_like(toy.context))
    policy = clone(part(flat, slice(500)), seed=0, how=replace(HOW, epochs=1))
    assert (policy.spread > 0.0).all()
    assert np.isfinite(policy.scores(flat.context[:9], flat.options[:9])).all()
