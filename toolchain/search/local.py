"""Local search: small changes of the best plans, tried in the order of what they promise."""

from dataclasses import dataclass

import numpy as np

from .feasible import Space
from .ledger import Ledger
from .problem import Indices
from .promising import believed, promising
from .proposals import starts

_ELSEWHERE = 64  # random plans that are looked at where all neighbours were scored


@dataclass(frozen=True, slots=True)
class Local:
    """Changes one slot or two of the best plans so far, the solver's to begin with.

    After each batch a model of the losses learns from all that was measured, and says what to try
    next. Where nothing better was found for long, the best plan is shaken up first.

    Attributes:
        batch: How many plans are scored between two looks at what was learnt.
        origins: How many of the best plans are changed.
        shortlist: How many changes of each the model looks at.
        patience: Batches without a better plan before one that starts elsewhere.
        shaken: Slots that change by chance to get there, in the mean.
    """

    batch: int = 4
    origins: int = 6
    shortlist: int = 128
    patience: int = 6
    shaken: float = 4.0
    name: str = "local"

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:
        """Spend the budget."""
        space = Space.of(ledger)
        ledger.score(starts(space, ledger.goal), self.name)
        found = len(ledger.trials)  # when the best plan was found, or the search started elsewhere
        while ledger.left:
            best = ledger.ranked()[: self.origins]
            origins: Indices = np.array([trial.indices for trial in best], np.intp)
            found = max(found, best[0].number)
            if len(ledger.trials) - found > self.patience * self.batch:
                origins, found = self._shaken(space, origins[0], rng), len(ledger.trials)
            plans = self._promising(space, ledger, origins, rng)
            if not len(plans):
                return
            ledger.score(plans[: self.batch], self.name)

    def _promising(
        self, space: Space, ledger: Ledger, origins: Indices, rng: np.random.Generator
    ) -> Indices:
        """Plans that were not scored yet, the most promising first; shape (N, S)."""
        model = believed(space, ledger)
        near = [
            space.neighbours(origin, model.table, ledger.goal, count=self.shortlist)
            for origin in origins
        ]
        plans = promising(space, ledger, np.concatenate(near), model)
        if len(plans):
            return plans
        return promising(space, ledger, space.sample(rng, _ELSEWHERE, full=False), model)

    def _shaken(self, space: Space, plan: Indices, rng: np.random.Generator) -> Indices:
        """A plan with some choices by chance; shape (1, S)."""
        changed = rng.random((1, len(plan))) < self.shaken / max(1, len(plan))
        return space.repaired(np.where(changed, space.draw(rng, 1), plan), plan, rng)
