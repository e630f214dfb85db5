"""What a search left behind: its trials, how the best grew, and the Pareto set of all of them."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Self

import numpy as np

from ..codec import canonical, parse
from .goal import Goal, Trial, figures_of
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
        """The trials that none beats in all figures at once; the fastest first."""
        return pareto(self.trials)

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
        """One row a trial: figures, then the choice of each slot by its index.

        What is not known is empty.
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        figures = ("loss", "latency_us", "size_bytes", "energy_uj")
        writer.writerow(["number", "strategy", *figures, *self.slots])
        for t in self.trials:
            writer.writerow([t.number, t.strategy, t.loss, t.us, t.size, t.uj, *t.indices])
        return out.getvalue()


def pareto(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Those of some trials that none beats in all figures at once; the fastest first."""
    built = [trial for trial in trials if isfinite(trial.loss)]
    built.sort(key=lambda t: (t.us, t.loss, t.size, t.uj or 0.0))
    table = np.stack(list(figures_of(built).values()), axis=1)
    kept: list[int] = []
    for i, figures in enumerate(table):
        if not (table[np.array(kept, np.intp)] <= figures).all(axis=1).any():
            kept.append(i)
    return tuple(built[i] for i in kept)
