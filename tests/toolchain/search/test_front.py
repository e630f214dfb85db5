"""The Pareto front: sorted, undominated, and as good as brute force where it has a point."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.front import best, front, pareto
from hwc.toolchain.search.greedy import Greedy
from hwc.toolchain.search.problem import Indices, Limits, Objective, Problem, Proposal

MakeProblem = Callable[..., Problem]
EveryPlan = Callable[[Problem], Indices]


def _proposal(us: float, drop: float) -> Proposal:
    return Proposal((int(us), int(drop * 1000)), us, drop, 0, "test")


def test_pareto_keeps_what_nothing_beats(random_problem: MakeProblem) -> None:
    problem = random_problem(1)
    given = [_proposal(*p) for p in [(5, 0), (1, 0.9), (3, 0.2), (3, 0.3), (4, 0.2), (1, 0.9)]]
    assert [(p.predicted_us, p.predicted_drop) for p in pareto(given, problem)] == [
        (1, 0.9),
        (3, 0.2),
        (5, 0),
    ]
    assert pareto([], problem) == ()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("objective", [Objective.LATENCY, Objective.SIZE, Objective.ENERGY])
def test_every_point_is_on_the_true_front(
    random_problem: MakeProblem, every_plan: EveryPlan, seed: int, objective: Objective
) -> None:
    problem = replace(random_problem(seed, 5), objective=objective)
    figures = problem.figures(every_plan(problem))
    points = front(problem, Exact())
    assert points[0].figure(objective) == pytest.approx(figures[objective].min())
    assert points[-1].predicted_drop == 0.0
    for point in points:
        better = (figures[Objective.DROP] <= point.figure(Objective.DROP) + 1e-12) & (
            figures[objective] < point.figure(objective) * (1 - 2e-5)
        )
        assert not better.any()
    drops = [point.figure(Objective.DROP) for point in points]
    assert drops == sorted(drops, reverse=True)
    assert len(set(points)) == len(points)


@pytest.mark.parametrize("strategy", [Exact(), Greedy()], ids=["exact", "greedy"])
def test_sweeps_past_the_problems_own_drop_and_keeps_its_other_limits(
    random_problem: MakeProblem, strategy: Exact | Greedy
) -> None:
    free = random_problem(3, 12)
    size = int(np.mean([p.size for p in front(free, Exact())]))
    points = front(replace(free, limits=Limits(drop=0.0, size=size)), strategy, points=8)
    assert 1 < len(points) <= 8 * 4
    assert max(p.figure(Objective.DROP) for p in points) > 0.0
    assert all(p.size <= size * 1.0001 for p in points)


def test_one_plan_where_sensitivity_is_unknown(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(3, 8), sensitivity=None)
    assert front(problem, Exact()) == (best(problem, Exact()),)


def test_one_plan_where_the_drop_is_the_objective(random_problem: MakeProblem) -> None:
    problem = random_problem(3, 8)
    fastest = best(problem, Exact())
    assert fastest
    limit = 1.05 * fastest.predicted_us
    limited = replace(problem, limits=Limits(latency_us=limit), objective=Objective.DROP)
    (safest,) = front(limited, Exact())
    assert safest.predicted_us <= limit * 1.0001
    assert safest.figure(Objective.DROP) <= fastest.figure(Objective.DROP)


def test_no_point_where_a_limit_cannot_be_met(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(3, 8), limits=Limits(size=1))
    assert front(problem, Exact()) == ()
