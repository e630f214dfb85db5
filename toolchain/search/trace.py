"""What a search left behind: its trials, how the best grew, and the Pareto set of all of them."""

import csv
import io
from dataclasses import dataclass
from math import inf, isfinite
from typing import Self

from ..codec import canonical, parse
from .goal import Goal, Trial
from .ledger import Ledger


@dataclass(frozen=True, slots=True)
class Trace:
    """One search.

    Attributes:
        strategy: Who searched.
        seed: What its random numbers began with.
        budget: How many true evaluations it had.
        goal: What it was after.
        slots: Names of the slots, in the order of `Trial.indices`.
        trials: Every true evaluation, in order.
        seconds: Wall time that it took.
    """

    strategy: str
    seed: int
    budget: int
    goal: Goal
    slots: tuple[str, ...]
    trials: tuple[Trial, ...]
    seconds: float = 0.0

    @classmethod
    def of(cls, ledger: Ledger, strategy: str, seed: int, seconds: float) -> Self:
        """What a ledger holds."""
        slots = tuple(slot.name for slot in ledger.problem.graph.slots)
        return cls(strategy, seed, ledger.budget, ledger.goal, slots, tuple(ledger.trials), seconds)

    @property
    def best(self) -> Trial | None:
        """The best trial; None where there is none."""
        return next(iter(self.goal.ranked(self.trials)), None)

    def curve(self) -> list[float]:
        """The best objective within the limits after each trial; infinite before there is one."""
        best, curve = inf, []
        for trial in self.trials:
            if self.goal.excess(trial) <= 0.0:
                best = min(best, self.goal.value(trial))
            curve.append(best)
        return curve

    def pareto(self) -> tuple[Trial, ...]:
        """The trials that none beats in loss, latency and size at once; the fastest first."""
        kept: list[Trial] = []
        built = (trial for trial in self.trials if isfinite(trial.loss))
        for trial in sorted(built, key=lambda t: (t.us, t.loss, t.size)):
            if not any(_no_worse(other, trial) for other in kept):
                kept.append(trial)
        return tuple(kept)

    def to_json(self) -> str:
        """Canonical JSON."""
        return canonical(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read exactly what `to_json` wrote.

        Raises:
            InputError: The text is not a trace.
        """
        return parse(cls, text)

    def to_csv(self) -> str:
        """One row a trial: figures, then the choice of each slot by its index."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["number", "strategy", "loss", "latency_us", "size_bytes", *self.slots])
        for trial in self.trials:
            figures = (trial.number, trial.strategy, trial.loss, trial.us, trial.size)
            writer.writerow([*figures, *trial.indices])
        return out.getvalue()


def _no_worse(other: Trial, trial: Trial) -> bool:
    return other.loss <= trial.loss and other.us <= trial.us and other.size <= trial.size
