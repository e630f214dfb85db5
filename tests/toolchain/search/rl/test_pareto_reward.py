"""What learners are rewarded for."""

from collections.abc import Callable
from math import inf

import numpy as np
import pytest
from hwc.toolchain.search.goal import Goal, Trial, figures_of
from hwc.toolchain.search.problem import Limits, Problem
from hwc.toolchain.search.rl.pareto_reward import ParetoReward, epsilon
from hwc.toolchain.search.rl.playground import rewards


def _trials(*figures: tuple[float, float, int]) -> list[Trial]:
    return [Trial(i, (0, 0, 0, 0, 0), *f, "test") for i, f in enumerate(figures)]


def test_half_the_loss_is_worth_the_same_whatever_the_unit() -> None:
    losses = [8.0, 4.0, 2.0, 1.0]
    for unit in (1.0, 1e-6):
        trials = _trials(*((unit * loss, 1.0, 1) for loss in losses))
        gained = np.diff(rewards(Goal(), figures_of(trials)))
        assert gained == pytest.approx(np.full(3, np.log(2.0)), rel=0.03)


def test_over_a_limit_or_not_built_is_worse_than_any_loss_within() -> None:
    trials = _trials((0.5, 1.0, 1), (0.2, 3.0, 1), (inf, 1.0, 1))
    scores = rewards(Goal(Limits(latency_us=2.0)), figures_of(trials))
    assert scores[0] > scores[1] > scores[2]
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("losses", [(inf, inf), (0.0, 0.0), (-0.1, -0.2)], ids=str)
def test_rewards_are_finite(losses: tuple[float, ...]) -> None:
    trials = _trials(*((loss, 1.0, 1) for loss in losses))
    assert np.isfinite(rewards(Goal(), figures_of(trials))).all()


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ([[1, 4], [2, 2], [4, 1]], [1, 2, 1]),
        ([[1, 1], [3, 2]], [2, -1]),
        ([[1, 1], [1, 1]], [0, 0]),
        ([[1, 1]], [0]),
    ],
    ids=["a front", "one behind", "twins", "alone"],
)
def test_epsilon(figures: list[list[float]], expected: list[float]) -> None:
    assert epsilon(np.array(figures, float)).tolist() == expected


def test_of_equal_losses_what_takes_less_is_worth_more(
    random_problem: Callable[..., Problem],
) -> None:
    trials = _trials((0.5, 1.0, 9), (0.5, 2.0, 9), (0.5, 2.0, 12))
    scores = ParetoReward().of(random_problem(1), Goal(), trials)
    assert scores[0] > scores[1] > scores[2]


def test_energy_counts_where_it_is_known(random_problem: Callable[..., Problem]) -> None:
    problem = random_problem(1)
    joules = np.ones(problem.cost.node_us.shape)
    joules[0, 1:] = 0.1
    one, other = (0, 0, 0, 0, 0), (1, 0, 0, 0, 0)
    trials = [Trial(i, plan, 0.5, 1.0, 9, "test") for i, plan in enumerate((one, other))]
    assert np.ptp(ParetoReward().of(problem, Goal(), trials)) == 0.0
    scores = ParetoReward(joules=joules).of(problem, Goal(), trials)
    assert scores[1] > scores[0]
