"""A problem made ready for episodes, and how episodes on several problems are drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..problem import Floats, Indices, Objective, Problem
from .bounds import Bounds
from .features import Features

Losses = Callable[[Indices], Floats]  # what plans (B, S) lose, lower is better: (B,)

_EPSILON = 1e-3  # of the loss with every slot at its worst, where the task does not say


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One model on one device.

    Attributes:
        problem: The plans and what they cost.
        bounds: How plans can be finished within limits; says which figures are limited.
        features: What a policy sees.
        losses: What an episode's plan is judged by.
        epsilon: Losses far below it are alike.
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
        resources: Sequence[Objective] = (Objective.LATENCY,),
        epsilon: float | None = None,
        sqnr: Floats | None = None,
    ) -> "Task":
        """Prepare a problem; losses are the summed sensitivities unless given."""

        def summed(plans: Indices) -> Floats:
            drops: Floats = problem.drops[np.arange(plans.shape[1]), plans].sum(axis=1)
            return drops

        if epsilon is None:
            worst = np.where(problem.legal, problem.drops, 0.0).max(axis=1).sum()
            epsilon = _EPSILON * float(worst) or _EPSILON
        bounds = Bounds.of(problem, resources)
        return cls(problem, bounds, Features.of(problem, sqnr=sqnr), losses or summed, epsilon)


@dataclass(frozen=True, slots=True)
class Start:
    """How one episode starts.

    Attributes:
        task: Which of the tasks.
        limits: What its plan may take of each limited figure; shape (R,).
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

    The reference is the best of the plans that minimise a weighted sum of loss and latency, as far
    as they keep the latency.

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
        self._fronts = [_front(task) for task in tasks]

    def draw(self, rng: np.random.Generator) -> Start:
        """The next episode."""
        which = int(rng.integers(len(self.tasks)))
        bounds = self.tasks[which].bounds
        least = bounds.least()[int(rng.integers(len(bounds.least())))]
        share = rng.uniform(self.tightest, self.loosest, len(least))
        limits = least + share * np.maximum(fp32_figures(bounds) - least, 0.0)
        return Start(which, tuple(map(float, limits)), self.reference(which, limits))

    def reference(self, task: int, limits: Floats) -> float:
        """The loss of the best plan of the front within limits; shape (R,)."""
        figures, losses = self._fronts[task]
        return float(losses[(figures <= limits).all(axis=1)].min(initial=losses.max()))


def fp32_figures(bounds: Bounds) -> Floats:
    """What the plan that changes nothing takes of each limited figure; shape (R,)."""
    plan = np.zeros((1, len(bounds.problem.graph.slots)), np.intp)
    figures = bounds.problem.figures(plan)
    return np.array([float(figures[resource][0]) for resource in bounds.resources])


def _front(task: Task) -> tuple[Floats, Floats]:
    """Limited figures (P, R) and losses (P,) of plans that a weighted sum prefers."""
    resources = task.bounds.resources
    weights = np.ones((24, len(resources) + 1))
    weights[:, :-1] = np.geomspace(1e-3, 1e3, len(weights))[:, None]
    swept = Bounds.of(task.problem, (*resources, Objective.DROP), weights=weights)
    cheapest = task.bounds.plans()
    plans = np.unique(np.concatenate([swept.plans(), cheapest]), axis=0)
    figures = task.problem.figures(plans)
    return np.stack([figures[r] for r in resources], axis=1), task.losses(plans)
