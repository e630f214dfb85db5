"""The account of a search: every true evaluation is counted, remembered and written down."""

from collections.abc import Callable, Iterable, Sequence
from math import inf, isfinite

import numpy as np

from ..plan import Plan
from .goal import Goal, Trial
from .problem import Floats, Indices, Objective, Problem

Judge = Callable[[Sequence[Plan]], Iterable[float]]  # true losses of several plans, in order


class Ledger:
    """Spends a budget of true evaluations; a plan that was scored before costs nothing.

    Args:
        problem: The plans, what they cost, and what is known of their losses beforehand.
        judge: Measures true losses; it is called with new plans only, several where they are
            independent, so that they may be measured side by side. Where it yields one loss after
            the other, those that it has yielded are kept when it is interrupted.
        budget: How many evaluations there are.
        goal: What is sought; None: the least loss within the problem's limits.
        told: Called after each evaluation.
    """

    def __init__(
        self,
        problem: Problem,
        judge: Judge,
        budget: int,
        *,
        goal: Goal | None = None,
        told: Callable[[Trial], None] = lambda _: None,
    ) -> None:
        self.problem = problem
        self.goal = goal or Goal(problem.limits)
        self.budget = budget
        self.trials: list[Trial] = []
        self._judge = judge
        self._told = told
        self._known: dict[tuple[int, ...], float] = {}

    @property
    def left(self) -> int:
        """How many evaluations are left."""
        return max(0, self.budget - len(self.trials))

    @property
    def best(self) -> Trial | None:
        """The best trial so far; None before the first."""
        return next(iter(self.ranked()), None)

    def ranked(self) -> list[Trial]:
        """All trials from the best to the worst."""
        return self.goal.ranked(self.trials)

    def loss(self, indices: Sequence[int]) -> float | None:
        """The true loss of a plan that was scored; None of any other."""
        return self._known.get(_key(indices))

    def unknown(self, plans: Indices) -> Indices:
        """Those of several plans, shape (B, S), that were not scored yet, each once, in order."""
        new = dict.fromkeys(key for key in map(_key, plans) if key not in self._known)
        return np.array(list(new), np.intp).reshape(len(new), plans.shape[1])

    def score(self, plans: Indices, strategy: str) -> Floats:
        """True losses.

        Args:
            plans: Indices of choices; shape (B, S).
            strategy: Who asks.

        Returns:
            Shape (B,); infinite for what could not be built, and for new plans beyond the budget.
        """
        new = self.unknown(plans)[: self.left]
        if len(new):
            self._measure(new, strategy)
        return np.array([self._known.get(_key(row), inf) for row in plans])

    def _measure(self, new: Indices, strategy: str) -> None:
        figures = self.problem.figures(new)
        losses = self._judge([self.problem.plan_of(row) for row in new])
        for i, (row, loss) in enumerate(zip(new, losses, strict=True)):
            trial = Trial(
                len(self.trials),
                _key(row),
                float(loss) if isfinite(loss) else inf,
                float(figures[Objective.LATENCY][i]),
                int(figures[Objective.SIZE][i]),
                strategy,
                None if self.problem.energy is None else float(figures[Objective.ENERGY][i]),
            )
            self._known[trial.indices] = trial.loss
            self.trials.append(trial)
            self._told(trial)


def _key(indices: Iterable[int]) -> tuple[int, ...]:
    return tuple(int(k) for k in indices)
