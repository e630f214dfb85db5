"""The exact strategy against brute force."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.problem import Indices, Limits, Objective, Problem
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work
from hypothesis import given, settings
from hypothesis import strategies as st

MakeProblem = Callable[..., Problem]
EveryPlan = Callable[[Problem], Indices]
QUANTILES = st.none() | st.floats(0.0, 1.0)


def _limit(figures: np.ndarray, quantile: float | None) -> float:
    """A limit that some plans meet: one of the figures there are."""
    if quantile is None:
        return inf
    return float(np.sort(figures)[int(quantile * (len(figures) - 1))])


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    slots=st.integers(1, 6),
    objective=st.sampled_from(Objective),
    quantiles=st.tuples(*[QUANTILES] * len(Objective)),
)
def test_finds_the_best_plan_or_none(  # noqa: PLR0913 - two fixtures and four drawn values
    random_problem: MakeProblem,
    every_plan: EveryPlan,
    *,
    seed: int,
    slots: int,
    objective: Objective,
    quantiles: tuple[float | None, ...],
) -> None:
    problem = random_problem(seed, slots)
    figures = problem.figures(every_plan(problem))
    limits = Limits()
    for figure, quantile in zip(Objective, quantiles, strict=True):
        limits = limits.at(figure, _limit(figures[figure], quantile))
    problem = replace(problem, limits=limits, objective=objective)
    meets = np.isfinite(figures[Objective.LATENCY])
    for figure in Objective:
        meets &= figures[figure] <= problem.limit(figure) * (1 + 1e-12)
    found = list(Exact().propose(problem))
    assert len(found) == int(meets.any())
    if found:
        best = figures[objective][meets].min()
        assert found[0].figure(objective) == pytest.approx(best, rel=2e-5, abs=1e-9)
        assert found[0].optimal


WEIGHT = st.floats(0.0, 10.0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    weights=st.tuples(*[WEIGHT] * len(Objective)).filter(any),
    quantile=st.floats(0.0, 1.0),
)
def test_finds_the_least_weighted_sum(
    random_problem: MakeProblem,
    every_plan: EveryPlan,
    *,
    seed: int,
    weights: tuple[float, ...],
    quantile: float,
) -> None:
    problem = random_problem(seed, 5)
    figures = problem.figures(every_plan(problem))
    units = [float(np.median(figures[figure])) or 1.0 for figure in Objective]
    problem = replace(
        problem,
        weights=tuple(zip(Objective, weights, units, strict=True)),
        limits=Limits(drop=_limit(figures[Objective.DROP], quantile)),
    )
    values = np.sum([w * figures[figure] for figure, w in problem.terms.items()], axis=0)
    meets = figures[Objective.DROP] <= problem.limits.drop * (1 + 1e-12)
    (found,) = Exact().propose(problem)
    assert found.optimal
    assert problem.value(found) == pytest.approx(values[meets].min(), rel=2e-5, abs=1e-9)


def test_predictions_are_the_cost_models(random_problem: MakeProblem) -> None:
    problem = random_problem(3, 6)
    (found,) = Exact().propose(problem)
    plan = np.array([found.indices])
    assert found.predicted_us == problem.cost.price(plan)[0]
    assert found.predicted_drop == problem.drops[np.arange(6), plan[0]].sum()
    assert found.size == problem.sizes[np.arange(6), plan[0]].sum() + problem.fixed_size
    assert problem.energy is not None
    assert found.predicted_uj == problem.energy[np.arange(6), plan[0]].sum()
    assert found.strategy == "exact"


def test_a_drop_limit_of_zero_is_kept_exactly(random_problem: MakeProblem) -> None:
    problem = random_problem(4, 6)
    tiny = problem.drops * 1e-9  # far below any solver's tolerance
    for sensitivity in (problem.drops, tiny):
        strict = replace(problem, sensitivity=sensitivity, limits=Limits(drop=0.0))
        (found,) = Exact().propose(strict)
        assert found.predicted_drop == 0.0


def test_slots_that_pay_only_together() -> None:
    """Each of three slots is faster in int8, but not by enough to pay for its own borders."""
    choices = (NodeChoice(), NodeChoice(Precision.INT8))
    work = Work(1, 1, 1, 1)
    slots = tuple(Slot(n, "Conv", ((n,),), (), (), (), n, "conv", work, choices) for n in "abc")
    edges = (
        Edge("x", -1, (0,), 9),
        Edge("t0", 0, (1,), 9),
        Edge("t1", 1, (2,), 9),
        Edge("y", 2, (), 9, is_output=True),
    )
    node_us, boundary_us = np.array([[10.0, 8.0]] * 3), np.full((4, 4, 4), 2.5)
    sources = np.full((3, 2), Origin.MEASURED), np.full((4, 4, 4), Origin.MEASURED)
    cost = CostModel(SlotGraph(slots, edges), node_us, boundary_us, *sources)
    problem = Problem(cost, np.ones((3, 2), np.int64))
    assert cost.price(np.eye(3, dtype=np.intp)).min() > 30.0
    (found,) = Exact().propose(problem)
    assert found.indices == (1, 1, 1)
    assert found.predicted_us == pytest.approx(3 * 8.0 + 2 * 2.5)


def test_no_slots() -> None:
    empty = np.zeros((0, 1))
    cost = CostModel(
        SlotGraph((), ()), empty, np.zeros((0, 4, 4)), empty.astype(str), np.zeros((0, 4, 4), str)
    )
    (found,) = Exact().propose(Problem(cost, empty.astype(np.int64)))
    assert found.indices == ()


def test_out_of_time_proposes_nothing_unproven_as_optimal(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(5, 60), limits=Limits(drop=0.05))
    assert not any(found.optimal for found in Exact(seconds=0.0).propose(problem))
