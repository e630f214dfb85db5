"""What to tell a user whose limits no plan meets: the plan that is nearest."""

from collections.abc import Iterable
from dataclasses import replace
from math import inf

from ..errors import ConstraintError
from .front import best
from .problem import COSTS, Limits, Objective, Problem, Proposal, Strategy, allowed

_UNITS = {
    Objective.LATENCY: (1e3, "ms"),
    Objective.SIZE: (1e6, "MB"),
    Objective.ENERGY: (1e3, "mJ"),
}


def unreachable(problem: Problem, strategy: Strategy) -> ConstraintError:
    """The error for limits that no plan meets, whatever it drops."""
    limited = [figure for figure in COSTS if problem.limit(figure) < inf]
    if not limited:
        return ConstraintError("no plan was found, though nothing is limited")
    hint = f"{larger(limited)}, or choose another device"
    for figure in limited:
        nearest = best(replace(problem, limits=Limits(), objective=figure, weights=()), strategy)
        if nearest is not None and nearest.figure(figure) > allowed(problem.limit(figure)):
            wanted = amount(figure, problem.limit(figure))
            return ConstraintError(
                f"no plan has a predicted {figure} of {wanted}: the nearest has {amounts(nearest)}",
                hint,
            )
    wanted = " and ".join(amount(figure, problem.limit(figure)) for figure in limited)
    first = limited[0]
    others = problem.limits.at(Objective.DROP, inf).at(first, inf)
    nearest = best(replace(problem, limits=others, objective=first, weights=()), strategy)
    found = f"the least {first} beside the rest has {amounts(nearest)}" if nearest else "none found"
    return ConstraintError(f"no plan has {wanted} at once: {found}", hint)


def larger(limited: Iterable[Objective]) -> str:
    """The hint for limits that are too tight; empty where nothing is limited."""
    options = " or ".join(f"--max-{figure}" for figure in limited)
    return f"allow a larger {options}" if options else ""


def amounts(proposal: Proposal) -> str:
    """What a plan takes, as far as it is known."""
    known = [f for f in COSTS if f is not Objective.ENERGY or proposal.predicted_uj is not None]
    *most, last = (amount(figure, proposal.figure(figure)) for figure in known)
    return f"a predicted {', '.join(most)} and {last}"


def amount(figure: Objective, value: float) -> str:
    """A latency, a size or an energy with its unit."""
    scale, unit = _UNITS[figure]
    return f"{value / scale:.4g} {unit}"
