"""Evolution: the best plans so far are crossed and changed, and compete with their children."""

from dataclasses import dataclass

import numpy as np

from .feasible import Space
from .goal import Trial
from .ledger import Ledger
from .problem import Indices, Objective
from .proposals import starts

_TRIES = 50  # generations without a new plan after which there are taken to be none


@dataclass(frozen=True, slots=True)
class Evolution:
    """A (mu + lambda) strategy over plans within the limits.

    Parents are chosen by tournament, crossed slot by slot and mutated; a child that breaks a limit
    goes back towards its first parent until it holds. The first generation has what the solver,
    the greedy search and uniform precision propose, and random plans beside.

    Attributes:
        population: How many survive (mu).
        children: How many are born in a generation (lambda).
        tournament: How many compete to be a parent.
        mutations: Slots of a child that change by chance, in the mean.
        crossed: The part of children that have two parents.
    """

    population: int = 16
    children: int = 8
    tournament: int = 3
    mutations: float = 1.0
    crossed: float = 0.7
    name: str = "evolution"

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:
        """Spend the budget."""
        space = Space.of(ledger)
        full = ledger.goal.objective is Objective.DROP and not ledger.goal.weights
        first = starts(space, ledger.goal)[: self.population]
        more = space.sample(rng, max(2, self.population - len(first)), full=full)
        ledger.score(np.concatenate([first, more]), self.name)
        idle = 0
        while ledger.left and idle < _TRIES:
            spent = len(ledger.trials)
            ledger.score(self._generation(space, ledger.ranked(), rng), self.name)
            idle = idle + 1 if len(ledger.trials) == spent else 0

    def _generation(self, space: Space, ranked: list[Trial], rng: np.random.Generator) -> Indices:
        """Children of the best; shape (children, S)."""
        best = np.array([trial.indices for trial in ranked[: self.population]], np.intp)
        shape = self.children, best.shape[1]
        entrants = rng.integers(0, len(best), (2, self.children, self.tournament))
        one, other = best[entrants.min(axis=2)]  # the best come first
        mixed = (rng.random(shape) < 0.5) & (rng.random((self.children, 1)) < self.crossed)  # noqa: PLR2004 - half from each parent
        mutated = rng.random(shape) < self.mutations / max(1, shape[1])
        children = np.where(mixed, other, one)
        children = np.where(mutated, space.draw(rng, self.children), children)
        return space.repaired(children, one, rng)
