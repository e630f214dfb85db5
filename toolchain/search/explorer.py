"""Strategies that spend true evaluations."""

from typing import Protocol

import numpy as np

from .ledger import Ledger


class Explorer(Protocol):
    """A way to spend a budget of true evaluations; the same seed spends it the same way."""

    @property
    def name(self) -> str:
        """What trials are signed with."""
        ...

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:
        """Score plans until the budget is spent or nothing is left to try.

        What was found is in the ledger. Every plan that is scored is legal and within the limits
        on latency and size: those are known beforehand, so a budget is not spent on them.

        Raises:
            ConstraintError: No plan meets these limits.
        """
        ...
