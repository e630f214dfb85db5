"""Random search: plans that make use of the limit, none twice."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hwc.toolchain.search.goal import Goal
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Limits, Objective
from hwc.toolchain.search.random_search import Random

MakeCoupled = Callable[..., Any]


def test_plans_lie_near_the_limit(coupled: MakeCoupled) -> None:
    subject = coupled(3, 9)
    ledger = subject.ledger(50)
    Random().explore(ledger, np.random.default_rng(1))
    problem = subject.problem
    limit = problem.limits.latency_us
    fastest = problem.cost.price(subject.feasible()).min()
    assert np.mean([trial.us for trial in ledger.trials]) > limit - 0.25 * (limit - fastest)


def test_latencies_differ_where_latency_is_sought(coupled: MakeCoupled) -> None:
    subject = coupled(3, 9)
    problem = replace(subject.problem, limits=Limits())
    ledger = Ledger(problem, subject.judge, 50, goal=Goal(Limits(drop=0.05), Objective.LATENCY))
    Random().explore(ledger, np.random.default_rng(1))
    times = [trial.us for trial in ledger.trials]
    plain = problem.cost.price(np.zeros((1, 9), np.intp))[0]
    fastest = problem.cost.price(subject.feasible()).min()
    assert max(times) - min(times) > 0.4 * (plain - fastest)
    assert ledger.best
    assert ledger.best.loss <= 0.05
