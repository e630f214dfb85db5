"""Ledgers: every true evaluation once, never more than the budget."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from hwc.toolchain.plan import Plan
from hwc.toolchain.search.goal import Goal, Trial
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Limits, Objective, Problem

MakeProblem = Callable[..., Problem]


@pytest.fixture
def problem(random_problem: MakeProblem) -> Problem:
    return random_problem(1, 4)


class Judge:
    """Counts what it is asked; the loss is the number of kernels that are not fp32."""

    def __init__(self) -> None:
        self.calls: list[list[Plan]] = []

    def __call__(self, plans: Sequence[Plan]) -> list[float]:
        """Score plans."""
        self.calls.append(list(plans))
        return [4.0 - plan.counts().get("fp32", 0) for plan in plans]


FP32 = [0, 0, 0, 0]
ONE, TWO = [1, 0, 0, 0], [1, 1, 0, 0]


def test_a_plan_is_measured_once(problem: Problem) -> None:
    judge = Judge()
    ledger = Ledger(problem, judge, 10)
    assert list(ledger.score(np.array([ONE, FP32, ONE]), "a")) == [1.0, 0.0, 1.0]
    assert list(ledger.score(np.array([TWO, ONE]), "b")) == [2.0, 1.0]
    assert [len(plans) for plans in judge.calls] == [2, 1]
    assert list(ledger.score(np.array([FP32]), "c")) == [0.0]
    assert len(judge.calls) == 2
    assert [(t.number, t.indices, t.loss, t.strategy) for t in ledger.trials] == [
        (0, tuple(ONE), 1.0, "a"),
        (1, tuple(FP32), 0.0, "a"),
        (2, tuple(TWO), 2.0, "b"),
    ]
    assert ledger.left == 7
    assert ledger.loss(TWO) == 2.0
    assert ledger.loss([1, 1, 1, 0]) is None


def test_trials_have_the_problems_figures(problem: Problem) -> None:
    ledger = Ledger(problem, Judge(), 1)
    ledger.score(np.array([ONE]), "a")
    proposal = problem.proposal(ONE, "a")
    assert ledger.trials[0].us == proposal.predicted_us
    assert ledger.trials[0].size == proposal.size


def test_the_budget_is_never_exceeded(problem: Problem) -> None:
    judge = Judge()
    ledger = Ledger(problem, judge, 2)
    assert list(ledger.score(np.array([ONE, FP32, TWO, FP32]), "a")) == [1.0, 0.0, inf, 0.0]
    assert list(ledger.score(np.array([TWO]), "a")) == [inf]
    assert ledger.left == 0
    assert sum(map(len, judge.calls)) == 2


def test_unknown_plans_each_once_in_order(problem: Problem) -> None:
    ledger = Ledger(problem, Judge(), 5)
    ledger.score(np.array([ONE]), "a")
    assert ledger.unknown(np.array([TWO, ONE, FP32, TWO])).tolist() == [TWO, FP32]
    assert ledger.unknown(np.array([ONE])).shape == (0, 4)


@pytest.mark.parametrize("loss", [nan, inf, -inf])
def test_what_is_no_loss_is_infinite(problem: Problem, loss: float) -> None:
    ledger = Ledger(problem, lambda plans: [loss] * len(plans), 5)
    assert list(ledger.score(np.array([ONE]), "a")) == [inf]
    assert ledger.best
    assert ledger.best.loss == inf


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_judge_must_answer_for_each_plan(problem: Problem, count: int) -> None:
    ledger = Ledger(problem, lambda _: [0.0] * count, 5)
    with pytest.raises(ValueError, match="zip"):
        ledger.score(np.array([ONE, TWO]), "a")


def test_what_was_measured_before_an_interruption_is_kept(problem: Problem) -> None:
    told: list[Trial] = []

    def judge(plans: Sequence[Plan]) -> Iterator[float]:
        assert len(plans) == 3
        yield 0.5
        assert len(told) == 1, "a trial is told of as soon as it is measured"
        yield 0.25
        raise KeyboardInterrupt

    ledger = Ledger(problem, judge, 5, told=told.append)
    with pytest.raises(KeyboardInterrupt):
        ledger.score(np.array([ONE, TWO, FP32]), "a")
    assert [trial.loss for trial in ledger.trials] == [0.5, 0.25]
    assert told == ledger.trials
    assert ledger.best == told[1]


def test_the_goal_says_what_is_best(problem: Problem) -> None:
    rows = np.array([FP32, ONE, TWO])
    assert Ledger(problem, Judge(), 5).best is None
    ledger = Ledger(problem, Judge(), 5, goal=Goal(Limits(drop=1.0), Objective.LATENCY))
    ledger.score(rows, "a")
    within = [t for t in ledger.trials if t.loss <= 1.0]
    assert ledger.best == min(within, key=lambda t: t.us)
    assert ledger.ranked()[-1].indices == tuple(TWO)


def test_the_least_loss_is_the_goal_by_default(problem: Problem) -> None:
    limited = replace(problem, limits=Limits(latency_us=5.0))
    assert Ledger(limited, Judge(), 1).goal == Goal(Limits(latency_us=5.0), Objective.DROP)
