"""Problems as the openings of episodes."""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import pytest
from hwc.toolchain.search.problem import Indices, Limits, Objective, Problem
from hwc.toolchain.search.rl.opening import limited_figures, opening

RandomProblem = Callable[..., Problem]
LATENCY, SIZE, DROP = Objective.LATENCY, Objective.SIZE, Objective.DROP


@pytest.mark.parametrize(
    ("objective", "limits", "limited"),
    [
        (DROP, Limits(latency_us=30.0), (LATENCY,)),
        (DROP, Limits(size=2000), (SIZE,)),
        (DROP, Limits(latency_us=30.0, size=2000), (LATENCY, SIZE)),
        (LATENCY, Limits(drop=0.01), (DROP,)),
        (LATENCY, Limits(drop=0.01, latency_us=30.0), (DROP,)),
        (DROP, Limits(), (LATENCY,)),
        (LATENCY, Limits(), (SIZE,)),
        (SIZE, Limits(), (LATENCY,)),
    ],
    ids=str,
)
def test_what_is_limited_is_what_the_limits_say(
    random_problem: RandomProblem,
    objective: Objective,
    limits: Limits,
    limited: tuple[Objective, ...],
) -> None:
    problem = replace(random_problem(1), objective=objective, limits=limits)
    assert limited_figures(problem) == limited
    task, start = opening(problem)
    assert (task.bounds.limited, task.bounds.objective) == (limited, objective)
    for figure, limit in zip(limited, start.limits, strict=True):
        assert isfinite(limit)
        assert limit == problem.limit(figure) or not isfinite(problem.limit(figure))


@pytest.mark.parametrize("seed", range(5))
def test_a_limit_of_no_consequence_is_none(
    random_problem: RandomProblem, every_plan: Callable[[Problem], Indices], seed: int
) -> None:
    problem = replace(random_problem(seed), objective=DROP)
    _, start = opening(problem)
    assert start.limits[0] >= problem.cost.price(every_plan(problem)).max() * (1.0 - 1e-12)
