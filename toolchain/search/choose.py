"""Choosing a plan: the fastest of the Pareto front whose true drop is small enough."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from ..errors import ConstraintError
from ..plan import Plan
from .front import best, front, pareto
from .nearest import amounts, larger, unreachable
from .problem import COSTS, Objective, Problem, Proposal, Strategy, fp32_everywhere

EVALUATIONS = 16
WORTH = 0.005  # a plan that is less than this fraction better is not worth an evaluation

Score = Callable[[Plan], float]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan that may be delivered, with its true drop; None where it was not evaluated."""

    proposal: Proposal
    drop: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        candidates: For the gate to try in turn: the best plan first, then safer ones, all fp32
            last (even where it breaks a limit on latency or size: then the gate must say so).
        front: The Pareto front that they come from, with every plan that was added on the way.
        evaluations: How often the true drop was computed.
    """

    candidates: tuple[Candidate, ...]
    front: tuple[Proposal, ...]
    evaluations: int


def choose(
    problem: Problem,
    strategy: Strategy,
    *,
    score: Score,
    max_drop: float,
    evaluations: int = EVALUATIONS,
) -> Choice:
    """Find the best plan whose true drop is at most `max_drop`, with few evaluations.

    Predicted drops only order the plans: the first of the front whose true drop is at most
    `max_drop` is taken, and then plans between it and the one before it are tried. What is returned
    was itself evaluated (all fp32 drops nothing by definition).

    Args:
        problem: Its own limit on the drop is not used; the others are.
        strategy: Finds the plans.
        score: The true drop of a plan on the data for searching.
        max_drop: The largest true drop that will do.
        evaluations: About how many calls of `score` to spend; the front alone takes up to as many
            as it has points.

    Raises:
        ConstraintError: No plan meets the limits, or none that does keeps within `max_drop`; names
            the nearest.
    """
    plain = fp32_everywhere(problem)
    judge = _Judge(problem, score, max_drop, {plain.indices: 0.0})
    ladder = [p for p in front(problem, strategy) if p.indices != plain.indices]
    if problem.within(drop=inf).meets(plain):
        ladder.append(plain)
    if not ladder:
        raise unreachable(problem, strategy)
    # One by one: a true drop on a few hundred samples is not monotone enough to halve on.
    first = next((i for i, plan in enumerate(ladder) if judge.holds(plan)), len(ladder))
    if first == len(ladder):
        raise judge.nearest(ladder)
    if first > 0:
        ladder[first:first] = _refine(judge, strategy, ladder[first - 1 : first + 1], evaluations)
    safer = [p for p in ladder[first:] if p != plain and not judge.failed(p)]
    return Choice(
        candidates=tuple(Candidate(p, judge.drops.get(p.indices)) for p in (*safer, plain)),
        front=pareto([*ladder, plain], problem),
        evaluations=judge.evaluations,
    )


@dataclass(slots=True)
class _Judge:
    """Evaluates plans, each only once."""

    problem: Problem
    score: Score
    max_drop: float
    drops: dict[tuple[int, ...], float]
    evaluations: int = 0

    def holds(self, proposal: Proposal) -> bool:
        """Whether a plan's true drop will do."""
        if proposal.indices not in self.drops:
            self.drops[proposal.indices] = self.score(self.problem.plan(proposal))
            self.evaluations += 1
        return not self.failed(proposal)

    def failed(self, proposal: Proposal) -> bool:
        """Whether a plan was evaluated and drops too much (NaN is too much)."""
        drop = self.drops.get(proposal.indices)
        return drop is not None and not drop <= self.max_drop

    def nearest(self, ladder: list[Proposal]) -> ConstraintError:
        """The error that names the plan with the least true drop."""
        limited = [f for f in COSTS if self.problem.limit(f) < inf]
        tried = [p for p in ladder if p.indices in self.drops]
        proposal = min(tried, key=lambda p: self.drops[p.indices])
        return ConstraintError(
            f"no plan found keeps the drop within {self.max_drop:.3%}: the nearest drops "
            f"{self.drops[proposal.indices]:.3%}, with {amounts(proposal)}",
            larger([Objective.DROP, *limited]),
        )


def _refine(
    judge: _Judge, strategy: Strategy, bracket: list[Proposal], evaluations: int
) -> list[Proposal]:
    """Plans that hold and are better than the second of the bracket; the best first.

    The first of the bracket fails. Each round asks the strategy for its best plan at the middle of
    the predicted drops that are still open.
    """
    failing, holding = bracket
    value = judge.problem.value
    if judge.problem.sensitivity is None or not judge.problem.trades:
        return []
    found: list[Proposal] = []
    floor, ceiling = holding.figure(Objective.DROP), failing.figure(Objective.DROP)
    goal = value(failing)
    for _ in range(evaluations - judge.evaluations):
        if value(holding) * (1.0 - WORTH) < goal:
            break
        middle = (floor + ceiling) / 2.0
        proposal = best(judge.problem.within(drop=middle), strategy)
        if proposal is None or value(proposal) >= value(holding):
            floor = middle
        elif judge.holds(proposal):
            holding, floor = proposal, middle
            found.insert(0, proposal)
        else:
            ceiling, goal = proposal.figure(Objective.DROP), value(proposal)
    return found
