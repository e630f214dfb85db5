"""Where strategies that learn from true evaluations play: episodes in, trials and rewards out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from ..feasible import Space
from ..goal import Figures, Goal, figures_of
from ..ledger import Ledger
from ..problem import Floats, Indices, Objective, Problem
from .episode import Episodes
from .opening import opening
from .task import Start, Task

_LEAST = 1e-2  # of the median value: better than that is as good
_OVER = 10.0  # what it costs to be over a limit by the whole of it
_UNBUILT = 1.0  # what it costs, below the worst that could be built, that a plan could not be
_TRIES = 20  # roll-outs in a row that may bring nothing new, with random plans beside


@dataclass(slots=True, eq=False)
class Playground:
    """Episodes within the limits of a search, and the ledger that judges their plans.

    Attributes:
        ledger: Counts true evaluations.
        name: Who asks for them.
        space: The plans within the limits.
        task: The problem, ready for episodes.
        start: How each episode starts.
        idle: Roll-outs in a row that brought no new plan.
    """

    ledger: Ledger
    name: str
    space: Space
    task: Task
    start: Start
    idle: int = field(default=0, init=False)

    @classmethod
    def of(cls, ledger: Ledger, name: str) -> Self:
        """Make a search ready.

        Raises:
            ConstraintError: No plan meets the limits.
        """
        space = Space.of(ledger)
        return cls(ledger, name, space, *opening(replace(space.problem, objective=Objective.DROP)))

    @property
    def problem(self) -> Problem:
        """The problem, with its limits on latency and size, and sensitivities if only guessed."""
        return self.task.problem

    @property
    def open(self) -> bool:
        """Whether the budget is not spent and something seems left to try."""
        return self.ledger.left > 0 and self.idle < _TRIES

    @property
    def progress(self) -> float:
        """The part of the budget that is spent."""
        return 1.0 - self.ledger.left / max(1, self.ledger.budget)

    def episodes(self, count: int) -> Episodes:
        """Episodes that start now."""
        return Episodes([self.task], [self.start] * count)

    def score(self, plans: Indices, rng: np.random.Generator) -> None:
        """Measure plans, shape (B, S); where all are known, random ones in their place.

        A policy that is sure of itself plays what it knows: the budget is not left lying for it.
        """
        new = self.ledger.unknown(plans)
        self.idle = 0 if len(new) else self.idle + 1
        if not len(new):
            new = self.ledger.unknown(self.space.sample(rng, max(1, len(plans)), full=False))
        self.ledger.score(new, self.name)

    def rewards(self) -> Mapping[tuple[int, ...], float]:
        """The reward of each plan that was measured, as of now."""
        trials = self.ledger.trials
        scores = rewards(self.ledger.goal, figures_of(trials)).tolist()
        return {trial.indices: score for trial, score in zip(trials, scores, strict=True)}


def rewards(goal: Goal, figures: Figures) -> Floats:
    """-log(value / median + 0.01) - 10 excess, of the figures of N plans; shape (N,).

    The value is what the goal minimises, the excess how far a plan is over the goal's limits. The
    logarithm makes half the loss worth the same everywhere, and the median makes it free of units.
    """
    values, excesses = goal.values(figures), goal.excesses(figures)
    built = np.isfinite(values) & np.isfinite(excesses)
    if not built.any():
        return np.zeros(len(values))
    finite = np.maximum(values[built], 0.0)
    unit = float(np.median(finite)) or float(finite.max()) or 1.0
    scores = np.empty(len(values))
    scores[built] = -np.log(finite / unit + _LEAST) - _OVER * excesses[built]
    scores[~built] = scores[built].min() - _UNBUILT
    return scores
