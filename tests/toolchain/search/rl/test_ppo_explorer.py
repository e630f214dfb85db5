"""The learned search, on problems whose losses do not add up."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.goal import Goal
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Limits, Objective
from hwc.toolchain.search.rl.episode import CONTEXT, OPTION
from hwc.toolchain.search.rl.policy import Policy
from hwc.toolchain.search.rl.ppo_explorer import Ppo, corrected
from hwc.toolchain.search.surrogate import Surrogate

Coupled = Callable[..., Any]


@pytest.fixture(scope="module")
def ppo() -> Ppo:
    """With a policy that knows nothing: what holds for it holds for any."""
    policy = Policy.drawn(CONTEXT, OPTION, hidden=(8,), rng=np.random.default_rng(0))
    return Ppo(policy, samples=16, shortlist=32)


def explored(ppo: Ppo, ledger: Ledger, seed: int = 0) -> Ledger:
    ppo.explore(ledger, np.random.default_rng(seed))
    return ledger


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_the_best_plan_or_nearly(coupled: Coupled, ppo: Ppo, seed: int) -> None:
    toy = coupled(seed)
    ledger = explored(ppo, toy.ledger(60))
    assert ledger.best is not None
    assert ledger.best.loss <= toy.least() * 1.1 + 1e-9


def test_the_first_trial_is_the_solvers_plan(coupled: Coupled, ppo: Ppo) -> None:
    toy = coupled(1)
    (proposal,) = Exact().propose(toy.problem)
    assert explored(ppo, toy.ledger(5)).trials[0].indices == proposal.indices


def test_the_same_seed_gives_the_same_trials(coupled: Coupled, ppo: Ppo) -> None:
    runs = [explored(ppo, coupled(2).ledger(30), seed).trials for seed in (7, 7, 8)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_every_plan_is_within_the_limit_and_none_beyond_the_budget(
    coupled: Coupled, ppo: Ppo
) -> None:
    toy = coupled(3)
    ledger = explored(ppo, toy.ledger(25))
    assert len(ledger.trials) == 25
    assert all(trial.us <= toy.problem.limits.latency_us * 1.0001 for trial in ledger.trials)


def test_it_ends_where_every_plan_was_tried(coupled: Coupled, ppo: Ppo) -> None:
    toy = coupled(0, 3)
    assert len(explored(ppo, toy.ledger(10_000)).trials) <= len(toy.feasible())


@pytest.mark.parametrize(
    "goal",
    [
        Goal(weights=((Objective.DROP, 1.0, 0.01), (Objective.LATENCY, 1.0, 10.0))),
        Goal(Limits(drop=0.02), Objective.LATENCY),
        Goal(Limits(drop=0.0), Objective.LATENCY),
        Goal(objective=Objective.LATENCY),
        Goal(objective=Objective.SIZE),
    ],
    ids=["weighted", "latency within a drop", "no drop at all", "latency alone", "size alone"],
)
def test_it_serves_every_goal(coupled: Coupled, ppo: Ppo, goal: Goal) -> None:
    toy = coupled(1)
    free = replace(toy.problem, limits=Limits())
    ledger = explored(ppo, Ledger(free, toy.judge, 24, goal=goal))
    assert ledger.best is not None
    fp32 = ledger.score(np.zeros((1, 7), np.intp), "fp32")
    assert fp32.shape == (1,)
    assert goal.excess(ledger.best) == 0.0


def test_it_does_without_sensitivities(coupled: Coupled, ppo: Ppo) -> None:
    toy = coupled(2)
    blind = replace(toy.problem, sensitivity=None)
    ledger = explored(ppo, Ledger(blind, toy.judge, 40))
    assert ledger.best is not None
    assert ledger.best.loss <= ledger.trials[0].loss


def test_blame_falls_on_the_choices_that_lost_more_than_foretold() -> None:
    table = np.tile([0.0, 1.0], (6, 1))
    rng = np.random.default_rng(0)
    plans = rng.integers(0, 2, (40, 6))
    truth = np.array([1.0, 1.0, 3.0, 1.0, 1.0, 0.2])
    model = Surrogate.fit(table, plans, plans @ truth)
    found = corrected(model)[:, 1]
    assert found[2] > 1.5 * np.median(found)
    assert found[5] < 0.7 * np.median(found)


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from hwc.toolchain.search.rl.ppo_explorer import Ppo; Ppo();"
        "print({'torch', 'gymnasium', 'stable_baselines3', 'sb3_contrib'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
