"""What came of comparing the best plans of searches with the exact one on fresh data."""

from dataclasses import dataclass

import numpy as np

from ..timing import Interval


@dataclass(frozen=True, slots=True)
class Finalist:
    """A plan on fresh data.

    Attributes:
        indices: The index of each slot's choice.
        strategies: Who scored it in a search, in order; empty where none did.
        loss: Mean over the fresh samples; infinite where it could not be built.
        us: Predicted latency, in microseconds.
        size: Bytes.
        difference: What is minimised, less that of the exact plan: below 0 is better. In 95 % of
            cases the intervals of all finalists hold at once.
        holds: Whether the limit on the loss is kept, with the same confidence.
    """

    indices: tuple[int, ...]
    strategies: tuple[str, ...]
    loss: float
    us: float
    size: int
    difference: Interval
    holds: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a comparison on fresh data.

    Attributes:
        winner: The plan to take: the exact one unless another is surely better.
        exact: The exact plan.
        finalists: All that were compared, the best on the fresh data first.
        value: What is minimised, for the exact plan.
        samples: How many samples decided.
    """

    winner: Finalist
    exact: Finalist
    finalists: tuple[Finalist, ...]
    value: float
    samples: int

    @property
    def replaced(self) -> bool:
        """Whether another plan is surely better than the exact one."""
        return self.winner != self.exact

    def text(self) -> str:
        """One sentence for a report."""
        on = f"on {self.samples} fresh samples"
        if self.replaced:
            who = " and ".join(self.winner.strategies)
            if not np.isfinite(self.exact.loss):
                return f"{who} replaces exact, which could not be built"
            return f"{who} beats exact by {self._gain(self.winner)} {on}"
        others = [finalist for finalist in self.finalists if finalist != self.exact]
        if not others:
            return f"no other plan was compared with exact {on}"
        found = others[0]
        who = " and ".join(found.strategies)
        where = f"nothing surely beats exact {on}: the best other plan, of {who},"
        if found.difference.value > 0.0:
            return f"{where} is behind"
        if found.difference.value == 0.0:
            return f"{where} is as good"
        gain = f"{where} gains {self._gain(found)}"
        return gain if found.difference.high >= 0.0 else f"{gain}, but may lose more than exact"

    def _gain(self, finalist: Finalist) -> str:
        """By how much a plan is better, as a fraction where there is one."""
        found = finalist.difference
        bounds = (found.value, found.high, found.low)
        if self.value > 0.0 and np.isfinite([self.value, *bounds]).all():
            value, low, high = (f"{-bound / self.value:.1%}" for bound in bounds)
        else:
            value, low, high = (f"{-bound:.4g}" for bound in bounds)
        return f"{value} (95 % interval {low} to {high})"
