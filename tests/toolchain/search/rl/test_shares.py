"""The share of the exact solution's gain."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.search.problem import Limits, Objective, Problem
from hwc.toolchain.search.rl.episode import CONTEXT, OPTION
from hwc.toolchain.search.rl.generator import within_share
from hwc.toolchain.search.rl.lessons import Example, solved
from hwc.toolchain.search.rl.policy import Policy
from hwc.toolchain.search.rl.shares import Shares, uniform_loss
from hwc.toolchain.search.uniform import Uniform


@pytest.fixture(scope="module")
def examples(random_problem: Callable[..., Problem]) -> list[Example]:
    problems = (replace(random_problem(seed, 8), objective=Objective.DROP) for seed in range(20))
    return list(solved(within_share(problem, 0.4) for problem in problems))


def test_uniforms_loss_is_that_of_the_uniform_strategy(examples: list[Example]) -> None:
    for example in examples:
        losses = [p.figure(Objective.DROP) for p in Uniform().propose(example.problem)]
        assert uniform_loss(example.problem) == pytest.approx(min(losses, default=np.inf))


def test_no_plan_gains_more_than_the_best(examples: list[Example]) -> None:
    policy = Policy.drawn(CONTEXT, OPTION, hidden=(8,), rng=np.random.default_rng(0))
    shares = Shares.of(policy, examples)
    assert 0 < len(shares.chosen) <= len(examples)
    assert (shares.chosen <= 1.0 + 1e-3).all()
    assert (shares.chosen >= np.maximum(shares.likeliest, shares.guided) - 1e-9).all()
    assert (shares.seconds > 0.0).all()
    assert shares.summary()["share_mean"] > 0.5  # 64 plans of 8 slots, by what is predicted


def test_where_uniform_is_the_best_there_is_no_share(
    random_problem: Callable[..., Problem],
) -> None:
    problem = replace(random_problem(1), objective=Objective.DROP, limits=Limits())
    example = Example(problem, np.zeros(5, np.intp))
    policy = Policy.drawn(CONTEXT, OPTION, hidden=(8,), rng=np.random.default_rng(0))
    assert len(Shares.of(policy, [example]).chosen) == 0
