"""HAD-MC's reward: several figures at once, and a plan's place before or behind the front."""

from dataclasses import dataclass

import numpy as np

from ..goal import Goal, Trial, figures_of
from ..problem import Floats, Objective, Problem
from .playground import rewards


@dataclass(frozen=True, slots=True, eq=False)
class ParetoReward:
    """R = r + sum_j w_j (1 - y_j) + p e, j over latency, size and energy.

    HAD-MC 2.0 ("Reward Function") has R = w_acc R_acc + w_lat R_lat + w_eng R_eng + w_size R_size -
    penalty, each R_j relative to a baseline, and a bonus for plans on the Pareto front or a penalty
    for the distance from it. Here r is `playground.rewards`: the accuracy term, in logarithms of
    the true loss, and the penalty; y_j is a figure over that of fp32; and one formula makes the
    bonus and the distance, the additive epsilon indicator (Zitzler et al. 2003) of a plan i against
    all others that were measured:

        e_i = min over k != i of max over figures f of (y_kf - y_if)

    Above 0 nothing dominates plan i, and it is how far the front would step back without it; below
    0 it is how far the plan is behind the front. The loss's y is -r.

    Attributes:
        latency: w of the latency (HAD-MC: 0.5 where accuracy has 1).
        size: w of the size (HAD-MC: 0.2).
        energy: w of the energy (HAD-MC: 0.3).
        front: p.
        joules: Energy of each choice, shape (S, K); None where it is not known.
    """

    latency: float = 0.05
    size: float = 0.02
    energy: float = 0.03
    front: float = 0.1
    joules: Floats | None = None

    def of(self, problem: Problem, goal: Goal, trials: list[Trial]) -> Floats:
        """The reward of each trial, as of now; shape (N,)."""
        figures = figures_of(trials)
        score = rewards(goal, figures)
        plain = problem.figures(np.zeros((1, len(problem.graph.slots)), np.intp))
        relative = [
            (self.latency, figures[Objective.LATENCY] / max(plain[Objective.LATENCY][0], 1e-9)),
            (self.size, figures[Objective.SIZE] / max(plain[Objective.SIZE][0], 1e-9)),
        ]
        if self.joules is not None:
            plans = np.array([trial.indices for trial in trials], np.intp)
            spent = self.joules[np.arange(plans.shape[1]), plans].sum(axis=1)
            relative.append((self.energy, spent / max(float(self.joules[:, 0].sum()), 1e-30)))
        traded = np.sum([weight * (1.0 - figure) for weight, figure in relative], axis=0)
        standing = epsilon(np.stack([-score, *(figure for _, figure in relative)], axis=1))
        total: Floats = score + traded + self.front * standing
        return total


def epsilon(figures: Floats) -> Floats:
    """The additive epsilon indicator of each of N plans against the others.

    Args:
        figures: Smaller is better; shape (N, F).

    Returns:
        Shape (N,); 0 where there are no others.
    """
    if len(figures) < 2:  # noqa: PLR2004 - no others
        return np.zeros(len(figures))
    behind = (figures[None] - figures[:, None]).max(axis=2)
    np.fill_diagonal(behind, np.inf)
    nearest: Floats = behind.min(axis=1)
    return nearest
