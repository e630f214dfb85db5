"""A search by true evaluations that challenges the exact plan."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ...toolchain.latency.measure import Measurement
from ...toolchain.progress import Progress
from ...toolchain.search.explorer import Explorer
from ...toolchain.search.goal import Goal
from ...toolchain.search.problem import Objective, Problem, Proposal
from ...toolchain.search.trace import Trace
from ...toolchain.search.verdict import Verdict
from .explore import Arena, Contest

MARGIN = 0.05  # of the exact plan's loss: a faster plan may surely lose so much more, and no more


@dataclass(frozen=True, slots=True)
class Challenge:
    """What came of it.

    Attributes:
        trace: Every true evaluation.
        verdict: Who is better on samples that no search has seen; None where there are too few.
        winner: The plan that replaces the exact one; None: none does.
        text: One sentence for a report.
        loss: What was minimised.
    """

    trace: Trace
    verdict: Verdict | None
    winner: Proposal | None
    text: str
    loss: str


@dataclass(frozen=True, slots=True, eq=False)
class Challenger:
    """Searches for a plan that surely beats the exact one.

    Where loss is traded for something else, the exact plan is the best of its front whose true drop
    is allowed; a better one has less of the objective, and surely loses no more. Where the loss
    itself is minimised, a better one surely loses less within the same limits.

    Attributes:
        arena: Judges plans.
        explorer: Who searches.
        budget: True evaluations.
        seed: Of the search.
        holds: Whether a plan's true drop is allowed, on the search split.
        measure: Measures a plan in place; None where the device is not here.
        progress: Told of it.
    """

    arena: Arena
    explorer: Explorer
    budget: int
    seed: int
    holds: Callable[[Proposal], bool]
    measure: Callable[[Proposal], Measurement] | None
    progress: Progress

    def challenge(self, problem: Problem, exact: Proposal, goal: Goal) -> Challenge:
        """Search, and let samples that no search has seen decide.

        Args:
            problem: With what is known of it.
            exact: The plan to beat.
            goal: What is sought; where that is not the least loss, the exact plan's is the limit.
        """
        margin = None
        if goal.objective is not Objective.DROP and not goal.weights:
            (loss,) = self.arena.judge([problem.plan(exact)])
            goal, margin = replace(goal, limits=replace(goal.limits, drop=loss)), MARGIN
        contest = Contest(self.arena, problem, goal, self.progress)
        trace = contest.explore(
            self.explorer, budget=self.budget, seed=self.seed, first=[exact.indices]
        )
        verdict = contest.last_word([trace], exact.indices, margin=margin)
        winner, text = self._winner(problem, exact, verdict)
        self.progress.note(text)
        return Challenge(trace, verdict, winner, text, self.arena.loss.name)

    def _winner(
        self, problem: Problem, exact: Proposal, verdict: Verdict | None
    ) -> tuple[Proposal | None, str]:
        """What replaces the exact plan, and why or why not."""
        if verdict is None:
            return None, "too few samples to tell a better plan from a lucky one: exact stays"
        if not verdict.replaced:
            return None, verdict.text()
        winner = problem.proposal(verdict.winner.indices, self.explorer.name)
        if not self.holds(winner):
            return None, f"{verdict.text()}, but its drop is not allowed: exact stays"
        if self.measure and problem.objective is Objective.LATENCY:
            ours, theirs = (self.measure(each).total_us for each in (winner, exact))
            if ours >= theirs:
                slower = f"{verdict.text()}, but not when measured: {ours:.0f} µs, exact "
                return None, f"{slower}{theirs:.0f} µs: exact stays"
        return winner, verdict.text()
