"""Random search: what an equal number of evaluations finds without any thought."""

from dataclasses import dataclass

import numpy as np

from .feasible import Space
from .ledger import Ledger
from .problem import Objective

_TRIES = 20  # rounds without a new plan after which there are taken to be none


@dataclass(frozen=True, slots=True)
class Random:
    """Scores random plans that make use of the limits.

    Attributes:
        batch: How many are drawn at once.
    """

    batch: int = 16
    name: str = "random"

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:
        """Spend the budget."""
        space = Space.of(ledger)
        full = ledger.goal.objective is Objective.DROP and not ledger.goal.weights
        idle = 0
        while ledger.left and idle < _TRIES:
            spent = len(ledger.trials)
            ledger.score(space.sample(rng, min(self.batch, ledger.left), full=full), self.name)
            idle = idle + 1 if len(ledger.trials) == spent else 0
