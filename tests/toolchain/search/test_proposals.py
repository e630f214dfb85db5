"""Strategies that propose, as explorers: their plans for the limits, and nothing more."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.feasible import Space
from hwc.toolchain.search.front import front
from hwc.toolchain.search.goal import Goal
from hwc.toolchain.search.greedy import Greedy
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Limits, Objective, Proposal, Strategy
from hwc.toolchain.search.proposals import Proposals, starts
from hwc.toolchain.search.uniform import Uniform

MakeCoupled = Callable[..., Any]
RNG = np.random.default_rng(0)


def _drop(proposal: Proposal) -> float:
    return proposal.figure(Objective.DROP)


@pytest.mark.parametrize("strategy", [Exact(), Greedy(), Uniform()], ids=lambda s: s.name)
def test_scores_what_is_proposed_for_the_limits(coupled: MakeCoupled, strategy: Strategy) -> None:
    subject = coupled(3, 9)
    ledger = subject.ledger(40)
    Proposals(strategy).explore(ledger, RNG)
    proposals = list(strategy.propose(subject.problem))
    assert {t.indices for t in ledger.trials} == {p.indices for p in proposals}
    assert ledger.trials[0].indices == min(proposals, key=_drop).indices


def test_exact_spends_one_evaluation(coupled: MakeCoupled) -> None:
    ledger = coupled(3, 9).ledger(40)
    Proposals(Exact()).explore(ledger, RNG)
    assert len(ledger.trials) == 1


def test_a_front_where_loss_is_traded_for_latency(coupled: MakeCoupled) -> None:
    subject = coupled(3, 9)
    free = replace(subject.problem, limits=Limits(), objective=Objective.LATENCY)
    ledger = Ledger(free, subject.judge, 40, goal=Goal(Limits(drop=0.02), Objective.LATENCY))
    Proposals(Exact()).explore(ledger, RNG)
    assert [t.indices for t in ledger.trials] == [p.indices for p in front(free, Exact())]


def test_starts_with_the_solvers_plan_and_end_with_the_fastest(coupled: MakeCoupled) -> None:
    subject = coupled(3, 9)
    space = Space.of(subject.ledger(1))
    plans = starts(space, Goal())
    (exact,) = Exact().propose(subject.problem)
    assert tuple(plans[0]) == exact.indices
    times = subject.problem.cost.price(subject.feasible())
    assert subject.problem.cost.price(plans[-1:])[0] == pytest.approx(times.min())
    assert space.holds(plans).all()
