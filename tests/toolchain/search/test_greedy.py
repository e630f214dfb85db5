"""The greedy strategy: within the limits, never worse than where it starts, close to exact."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.front import best
from hwc.toolchain.search.greedy import Greedy
from hwc.toolchain.search.problem import Limits, Objective, Problem
from hwc.toolchain.search.uniform import Uniform
from hypothesis import given, settings
from hypothesis import strategies as st

MakeProblem = Callable[..., Problem]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    drop=st.sampled_from([0.0, 0.005, 0.03, 1.0]),
    objective=st.sampled_from(Objective),
)
def test_is_between_uniform_and_exact(
    random_problem: MakeProblem, *, seed: int, drop: float, objective: Objective
) -> None:
    problem = replace(random_problem(seed, 7), limits=Limits(drop=drop), objective=objective)
    greedy, exact, uniform = (best(problem, s) for s in (Greedy(), Exact(), Uniform()))
    assert greedy
    assert exact
    assert uniform
    assert problem.meets(greedy)
    assert greedy.figure(objective) <= uniform.figure(objective) * (1 + 1e-9)
    assert greedy.figure(objective) >= exact.figure(objective) * (1 - 2e-5)


def test_a_weighted_sum_is_between_uniform_and_exact(random_problem: MakeProblem) -> None:
    weights = ((Objective.LATENCY, 1.0, 10.0), (Objective.DROP, 1.0, 0.01))
    for seed in range(20):
        problem = replace(random_problem(seed, 7), weights=weights)
        found = [best(problem, s) for s in (Exact(), Greedy(), Uniform())]
        values = [problem.value(each) for each in found if each]
        assert len(values) == 3
        assert values[0] * (1 - 2e-5) <= values[1] <= values[2] * (1 + 1e-9)


def test_is_near_the_optimum(random_problem: MakeProblem) -> None:
    gaps = []
    for seed in range(12):
        problem = replace(random_problem(seed, 20), limits=Limits(drop=0.05))
        greedy, exact = best(problem, Greedy()), best(problem, Exact())
        assert greedy
        assert exact
        gaps.append(greedy.predicted_us / exact.predicted_us - 1)
    assert np.mean(gaps) < 0.05


@pytest.mark.parametrize("room", [1.0, 1.1, 1.5])
def test_repairs_a_plan_that_is_too_large(random_problem: MakeProblem, room: float) -> None:
    problem = random_problem(1, 20)
    smallest = best(replace(problem, objective=Objective.SIZE), Exact())
    assert smallest
    found = best(problem.within(size=room * smallest.size), Greedy())
    assert found
    assert found.size <= room * smallest.size


def test_proposes_nothing_that_breaks_a_limit(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(1, 8), limits=Limits(latency_us=0.5))
    assert not list(Greedy().propose(problem))
