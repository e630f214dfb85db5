"""A weighted sum as problems with one objective each: what a policy was trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations

from ..problem import Objective, Problem, Proposal

_STEPS = (0.25, 0.5, 0.75)  # of the way between the two plans that are best in one figure each


def corners(problem: Problem) -> list[Problem]:
    """The problems to minimise one figure of the sum alone; the problem itself if it has no sum."""
    if not problem.weights:
        return [problem]
    return [_alone(problem, figure) for figure in problem.terms]


def between(problem: Problem, found: Sequence[Proposal]) -> Iterator[Problem]:
    """Problems to minimise one figure of the sum within limits on another.

    Args:
        problem: The weighted sum.
        found: The best plan for each of its figures alone, in the order of `problem.terms`.
    """
    best = dict(zip(problem.terms, found, strict=True))
    for one, other in permutations(best, 2):
        least, most = (best[figure].figure(other) for figure in (other, one))
        for step in _STEPS if least < most else ():
            limit = min(problem.limit(other), least + step * (most - least))
            alone = _alone(problem, one)
            yield replace(alone, limits=alone.limits.at(other, limit))


def _alone(problem: Problem, figure: Objective) -> Problem:
    return replace(problem, objective=figure, weights=())
