"""The cheapest completion against brute force and the exact solver."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.problem import Indices, Objective, Problem
from hwc.toolchain.search.rl.bounds import Bounds
from hypothesis import given, settings
from hypothesis import strategies as st

MakeProblem = Callable[..., Problem]
EveryPlan = Callable[[Problem], Indices]
LATENCY, SIZE, DROP = Objective.LATENCY, Objective.SIZE, Objective.DROP
ENERGY = Objective.ENERGY


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 6))
def test_what_is_left_to_pay_is_the_cheapest_completion_of_every_prefix(
    random_problem: MakeProblem, every_plan: EveryPlan, *, seed: int, slots: int
) -> None:
    problem = random_problem(seed, slots)
    bounds, plans = Bounds.of(problem), every_plan(problem)
    prices = problem.cost.price(plans)
    state = np.zeros(len(plans), np.intp)
    spent = np.full(len(plans), bounds.fixed[0])
    for slot, chosen in enumerate(plans.T):
        prefixes, which = np.unique(plans[:, :slot], axis=0, return_inverse=True)
        cheapest = np.full(len(prefixes), np.inf)
        np.minimum.at(cheapest, which.reshape(-1), prices)
        found = spent + bounds.togo[state, 0, 0]
        np.testing.assert_allclose(found, cheapest[which.reshape(-1)], rtol=1e-9)
        formats = problem.cost.wiring.formats[slot, chosen]
        spent += bounds.price[slot, chosen, 0] + bounds.frontier.boundary_us[state, formats]
        state = bounds.frontier.after[state, formats]


@pytest.mark.parametrize("seed", range(4))
def test_the_cheapest_plan_is_the_exact_solvers(random_problem: MakeProblem, seed: int) -> None:
    problem = random_problem(seed, 14)
    (found,) = Exact().propose(problem)
    bounds = Bounds.of(problem)
    assert bounds.totals()[0, 0] == pytest.approx(found.predicted_us, rel=1e-6)
    assert problem.cost.price(bounds.plans()[:1])[0] == pytest.approx(bounds.totals()[0, 0])


@pytest.mark.parametrize(
    ("limited", "objective"),
    [
        ((LATENCY,), DROP),
        ((SIZE,), DROP),
        ((ENERGY,), DROP),
        ((DROP,), LATENCY),
        ((DROP,), ENERGY),
        ((LATENCY, SIZE), DROP),
        ((LATENCY, ENERGY), DROP),
    ],
    ids=str,
)
def test_each_way_takes_what_it_says_and_is_best_within_that(
    random_problem: MakeProblem,
    every_plan: EveryPlan,
    limited: tuple[Objective, ...],
    objective: Objective,
) -> None:
    for seed in range(8):
        problem = random_problem(seed, 6)
        bounds = Bounds.of(problem, limited, objective=objective)
        got = problem.figures(bounds.plans())
        names = (*limited, objective)
        np.testing.assert_allclose(
            np.stack([got[name] for name in names], axis=1), bounds.totals(), atol=1e-12
        )
        every = problem.figures(every_plan(problem))
        fits = np.array(
            [[(every[f] <= total * (1 + 1e-9)) for f, total in zip(limited, row, strict=False)]
             for row in bounds.totals()]
        ).all(axis=1)  # fmt: skip
        best = np.where(fits, every[objective], np.inf).min(axis=1)
        np.testing.assert_allclose(best[bounds.frugal :], bounds.totals()[bounds.frugal :, -1])


def test_every_corner_of_the_front_is_found(
    random_problem: MakeProblem, every_plan: EveryPlan
) -> None:
    for seed in range(8):
        problem = random_problem(seed, 7)
        figures = problem.figures(every_plan(problem))
        points = np.unique(np.stack([figures[LATENCY], figures[DROP]], axis=1), axis=0)
        corners: list[np.ndarray] = []
        for point in points[points[:, 1] < np.minimum.accumulate([np.inf, *points[:-1, 1]])]:
            while len(corners) > 1 and _above(corners[-2], corners[-1], point):
                corners.pop()
            corners.append(point)
        found = Bounds.of(problem).totals()
        for corner in corners:
            assert np.isclose(found, corner, rtol=1e-9, atol=1e-12).all(axis=1).any()


def _above(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> bool:
    """Whether a point is on or above the line between two others."""
    (x, y), (u, v) = middle - before, after - before
    return bool(y * u >= v * x)


@pytest.mark.parametrize("most", [1, 3, 8])
def test_settled_bounds_still_finish_the_reference_at_its_price(
    random_problem: MakeProblem, most: int
) -> None:
    for seed in range(10):
        problem = random_problem(seed, 8)
        (best,) = Exact().propose(problem)
        given_plan = Bounds.of(problem, reference=np.array(best.indices), most=most)
        assert given_plan.totals()[0, 0] == pytest.approx(best.predicted_us, rel=1e-6)
        found = Bounds.of(problem, most=most)
        fp32 = problem.cost.price(np.zeros((1, 8), np.intp))[0]
        assert best.predicted_us * (1 - 1e-6) <= found.totals()[0, 0] <= fp32 * (1 + 1e-9)


def test_without_sensitivities_the_limits_alone_count(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(1, 6), sensitivity=None)
    bounds = Bounds.of(problem)
    assert np.isfinite(bounds.togo).all()
    assert bounds.worst() == 1.0
    np.testing.assert_allclose(bounds.totals()[:, 0], bounds.totals()[0, 0])
