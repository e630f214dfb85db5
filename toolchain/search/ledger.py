"""The account of a search: every true evaluation is counted, remembered and written down."""

from collections.abc import Callable, Sequence
from math import inf, isnan

import numpy as np

from ..plan import Plan
from .goal import Goal, Trial
from .problem import Floats, Indices, Objective, Problem

Judge = Callable[[Sequence[Plan]], Sequence[float]]  # true losses of several plans, in order


class Ledger:
    """Spends a budget of true evaluations; a plan that was scored before costs nothing.

    Args:
        problem: The plans, what they cost, and what is known of their losses beforehand.
        judge: Measures true losses; it is called with new plans only, several where they are
            independent, so that they may be measured side by side.
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
        return self.budget - len(self.trials)

    @property
    def best(self) -> Trial | None:
        """The best trial so far; None before the first."""
        return min(self.trials, key=self.goal.key, default=None)

    def loss(self, indices: Sequence[int]) -> float | None:
        """The true loss of a plan that was scored; None of any other."""
        return self._known.get(tuple(int(k) for k in indices))

    def score(self, plans: Indices, strategy: str) -> Floats:
        """True losses.

        Args:
            plans: Indices of choices; shape (B, S).
            strategy: Who asks.

        Returns:
            Shape (B,); infinite for what could not be built, and for new plans beyond the budget.
        """
        rows = [tuple(int(k) for k in row) for row in plans]
        new = [row for row in dict.fromkeys(rows) if row not in self._known][: max(0, self.left)]
        if new:
            self._measure(new, strategy)
        return np.array([self._known.get(row, inf) for row in rows])

    def _measure(self, new: list[tuple[int, ...]], strategy: str) -> None:
        figures = self.problem.figures(np.array(new, np.intp))
        losses = self._judge([self.problem.plan_of(row) for row in new])
        for i, (row, loss) in enumerate(zip(new, losses, strict=True)):
            trial = Trial(
                len(self.trials),
                row,
                inf if isnan(loss) else float(loss),
                float(figures[Objective.LATENCY][i]),
                int(figures[Objective.SIZE][i]),
                strategy,
            )
            self._known[row] = trial.loss
            self.trials.append(trial)
            self._told(trial)
