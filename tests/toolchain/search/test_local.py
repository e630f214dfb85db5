"""Local search: the best plan in few evaluations, with and without sensitivities."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.search.evolution import Evolution
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.goal import Goal
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.local import Local
from hwc.toolchain.search.problem import Limits, Objective, allowed

MakeCoupled = Callable[..., Any]


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_finds_the_best_of_all_plans_in_few_evaluations(coupled: MakeCoupled, seed: int) -> None:
    subject = coupled(seed)
    ledger = subject.ledger(40)
    Local().explore(ledger, np.random.default_rng(1))
    assert ledger.best
    assert ledger.best.loss == pytest.approx(subject.least())


@pytest.mark.parametrize("seed", [1, 3])
def test_finds_it_without_sensitivities(coupled: MakeCoupled, seed: int) -> None:
    subject = coupled(seed)
    problem = replace(subject.problem, sensitivity=None)
    ledger = Ledger(problem, subject.judge, 100)
    Local().explore(ledger, np.random.default_rng(1))
    assert ledger.best
    assert ledger.best.loss == pytest.approx(subject.least(), rel=0.1)


def test_needs_fewer_evaluations_than_evolution(coupled: MakeCoupled) -> None:
    ratios = []
    for seed in range(20, 36):
        subject, best = coupled(seed), []
        for explorer in (Local(), Evolution()):
            ledger = subject.ledger(30)
            explorer.explore(ledger, np.random.default_rng(2))
            assert ledger.best
            best.append(ledger.best.loss + 1e-6)
        ratios.append(best[0] / best[1])
    assert np.exp(np.mean(np.log(ratios))) < 0.98


def test_the_fastest_plan_within_a_true_loss(coupled: MakeCoupled) -> None:
    subject = coupled(1)
    free = replace(subject.problem, limits=Limits())
    plans = replace(subject, problem=free).feasible()
    limit = float(np.quantile(subject.losses(plans), 0.3))
    goal = Goal(Limits(drop=limit), Objective.LATENCY)
    ledger = Ledger(free, subject.judge, 80, goal=goal)
    Local().explore(ledger, np.random.default_rng(1))
    assert ledger.best
    assert ledger.best.loss <= allowed(limit)
    fastest = free.cost.price(plans[subject.losses(plans) <= limit]).min()
    assert ledger.best.us == pytest.approx(fastest, rel=0.01)


def test_never_loses_what_it_started_from(coupled: MakeCoupled) -> None:
    subject = coupled(3, 9)
    (exact,) = Exact().propose(subject.problem)
    ledger = subject.ledger(40)
    Local().explore(ledger, np.random.default_rng(1))
    assert ledger.trials[0].indices == exact.indices
    assert ledger.best
    assert ledger.best.loss <= ledger.trials[0].loss
