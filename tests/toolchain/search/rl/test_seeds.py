"""The strategies of the seeds: what all promise, and that they learn."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.errors import ConstraintError, UsageError
from hwc.toolchain.plan import Plan
from hwc.toolchain.search.explorer import Explorer
from hwc.toolchain.search.goal import Goal, Trial
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Limits, Objective, Problem
from hwc.toolchain.search.proposals import Proposals
from hwc.toolchain.search.random_search import Random
from hwc.toolchain.search.rl.ddpg import Ddpg
from hwc.toolchain.search.rl.extra import needs_rl
from hwc.toolchain.search.rl.hierarchical import Hierarchical
from hwc.toolchain.search.rl.joint import Joint
from hwc.toolchain.search.uniform import Uniform

MakeProblem = Callable[..., Problem]
MakeCoupled = Callable[..., Any]

QUICK = [Ddpg(batch=16, hidden=16), Hierarchical(members=2, updates=2, lanes=8), Joint(epochs=2)]
EACH = pytest.mark.parametrize("explorer", QUICK, ids=lambda e: e.name)


def run(explorer: Explorer, ledger: Ledger, seed: int = 1) -> list[Trial]:
    """The trials of an explorer."""
    explorer.explore(ledger, np.random.default_rng(seed))
    return ledger.trials


@EACH
def test_the_same_seed_makes_the_same_trials(coupled: MakeCoupled, explorer: Explorer) -> None:
    subject = coupled(3, 9)
    one, again, other = (run(explorer, subject.ledger(20), seed) for seed in (1, 1, 2))
    assert one == again != other


GOALS = {
    "least loss": Goal(),
    "least latency": Goal(Limits(drop=0.02), Objective.LATENCY),
    "weighted": Goal(weights=((Objective.DROP, 1.0, 0.01), (Objective.LATENCY, 1.0, 10.0))),
}


@EACH
@pytest.mark.parametrize("budget", [0, 1, 20])
@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
@pytest.mark.parametrize("sensitivity", ["measured", "unknown"])
def test_budget_and_limits_are_kept(
    coupled: MakeCoupled, *, explorer: Explorer, budget: int, goal: Goal, sensitivity: str
) -> None:
    subject = coupled(3, 9, 0.5)
    problem = subject.problem
    problem = problem.within(
        size=0.95 * float(problem.figures(subject.feasible())[Objective.SIZE].max())
    )
    if sensitivity == "unknown":
        problem = replace(problem, sensitivity=None)
    asked = 0

    def judge(plans: Sequence[Plan]) -> list[float]:
        nonlocal asked
        asked += len(plans)
        return list(subject.judge(plans))

    trials = run(explorer, Ledger(problem, judge, budget, goal=goal))
    assert len(trials) == asked == budget
    assert {trial.strategy for trial in trials} <= {explorer.name}
    assert all(problem.meets(problem.proposal(trial.indices, "test")) for trial in trials)


@EACH
def test_stops_where_nothing_is_left_to_try(coupled: MakeCoupled, explorer: Explorer) -> None:
    subject = coupled(4)
    feasible = subject.feasible()
    assert len(feasible) < 20
    trials = run(explorer, subject.ledger(1000))
    assert {trial.indices for trial in trials} == {tuple(plan) for plan in feasible}


@EACH
def test_no_plan_within_the_limits_is_an_error(
    random_problem: MakeProblem, explorer: Explorer
) -> None:
    ledger = Ledger(random_problem(1, 6).within(latency_us=0.1), lambda p: [0.0] * len(p), 9)
    with pytest.raises(ConstraintError, match="the fastest takes"):
        run(explorer, ledger)
    assert not ledger.trials


@EACH
@pytest.mark.parametrize("part", [0.0, 0.5], ids=["nothing can be built", "half can be built"])
def test_plans_that_cannot_be_built_are_no_end(
    coupled: MakeCoupled, explorer: Explorer, part: float
) -> None:
    def judge(plans: Sequence[Plan]) -> list[float]:
        return [0.5 if int(plan.digest, 16) % 100 < 100 * part else inf for plan in plans]

    assert len(run(explorer, Ledger(coupled(3, 9).problem, judge, 20))) == 20


@pytest.mark.parametrize(
    ("explorer", "library"),
    [
        (Ddpg(), "torch"),
        (Ddpg(), "stable_baselines3.td3.policies"),
        (Ddpg(), "gymnasium"),
        (Joint(), "torch"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_says_what_to_install(
    coupled: MakeCoupled, monkeypatch: pytest.MonkeyPatch, explorer: Explorer, library: str
) -> None:
    learner = f"hwc.toolchain.search.rl.{explorer.name}_learner"
    monkeypatch.delitem(sys.modules, learner, raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=r"pip install 'hwc-compiler\[rl\]'"):
        run(explorer, coupled(3, 9).ledger(5))


def test_other_missing_modules_are_faults_of_ours() -> None:
    with pytest.raises(ModuleNotFoundError, match="elsewhere"), needs_rl("ddpg"):
        raise ModuleNotFoundError("elsewhere", name="elsewhere")


LEARNING = [Ddpg(), Hierarchical(), Joint()]
LARGEST = (1, 3, 11)  # of the first twelve, the problems with more than 1000 plans


@pytest.mark.parametrize("explorer", LEARNING, ids=lambda e: e.name)
def test_finds_better_plans_than_uniform_precision_and_chance(
    coupled: MakeCoupled, explorer: Explorer
) -> None:
    subjects = [coupled(seed, 9) for seed in LARGEST]
    learnt, uniform = (
        [regret(strategy, subject) for subject in subjects]
        for strategy in (explorer, Proposals(Uniform()))
    )
    chance = [regret(Random(), subject, seed) for subject in subjects for seed in range(5)]
    assert all(own <= other for own, other in zip(learnt, uniform, strict=True))
    assert np.mean(learnt) < np.mean(chance)


def regret(explorer: Explorer, subject: Any, seed: int = 1) -> float:  # noqa: ANN401 - a class of conftest.py
    """Logarithm of the least loss of 80 trials over the least there is."""
    least = min(trial.loss for trial in run(explorer, subject.ledger(80), seed))
    return float(np.log(least / subject.least()))
