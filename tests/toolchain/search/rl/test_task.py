"""Problems made ready for episodes, and budgets at random."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.problem import Objective, Problem
from hwc.toolchain.search.rl.task import EPSILON, RandomBudgets, Task, fp32_figures

MakeProblem = Callable[..., Problem]


def test_losses_are_the_objective_unless_given(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 6)
    plans = np.zeros((2, 6), np.intp)
    plans[1] = [len(slot.choices) - 1 for slot in problem.graph.slots]
    drops = problem.figures(plans)
    np.testing.assert_array_equal(Task.of(problem).losses(plans), drops[Objective.DROP])
    fastest = Task.of(problem, limited=(Objective.SIZE,), objective=Objective.LATENCY)
    np.testing.assert_array_equal(fastest.losses(plans), drops[Objective.LATENCY])
    given = Task.of(problem, lambda rows: np.full(len(rows), 7.0))
    assert given.losses(plans).tolist() == [7.0, 7.0]


def test_epsilon_is_a_share_of_the_worst(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 6)
    worst = np.where(problem.legal, problem.drops, 0.0).max(axis=1).sum()
    assert Task.of(problem).epsilon == pytest.approx(EPSILON * worst)
    assert Task.of(replace(problem, sensitivity=None)).epsilon == EPSILON


def test_budgets_lie_between_the_cheapest_plan_and_fp32(random_problem: MakeProblem) -> None:
    tasks = [Task.of(random_problem(seed, 8)) for seed in range(4)]
    sampler, rng = RandomBudgets(tasks, tightest=0.1, loosest=0.9), np.random.default_rng(0)
    starts = [sampler.draw(rng) for _ in range(400)]
    assert {start.task for start in starts} == {0, 1, 2, 3}
    for which, task in enumerate(tasks):
        least, most = float(task.bounds.totals()[0, 0]), float(fp32_figures(task)[0])
        limits = np.array([start.limits[0] for start in starts if start.task == which])
        shares = (limits - least) / (most - least)
        assert (shares >= 0.1 - 1e-9).all()
        assert (shares <= 0.9 + 1e-9).all()
        assert np.ptp(shares) > 0.6


def test_references_are_near_the_best_there_is(random_problem: MakeProblem) -> None:
    for seed in range(4):
        problem = random_problem(seed, 10)
        task = Task.of(problem)
        sampler, rng = RandomBudgets([task]), np.random.default_rng(seed)
        for _ in range(5):
            start = sampler.draw(rng)
            within = replace(problem, objective=Objective.DROP).within(latency_us=start.limits[0])
            (best,) = Exact().propose(within)
            assert start.reference >= (best.predicted_drop or 0.0) * (1 - 1e-6) - 1e-9
            assert start.reference <= task.bounds.worst()


def test_the_same_seed_draws_the_same_episodes(random_problem: MakeProblem) -> None:
    sampler = RandomBudgets([Task.of(random_problem(seed, 5)) for seed in range(3)])
    first, second = (
        [sampler.draw(rng) for _ in range(20)]
        for rng in (np.random.default_rng(5), np.random.default_rng(5))
    )
    assert first == second
