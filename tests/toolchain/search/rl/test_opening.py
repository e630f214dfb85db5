"""Problems as the openings of episodes."""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import pytest
from hwc.toolchain.search.problem import Indices, Limits, Objective, Problem
from hwc.toolchain.search.rl.opening import limited_figures, opening

RandomProblem = Callable[..., Problem]
LATENCY, SIZE, DROP = Objective.LATENCY, Objective.SIZE, Objective.DROP
ENERGY = Objective.ENERGY


@pytest.mark.parametrize(
    ("objective", "limits", "limited"),
    [
        (DROP, Limits(latency_us=30.0), (LATENCY,)),
        (DROP, Limits(size=2000), (SIZE,)),
        (DROP, Limits(latency_us=30.0, size=2000), (LATENCY, SIZE)),
        (DROP, Limits(energy_uj=500.0), (ENERGY,)),
        (DROP, Limits(latency_us=30.0, energy_uj=500.0), (LATENCY, ENERGY)),
        (ENERGY, Limits(drop=0.01), (DROP,)),
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


def test_a_weighted_sum_is_refused(random_problem: RandomProblem) -> None:
    problem = replace(random_problem(1), weights=((DROP, 1.0, 0.01), (LATENCY, 1.0, 10.0)))
    with pytest.raises(ValueError, match="not a weighted sum"):
        opening(problem)


@pytest.mark.parametrize("seed", range(5))
def test_a_limit_of_no_consequence_is_none(
    random_problem: RandomProblem, every_plan: Callable[[Problem], Indices], seed: int
) -> None:
    problem = replace(random_problem(seed), objective=DROP)
    _, start = opening(problem)
    assert start.limits[0] >= problem.cost.price(every_plan(problem)).max() * (1.0 - 1e-12)
