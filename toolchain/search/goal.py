"""What a search is after, in true figures: the loss that was measured, and what plans cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np

from .problem import Floats, Indices, Limits, Objective, allowed

Figures = Mapping[Objective, Floats]  # shape (B,) each, one entry a plan


@dataclass(frozen=True, slots=True)
class Trial:
    """One true evaluation.

    Attributes:
        number: Which it was, from 0.
        indices: The plan: the index of each slot's choice.
        loss: What was measured; infinite where the plan could not be built.
        us: Predicted latency, in microseconds.
        size: Bytes.
        strategy: Who asked for it.
    """

    number: int
    indices: tuple[int, ...]
    loss: float
    us: float
    size: int
    strategy: str


@dataclass(frozen=True, slots=True)
class Goal:
    """Orders plans: built and within the limits first, then by the objective, or a weighted sum.

    Among figures, the drop is the true loss, or what a search takes for it.

    Attributes:
        limits: What a plan may take; `limits.drop` is the largest true loss.
        objective: What is minimised within them.
        weights: `(objective, weight, unit)` of each term of a sum: a figure of one `unit` adds
            `weight`. Empty: `objective` alone counts.
    """

    limits: Limits = field(default_factory=Limits)
    objective: Objective = Objective.DROP
    weights: tuple[tuple[Objective, float, float], ...] = ()

    def values(self, figures: Figures) -> Floats:
        """What is minimised; shape (B,)."""
        if not self.weights:
            return figures[self.objective]
        total = np.zeros_like(figures[Objective.DROP])
        for objective, weight, unit in self.weights:
            if weight:
                total += weight / unit * figures[objective]
        return total

    @property
    def slope(self) -> float:
        """By how much a loss of 1 raises what is minimised."""
        weights = self.weights or ((self.objective, 1.0, 1.0),)
        return sum(w / unit for objective, w, unit in weights if objective is Objective.DROP)

    def excesses(self, figures: Figures) -> Floats:
        """How far plans are over the limits, each as a fraction of itself; shape (B,).

        Infinite where there is no loss, since the plan could not be built.
        """
        total = np.where(np.isfinite(figures[Objective.DROP]), 0.0, inf)
        for objective, limit in (
            (Objective.DROP, self.limits.drop),
            (Objective.LATENCY, self.limits.latency_us),
            (Objective.SIZE, self.limits.size),
        ):
            if limit < inf:
                total += np.maximum(0.0, figures[objective] - allowed(limit)) / (abs(limit) or 1.0)
        return total

    def order(self, figures: Figures) -> Indices:
        """The plans from the best to the worst; ties by latency, then as they stand; shape (B,)."""
        keys = (figures[Objective.LATENCY], self.values(figures), self.excesses(figures))
        order: Indices = np.lexsort(keys)
        return order

    def value(self, trial: Trial) -> float:
        """What is minimised."""
        return float(self.values(figures_of([trial]))[0])

    def excess(self, trial: Trial) -> float:
        """How far a trial is over the limits; 0 within them."""
        return float(self.excesses(figures_of([trial]))[0])

    def key(self, trial: Trial) -> tuple[float, float, float]:
        """Smaller is better: over the limits, then the objective, then the latency."""
        return self.excess(trial), self.value(trial), trial.us

    def ranked(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials from the best to the worst; of equals, the earlier one first."""
        return [trials[i] for i in self.order(figures_of(trials))]


def figures_of(trials: Sequence[Trial]) -> Figures:
    """The true figures of trials."""
    return {
        Objective.LATENCY: np.array([trial.us for trial in trials]),
        Objective.SIZE: np.array([float(trial.size) for trial in trials]),
        Objective.DROP: np.array([trial.loss for trial in trials]),
    }
