"""Plans from a policy."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.errors import ConstraintError
from hwc.toolchain.search.problem import Indices, Objective, Problem, allowed
from hwc.toolchain.search.rl.decode import Decoder, Pretrained
from hwc.toolchain.search.rl.episode import CONTEXT, OPTION
from hwc.toolchain.search.rl.generator import draw_limits, within_share
from hwc.toolchain.search.rl.policy import Policy
from hwc.toolchain.search.typical import typical

RandomProblem = Callable[..., Problem]


@pytest.fixture(scope="module")
def policy() -> Policy:
    """One that knows nothing: what holds for it holds for any."""
    return Policy.drawn(CONTEXT, OPTION, hidden=(8,), rng=np.random.default_rng(3))


def limited(random_problem: RandomProblem, seed: int) -> Problem:
    problem = replace(random_problem(seed), objective=Objective.DROP)
    return draw_limits(problem, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(12))
def test_every_plan_is_legal_and_within_the_limits(
    random_problem: RandomProblem, policy: Policy, seed: int
) -> None:
    problem = limited(random_problem, seed)
    plans = Decoder.of(policy, problem).sample(32, np.random.default_rng(0))
    assert plans.shape == (32, len(problem.graph.slots))
    assert problem.legal[np.arange(plans.shape[1]), plans].all()
    figures = problem.figures(plans)
    for figure in Objective:
        assert (figures[figure] <= allowed(problem.limit(figure)) * (1 + 1e-9)).all()


def test_the_same_seed_gives_the_same_plans(random_problem: RandomProblem, policy: Policy) -> None:
    decoder = Decoder.of(policy, limited(random_problem, 3))
    one, two, three = (decoder.sample(16, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)
    assert np.array_equal(one[:2], three[:2])  # these are not random


def test_one_plan_is_chosen_by_what_is_predicted(
    random_problem: RandomProblem, policy: Policy
) -> None:
    problem = limited(random_problem, 4)
    decoder = Decoder.of(policy, problem)
    plans = decoder.sample(64, np.random.default_rng(0))
    least = problem.figures(plans)[problem.objective].min()
    chosen = decoder.plan(np.random.default_rng(0))
    assert problem.figures(chosen[None])[problem.objective][0] == least


def test_without_sensitivities_the_typical_ones_stand_for_them(
    random_problem: RandomProblem, policy: Policy
) -> None:
    known = within_share(replace(random_problem(5), objective=Objective.DROP), 0.5)
    one, two = (
        Decoder.of(policy, replace(known, sensitivity=table)).plan(np.random.default_rng(0))
        for table in (None, typical(known.graph))
    )
    assert np.array_equal(one, two)


def test_what_no_plan_meets_is_an_error_and_no_proposal(
    random_problem: RandomProblem, policy: Policy
) -> None:
    problem = replace(random_problem(1), objective=Objective.DROP).within(latency_us=0.01)
    with pytest.raises(ConstraintError, match="no plan has a latency"):
        Decoder.of(policy, problem).plan(np.random.default_rng(0))
    assert not list(Pretrained(policy).propose(problem))


@pytest.mark.parametrize("objective", list(Objective))
def test_the_strategy_serves_problems_without_limits(
    random_problem: RandomProblem,
    every_plan: Callable[[Problem], Indices],
    policy: Policy,
    objective: Objective,
) -> None:
    problem = replace(random_problem(2), objective=objective)
    (proposal,) = Pretrained(policy).propose(problem)
    least = problem.figures(every_plan(problem))[objective].min()
    assert proposal.figure(objective) <= least * 1.05 + 1e-9
    assert proposal.strategy == "policy"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("other", [Objective.SIZE, Objective.DROP])
def test_a_weighted_sum_gets_a_plan_nearly_as_good_as_the_best(
    random_problem: RandomProblem,
    every_plan: Callable[[Problem], Indices],
    policy: Policy,
    seed: int,
    other: Objective,
) -> None:
    known = random_problem(seed)
    figures = known.figures(every_plan(known))
    units = {figure: float(np.ptp(figures[figure])) for figure in (Objective.LATENCY, other)}
    weights = tuple((figure, 1.0, unit) for figure, unit in units.items())
    problem = replace(known, weights=weights)
    (proposal,) = Pretrained(policy).propose(problem)
    values = np.sum([figures[figure] / unit for figure, unit in units.items()], axis=0)
    assert proposal.strategy == "policy"
    assert problem.value(proposal) <= values.min() + 0.1 * np.ptp(values)


def test_a_weighted_sum_that_no_plan_can_have_within_the_limits_gets_none(
    random_problem: RandomProblem, policy: Policy
) -> None:
    weights = ((Objective.LATENCY, 1.0, 1.0), (Objective.SIZE, 1.0, 1.0))
    problem = replace(random_problem(1), weights=weights).within(latency_us=0.01)
    assert not list(Pretrained(policy).propose(problem))
