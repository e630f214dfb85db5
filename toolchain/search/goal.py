"""What a search is after, in true figures: the loss that was measured, and what plans cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np

from .problem import Floats, Indices, Limits, Objective, Weights, allowed, terms_of

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
        uj: Predicted energy, in microjoules; None where it is not known.
    """

    number: int
    indices: tuple[int, ...]
    loss: float
    us: float
    size: int
    strategy: str
    uj: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """Orders plans: built and within the limits first, then by the objective, or a weighted sum.

    Among figures, the drop is the true loss, or what a search takes for it.

    Attributes:
        limits: What a plan may take; `limits.drop` is the largest true loss.
        objective: What is minimised within them.
        weights: The terms of a weighted sum, see `terms_of`; empty: `objective` alone counts.
    """

    limits: Limits = field(default_factory=Limits)
    objective: Objective = Objective.DROP
    weights: Weights = ()

    def values(self, figures: Figures) -> Floats:
        """What is minimised; shape (B,)."""
        total = np.zeros_like(figures[Objective.DROP])
        for objective, weight in terms_of(self.objective, self.weights).items():
            total += weight * figures[objective]
        return total

    @property
    def slope(self) -> float:
        """By how much a loss of 1 raises what is minimised."""
        return terms_of(self.objective, self.weights).get(Objective.DROP, 0.0)

    def excesses(self, figures: Figures) -> Floats:
        """How far plans are over the limits, each as a fraction of itself; shape (B,).

        Infinite where there is no loss, since the plan could not be built.
        """
        total = np.where(np.isfinite(figures[Objective.DROP]), 0.0, inf)
        for objective in Objective:
            limit = self.limits.of(objective)
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
        Objective.ENERGY: np.array([trial.uj or 0.0 for trial in trials]),
    }
