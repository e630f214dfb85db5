"""What a search is after, in true figures: the loss that was measured, and what plans cost."""

from dataclasses import dataclass, field
from math import inf, isnan

from .problem import Limits, Objective, allowed


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
    """Orders trials: within the limits first, then by the objective, or a weighted sum.

    Attributes:
        limits: What a plan may take; `limits.drop` is the largest true loss.
        objective: What is minimised within them.
        weights: Weight and unit of each objective in a sum, `(weight, unit)`; empty: `objective`
            alone counts. A loss of `unit` weighs as much as `unit` microseconds or bytes.
    """

    limits: Limits = field(default_factory=Limits)
    objective: Objective = Objective.DROP
    weights: tuple[tuple[Objective, float, float], ...] = ()

    def value(self, trial: Trial) -> float:
        """What is minimised."""
        if self.weights:
            return sum(w * _figure(trial, objective) / unit for objective, w, unit in self.weights)
        return _figure(trial, self.objective)

    def excess(self, trial: Trial) -> float:
        """How far a trial is over the limits, each as a fraction of itself; 0 within them."""
        bounds = (
            (trial.loss, self.limits.drop),
            (trial.us, self.limits.latency_us),
            (float(trial.size), self.limits.size),
        )
        return sum(
            max(0.0, figure - allowed(limit)) / (abs(limit) or 1.0)
            for figure, limit in bounds
            if limit < inf
        )

    def key(self, trial: Trial) -> tuple[float, float, float]:
        """Smaller is better: over the limits, then the objective, then the latency."""
        value = self.value(trial)
        return self.excess(trial), inf if isnan(value) else value, trial.us


def _figure(trial: Trial, objective: Objective) -> float:
    match objective:
        case Objective.LATENCY:
            return trial.us
        case Objective.SIZE:
            return float(trial.size)
        case Objective.DROP:
            return trial.loss
