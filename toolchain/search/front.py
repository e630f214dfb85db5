"""The Pareto front: from the best plan with no regard for accuracy to the safest."""

from collections.abc import Iterable
from math import inf

from .problem import Objective, Problem, Proposal, Strategy

POINTS = 12


def pareto(proposals: Iterable[Proposal], problem: Problem) -> tuple[Proposal, ...]:
    """The proposals that none beats in both what a problem minimises and the drop, best first."""
    kept: list[Proposal] = []
    order = sorted(proposals, key=lambda p: (problem.value(p), p.figure(Objective.DROP)))
    for proposal in order:
        if not kept or proposal.figure(Objective.DROP) < kept[-1].figure(Objective.DROP):
            kept.append(proposal)
    return tuple(kept)


def best(problem: Problem, strategy: Strategy) -> Proposal | None:
    """A strategy's best proposal; None where it finds no plan within the limits."""
    return min(
        strategy.propose(problem),
        key=lambda p: (problem.value(p), p.figure(Objective.DROP)),
        default=None,
    )


def front(problem: Problem, strategy: Strategy, *, points: int = POINTS) -> tuple[Proposal, ...]:
    """The trade of what is minimised (such as the latency) against the drop, within other limits.

    The limit on the drop is swept, whatever the problem's own is: from none down in halves, since
    a few slots carry most of the sensitivity, and at last to 0. Where the objective is the drop
    itself, or sensitivities were not measured, there is no trade: only the best plan.

    Returns:
        Up to `points` proposals, the best objective and the largest drop first; none where no plan
        meets the other limits.
    """
    if not problem.trades:
        return pareto(strategy.propose(problem), problem)
    first = best(problem.within(drop=inf), strategy)
    if first is None:
        return ()
    if problem.sensitivity is None:
        return (first,)
    most = first.figure(Objective.DROP)
    found = [first]
    for drop in [*(most / 2**i for i in range(1, points - 1)), 0.0][: max(0, points - 1)]:
        found += strategy.propose(problem.within(drop=drop))
    return pareto(found, problem)
