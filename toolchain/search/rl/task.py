"""A problem made ready for episodes, and how episodes on several problems are drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..problem import SLACK, Floats, Indices, Objective, Problem
from .bounds import Bounds
from .features import Features

Losses = Callable[[Indices], Floats]  # what plans (B, S) lose, lower is better: (B,)

EPSILON = 1e-7  # of the loss with every slot at its worst, as int4: fp16 loses 1e-5 of it


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One model on one device.

    Attributes:
        problem: The plans and what they cost.
        bounds: How plans can be finished within limits; says which figures are limited.
        features: What a policy sees.
        losses: What an episode's plan is judged by.
        epsilon: A loss that is as good as none; `of` takes a share of the worst that is predicted.
    """

    problem: Problem
    bounds: Bounds
    features: Features
    losses: Losses
    epsilon: float

    @classmethod
    def of(
        cls,
        problem: Problem,
        losses: Losses | None = None,
        *,
        limited: Sequence[Objective] = (Objective.LATENCY,),
        objective: Objective = Objective.DROP,
        sqnr: Floats | None = None,
    ) -> "Task":
        """Prepare a problem.

        Args:
            problem: Its limits are not looked at.
            losses: Judges plans; None: by the objective as it is predicted.
            limited: The figures that are limited in each episode.
            objective: The figure that predicts the loss.
            sqnr: As in `Features.of`.
        """

        def predicted(plans: Indices) -> Floats:
            return problem.figures(plans)[objective]

        bounds = Bounds.of(problem, limited, objective=objective)
        return cls(
            problem,
            bounds,
            Features.of(problem, sqnr=sqnr),
            losses or predicted,
            EPSILON * bounds.worst(),
        )


@dataclass(frozen=True, slots=True)
class Start:
    """How one episode starts.

    Attributes:
        task: Which of the tasks.
        limits: What its plan may take of each limited figure.
        reference: The loss that its reward is relative to.
    """

    task: int
    limits: tuple[float, ...]
    reference: float


class Sampler(Protocol):
    """Draws episodes."""

    def draw(self, rng: np.random.Generator) -> Start:
        """The next episode."""
        ...


class RandomBudgets:
    """Draws a task, and budgets between the cheapest plan and fp32.

    The reference is the best loss, within the budget, of the plans that `Bounds` knows: they
    minimise a weighted sum of cost and predicted loss.

    Args:
        tasks: Among which it draws, evenly.
        tightest: The least budget: 0 is the cheapest plan, 1 is fp32.
        loosest: The largest.
    """

    def __init__(
        self, tasks: Sequence[Task], *, tightest: float = 0.02, loosest: float = 1.0
    ) -> None:
        self.tasks = tasks
        self.tightest, self.loosest = tightest, loosest
        self._losses = [task.losses(task.bounds.plans()) for task in tasks]

    def draw(self, rng: np.random.Generator) -> Start:
        """The next episode."""
        which = int(rng.integers(len(self.tasks)))
        totals = self.tasks[which].bounds.totals()
        count = len(self.tasks[which].bounds.limited)
        cheapest = totals[int(rng.integers(self.tasks[which].bounds.frugal)), :count]
        share = rng.uniform(self.tightest, self.loosest, count)
        fp32 = fp32_figures(self.tasks[which])
        return self.start(which, cheapest + share * np.maximum(fp32 - cheapest, 0.0))

    def start(self, task: int, limits: Floats) -> Start:
        """An episode within given limits; shape (number of limited figures,)."""
        totals = self.tasks[task].bounds.totals()[:, : len(limits)]
        fit = (totals <= limits * (1.0 + SLACK)).all(axis=1)
        losses = self._losses[task]
        reference = float(losses[fit].min(initial=losses.max()))
        return Start(task, tuple(map(float, limits)), reference)


def fp32_figures(task: Task) -> Floats:
    """What the plan that changes nothing takes of each limited figure."""
    plan = np.zeros((1, len(task.problem.graph.slots)), np.intp)
    figures = task.problem.figures(plan)
    return np.array([float(figures[figure][0]) for figure in task.bounds.limited])
