"""What every explorer promises: the same seed, the budget, and the limits."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.errors import ConstraintError
from hwc.toolchain.plan import Plan
from hwc.toolchain.search.evolution import Evolution
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.explorer import Explorer
from hwc.toolchain.search.goal import Goal, Trial
from hwc.toolchain.search.greedy import Greedy
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.local import Local
from hwc.toolchain.search.problem import Limits, Objective, Problem
from hwc.toolchain.search.proposals import Proposals
from hwc.toolchain.search.random_search import Random
from hwc.toolchain.search.uniform import Uniform

MakeProblem = Callable[..., Problem]
MakeCoupled = Callable[..., Any]

PROPOSING = [Proposals(Exact()), Proposals(Greedy()), Proposals(Uniform())]
SPENDING = [Random(), Evolution(), Local()]
ALL = pytest.mark.parametrize("explorer", [*PROPOSING, *SPENDING], ids=lambda e: e.name)
SPENDERS = pytest.mark.parametrize("explorer", SPENDING, ids=lambda e: e.name)


def run(explorer: Explorer, ledger: Ledger, seed: int = 1) -> list[Trial]:
    """The trials of an explorer."""
    explorer.explore(ledger, np.random.default_rng(seed))
    return ledger.trials


@ALL
def test_the_same_seed_makes_the_same_trials(coupled: MakeCoupled, explorer: Explorer) -> None:
    subject = coupled(3, 9)
    assert run(explorer, subject.ledger(40)) == run(explorer, subject.ledger(40))


@SPENDERS
def test_another_seed_makes_other_trials(coupled: MakeCoupled, explorer: Explorer) -> None:
    subject = coupled(3, 9)
    subject = replace(subject, problem=replace(subject.problem, sensitivity=None))
    one, other = (run(explorer, subject.ledger(60), seed) for seed in (1, 2))
    assert one != other


GOALS = {
    "least loss": Goal(),
    "least latency": Goal(Limits(drop=0.02), Objective.LATENCY),
    "least size": Goal(Limits(drop=0.02), Objective.SIZE),
    "weighted": Goal(weights=((Objective.DROP, 1.0, 0.01), (Objective.LATENCY, 1.0, 10.0))),
}


@ALL
@pytest.mark.parametrize("budget", [2, 30])
@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
@pytest.mark.parametrize("sensitivity", ["measured", "unknown"])
def test_budget_and_limits_are_kept(
    coupled: MakeCoupled, *, explorer: Explorer, budget: int, goal: Goal, sensitivity: str
) -> None:
    subject = coupled(3, 9, 0.5)
    problem = subject.problem
    sizes = problem.figures(subject.feasible())[Objective.SIZE]
    problem = problem.within(size=0.9 * float(sizes.max()))
    if sensitivity == "unknown":
        problem = replace(problem, sensitivity=None)
    asked = 0

    def judge(plans: Sequence[Plan]) -> list[float]:
        nonlocal asked
        asked += len(plans)
        return list(subject.judge(plans))

    trials = run(explorer, Ledger(problem, judge, budget, goal=goal))
    assert len(trials) == asked <= budget
    assert len({trial.indices for trial in trials}) == len(trials)
    assert {trial.strategy for trial in trials} <= {explorer.name}
    assert all(problem.meets(problem.proposal(trial.indices, "test")) for trial in trials)


@ALL
def test_no_budget(coupled: MakeCoupled, explorer: Explorer) -> None:
    assert run(explorer, coupled(3, 9).ledger(0)) == []


@SPENDERS
def test_the_whole_budget_is_spent(coupled: MakeCoupled, explorer: Explorer) -> None:
    assert len(run(explorer, coupled(3, 9).ledger(77))) == 77


@SPENDERS
def test_stops_where_nothing_is_left_to_try(coupled: MakeCoupled, explorer: Explorer) -> None:
    subject = coupled(4)
    feasible = subject.feasible()
    assert len(feasible) < 20
    trials = run(explorer, subject.ledger(1000))
    assert {trial.indices for trial in trials} == {tuple(plan) for plan in feasible}


@ALL
def test_no_plan_within_the_limits_is_an_error(
    random_problem: MakeProblem, explorer: Explorer
) -> None:
    ledger = Ledger(random_problem(1, 6).within(latency_us=0.1), lambda p: [0.0] * len(p), 9)
    with pytest.raises(ConstraintError, match="the fastest takes"):
        run(explorer, ledger)
    assert not ledger.trials


@ALL
def test_plans_that_cannot_be_built_are_no_end(coupled: MakeCoupled, explorer: Explorer) -> None:
    subject = coupled(3, 9)

    def judge(plans: Sequence[Plan]) -> list[float]:
        return [inf if int(plan.digest, 16) % 2 else 0.5 for plan in plans]

    trials = run(explorer, Ledger(subject.problem, judge, 30))
    assert trials
    if not isinstance(explorer, Proposals):
        assert len(trials) == 30
        assert min(trial.loss for trial in trials) == 0.5


@ALL
def test_nothing_can_be_built(coupled: MakeCoupled, explorer: Explorer) -> None:
    ledger = Ledger(coupled(3, 9).problem, lambda plans: [inf] * len(plans), 30)
    assert run(explorer, ledger)


@ALL
def test_goes_on_where_another_search_left_off(coupled: MakeCoupled, explorer: Explorer) -> None:
    ledger = coupled(3, 9).ledger(60)
    before = list(run(Random(name="before"), Ledger(ledger.problem, lambda p: [0.0] * len(p), 9)))
    ledger.score(np.array([trial.indices for trial in before]), "before")
    run(explorer, ledger)
    assert ledger.left >= 0
    assert len({trial.indices for trial in ledger.trials}) == len(ledger.trials)
