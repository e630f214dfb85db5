"""One precision everywhere it is legal: what a user gets from a runtime's own converter."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..plan import NodeChoice
from .problem import Indices, Problem, Proposal, choices_of


@dataclass(frozen=True, slots=True)
class Uniform:
    """Proposes each uniform plan that meets the limits."""

    name: str = "uniform"

    def propose(self, problem: Problem) -> Iterator[Proposal]:
        """One proposal for each choice that any slot has."""
        for choice in choices_of(problem):
            proposal = problem.proposal(uniform(problem, choice), self.name)
            if problem.meets(proposal):
                yield proposal


def uniform(problem: Problem, choice: NodeChoice) -> Indices:
    """The choice wherever it is legal, the first choice elsewhere; shape (S,)."""
    legal = problem.legal
    wanted = [
        slot.choices.index(choice) if choice in slot.choices else 0 for slot in problem.graph.slots
    ]
    return np.array([k if legal[s, k] else 0 for s, k in enumerate(wanted)], np.intp)
