"""Plans within the limits: none breaks them, and the neighbours are those of brute force."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hwc.toolchain.errors import ConstraintError
from hwc.toolchain.search.feasible import Space, by_bits
from hwc.toolchain.search.goal import Goal
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import COSTS, Indices, Limits, Objective, Problem, allowed
from hypothesis import given, settings
from hypothesis import strategies as st

MakeProblem = Callable[..., Problem]
EveryPlan = Callable[[Problem], Indices]


def space_of(problem: Problem, goal: Goal | None = None) -> Space:
    """The space of a search that is not judged."""
    return Space.of(Ledger(problem, lambda _: [], 1, goal=goal))


def tight(problem: Problem, plans: Indices, room: float) -> Problem:
    """The problem with limits on latency, size and energy that some plan just meets."""
    figures = problem.figures(plans)
    order = np.argsort(figures[Objective.LATENCY])
    picked = order[int(room * (len(order) - 1))]
    limits = problem.limits
    for figure in COSTS:
        limits = limits.at(figure, float(figures[figure][picked]))
    return replace(problem, limits=limits)


def meets(problem: Problem, plans: Indices) -> bool:
    """Whether all plans are legal and within the limits, one by one."""
    unlimited = problem.within(drop=inf)
    return all(unlimited.meets(unlimited.proposal(plan, "test")) for plan in plans)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 6), room=st.floats(0.0, 1.0))
def test_random_plans_are_within_the_limits(
    random_problem: MakeProblem, every_plan: EveryPlan, *, seed: int, slots: int, room: float
) -> None:
    problem = random_problem(seed, slots)
    problem = tight(problem, every_plan(problem), room)
    space, rng = space_of(problem), np.random.default_rng(seed)
    for full in (True, False):
        plans = space.sample(rng, 9, full=full)
        assert plans.shape == (9, slots)
        assert meets(problem, plans)
    kicked = space.repaired(space.draw(rng, 9), plans, rng)
    assert meets(problem, kicked)


def test_full_plans_make_use_of_the_limit(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 40)
    fastest = problem.cost.price(space_of(problem).anchor[None])[0]
    plain = problem.cost.price(np.zeros((1, 40), np.intp))[0]
    limit = float(fastest + 0.3 * (plain - fastest))
    space = space_of(problem.within(latency_us=limit))
    used = [
        problem.cost.price(space.sample(np.random.default_rng(1), 50, full=full)).mean()
        for full in (True, False)
    ]
    assert used[0] > limit - 0.2 * (limit - fastest)
    assert used[1] < used[0]


def test_random_plans_reach_every_plan(random_problem: MakeProblem, every_plan: EveryPlan) -> None:
    problem = random_problem(8, 4)
    problem = tight(problem, every_plan(problem), 0.5)
    drawn = space_of(problem).sample(np.random.default_rng(1), 4000, full=False)
    feasible = [tuple(plan) for plan in every_plan(problem) if meets(problem, plan[None])]
    assert {tuple(plan) for plan in drawn} == set(feasible)


def test_a_plan_within_the_limits_is_left_alone(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 10)
    space, rng = space_of(problem), np.random.default_rng(1)
    plans = space.draw(rng, 20)
    assert (space.repaired(plans, space.anchor, rng) == plans).all()


@pytest.mark.parametrize("room", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_neighbours_are_those_of_brute_force(
    random_problem: MakeProblem, every_plan: EveryPlan, *, seed: int, room: float
) -> None:
    problem = random_problem(seed, 5)
    plans = every_plan(problem)
    problem = replace(tight(problem, plans, room), objective=Objective.DROP)
    space = space_of(problem)
    plan = space.sample(np.random.default_rng(seed), 1)[0]
    found = space.neighbours(plan, problem.drops, Goal(), count=10**6)
    changed = (plans != plan).sum(axis=1)
    near = plans[(changed > 0) & (changed <= 2) & space.holds(plans)]
    assert sorted(map(tuple, found)) == sorted(map(tuple, near))
    drops = problem.figures(found)[Objective.DROP]
    assert (np.diff(drops) >= -1e-12).all(), "the most promising first"
    few = space.neighbours(plan, problem.drops, Goal(), count=3)
    assert (few == found[:3]).all()


def test_neighbours_in_the_order_of_another_goal(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 12)
    space = space_of(problem)
    goal = Goal(Limits(drop=0.02), Objective.SIZE)
    found = space.neighbours(np.zeros(12, np.intp), problem.drops, goal, count=50)
    figures = problem.figures(found)
    assert (figures[Objective.DROP] <= allowed(0.02)).all()
    assert (np.diff(figures[Objective.SIZE]) >= 0).all()


def test_the_goals_limits_count_too(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 8)
    limits = Limits(drop=0.01, latency_us=problem.cost.price(np.zeros((1, 8), np.intp))[0] * 0.9)
    space = space_of(problem, Goal(limits, Objective.SIZE))
    assert space.problem.limits == replace(limits, drop=inf)


@pytest.mark.parametrize(
    "limits", [{"latency_us": 0.1}, {"size": 1.0}, {"energy_uj": 0.1}], ids=str
)
def test_no_plan_within_the_limits(random_problem: MakeProblem, limits: dict[str, float]) -> None:
    with pytest.raises(ConstraintError, match=r"no plan .* the fastest takes"):
        space_of(random_problem(1, 8).within(**limits))


def test_choices_that_a_backend_refused_are_never_drawn(random_problem: MakeProblem) -> None:
    problem = random_problem(3, 20)
    assert problem.sensitivity is not None
    refused = problem.sensitivity.copy()
    refused[:, 1] = inf
    space = space_of(replace(problem, sensitivity=refused))
    assert not (space.sample(np.random.default_rng(1), 50, full=False) == 1).any()
    found = space.neighbours(np.zeros(20, np.intp), problem.drops, Goal(), count=10**6)
    assert len(found)
    assert not (found == 1).any()


def test_sensitivities_are_guessed_from_bits(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(3, 6), sensitivity=None)
    table = by_bits(problem)
    for slot, row in zip(problem.graph.slots, table, strict=True):
        bits = {
            choice.precision.weight_bits + choice.precision.activation_bits: loss
            for choice, loss in zip(slot.choices, row, strict=False)
        }
        assert np.isnan(row[len(slot.choices) :]).all()
        assert min(bits.values()) == bits[64]
    assert (np.isfinite(table) == np.isfinite(problem.cost.node_us)).all()
    assert space_of(problem).problem.sensitivity is not None
