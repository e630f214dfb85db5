"""Exact search: the edge-aware mixed-integer linear program, solved by HiGHS."""

from collections.abc import Iterator
from dataclasses import dataclass

from .problem import Problem, Proposal
from .program import Program


@dataclass(frozen=True, slots=True)
class Exact:
    """Proposes the best plan there is, proven, or the best found when the time is up.

    Attributes:
        seconds: When to stop.
    """

    seconds: float = 30.0
    name: str = "exact"

    def propose(self, problem: Problem) -> Iterator[Proposal]:
        """The best plan; nothing where no plan meets the limits or none was found in time."""
        solution = Program.of(problem).solve(self.seconds)
        if solution is not None:
            proposal = problem.proposal(solution.indices, self.name, optimal=solution.optimal)
            if problem.meets(proposal):
                yield proposal
