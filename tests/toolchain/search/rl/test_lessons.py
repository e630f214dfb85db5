"""Exact solutions as lessons."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.search.problem import Indices, Objective, Problem
from hwc.toolchain.search.rl.episode import CONTEXT, OPTION
from hwc.toolchain.search.rl.features import K_MAX
from hwc.toolchain.search.rl.generator import draw_limits, within_share
from hwc.toolchain.search.rl.lessons import Example, Lessons, solved

RandomProblem = Callable[..., Problem]


def limited(random_problem: RandomProblem, seed: int) -> Problem:
    problem = replace(random_problem(seed), objective=Objective.DROP)
    return within_share(problem, 0.4)


@pytest.mark.parametrize("seed", range(5))
def test_the_plan_of_an_example_is_the_best(
    random_problem: RandomProblem, every_plan: Callable[[Problem], Indices], seed: int
) -> None:
    problem = limited(random_problem, seed)
    (example,) = solved([problem])
    plans = every_plan(problem)
    figures = problem.figures(plans)
    held = figures[Objective.LATENCY] <= problem.limits.latency_us * (1 + 1e-9)
    assert example.best == pytest.approx(figures[Objective.DROP][held].min(), rel=1e-4, abs=1e-9)


def test_there_is_one_lesson_for_each_real_choice(random_problem: RandomProblem) -> None:
    examples = list(solved(limited(random_problem, seed) for seed in range(8)))
    lessons = Lessons.of(examples)
    rows = np.arange(len(lessons))
    assert 8 <= len(lessons) <= sum(len(example.plan) for example in examples)
    assert lessons.context.shape == (len(rows), len(CONTEXT))
    assert lessons.options.shape == (len(rows), K_MAX, len(OPTION))
    assert lessons.masks[rows, lessons.chosen].all()
    assert (lessons.masks.sum(axis=1) > 1).all()
    assert np.isfinite(lessons.options).all()


def test_examples_with_different_limits_are_told_apart(random_problem: RandomProblem) -> None:
    rng = np.random.default_rng(0)
    problems = [replace(random_problem(seed), objective=Objective.DROP) for seed in range(20)]
    examples = list(solved(draw_limits(problem, rng) for problem in problems))
    together = Lessons.of(examples)
    alone = [Lessons.of([example]) for example in examples]
    assert len(together) == sum(map(len, alone))


def test_a_blind_example_hides_the_sensitivities_but_knows_the_best(
    random_problem: RandomProblem,
) -> None:
    (example,) = solved([limited(random_problem, 1)])
    blind = replace(example, blind=True)
    assert blind.seen.sensitivity is None
    task, start = blind.opening()
    losses = task.losses(example.plan[None])
    assert losses[0] == pytest.approx(start.reference) == pytest.approx(blind.best)


def test_what_no_plan_meets_is_left_out(random_problem: RandomProblem) -> None:
    hopeless = limited(random_problem, 1).within(latency_us=1e-3)
    assert not list(solved([hopeless]))


def test_an_example_is_its_plan(random_problem: RandomProblem) -> None:
    problem = limited(random_problem, 2)
    example = Example(problem, np.zeros(len(problem.graph.slots), np.intp))
    assert example.best == 0.0
