"""Play: a policy that knows nothing learns what pays."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.search.problem import Objective, Problem
from hwc.toolchain.search.rl.decode import Decoder
from hwc.toolchain.search.rl.episode import CONTEXT, OPTION
from hwc.toolchain.search.rl.generator import within_share
from hwc.toolchain.search.rl.lessons import Example, solved
from hwc.toolchain.search.rl.policy import Policy
from hwc.toolchain.search.rl.ppo import Refining, refine

HOW = Refining(
    steps=6000,
    lanes=16,
    steps_a_lane=32,
    batch_size=128,
    learning_rate=3e-3,
    target_kl=0.1,
    critic=16,
)


@pytest.fixture(scope="module")
def examples(random_problem: Callable[..., Problem]) -> list[Example]:
    problems = (replace(random_problem(seed, 6), objective=Objective.DROP) for seed in range(6))
    return list(solved(within_share(problem, 0.5) for problem in problems))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.drawn(CONTEXT, OPTION, hidden=(16,), rng=np.random.default_rng(5))


def excess(policy: Policy, examples: list[Example]) -> float:
    """How much the likeliest plans lose beyond the best, over all examples."""
    rng = np.random.default_rng(0)
    plans = [Decoder.of(policy, example.seen).sample(1, rng) for example in examples]
    pairs = zip(examples, plans, strict=True)
    losses = [float(e.problem.figures(plan)[Objective.DROP][0]) for e, plan in pairs]
    return sum(losses) - sum(example.best for example in examples)


def test_play_makes_plans_better(policy: Policy, examples: list[Example]) -> None:
    told: list[int] = []
    played = refine(policy, examples, seed=0, how=HOW, told=told.append)
    assert excess(played, examples) < 0.5 * excess(policy, examples)
    assert told == sorted(told)
    assert told[-1] >= HOW.steps


def test_the_same_seed_gives_the_same_policy(policy: Policy, examples: list[Example]) -> None:
    how = replace(HOW, steps=1024)
    one, two = (refine(policy, examples, seed=3, how=how) for _ in range(2))
    for left, right in zip(one.layers, two.layers, strict=True):
        assert np.array_equal(left.weights, right.weights)


def test_the_critic_learns_first(policy: Policy, examples: list[Example]) -> None:
    alone = refine(
        policy, examples, seed=0, how=replace(HOW, steps=1024, critic_first=1.0, heat=1.0)
    )
    for left, right in zip(alone.layers, policy.layers, strict=True):
        assert np.allclose(left.weights, right.weights, atol=1e-6)
