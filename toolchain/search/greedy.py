"""Greedy search: one slot at a time, always the change that pays most for what it costs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .problem import Floats, Indices, Objective, Problem, Proposal, allowed, choices_of
from .uniform import uniform

_LEAST = 1e-12  # a gain below this fraction of the figure is rounding


@dataclass(frozen=True, slots=True)
class Greedy:
    """From each uniform plan, changes single slots until the limits hold and nothing gains.

    Starting from every precision matters: a run of int8 kernels pays only as a whole, so from
    fp32 the first change alone would look like a loss.
    """

    name: str = "greedy"

    def propose(self, problem: Problem) -> Iterator[Proposal]:
        """One proposal for each start that ends within the limits."""
        for choice in choices_of(problem):
            plan = _improve(problem, _repair(problem, uniform(problem, choice)))
            proposal = problem.proposal(plan, self.name)
            if problem.meets(proposal):
                yield proposal


@dataclass(frozen=True, slots=True)
class _Moves:
    """What every change of one slot does to a plan.

    Attributes:
        deltas: Change of each figure; shapes (S, K).
        value: Change of what is minimised; shape (S, K).
        excess: How far a plan is over its limits after the change, summed over the limits, each
            as a fraction of itself; shape (S, K). Infinite for an illegal choice.
        excess_now: The same before any change.
    """

    deltas: Mapping[Objective, Floats]
    value: Floats
    excess: Floats
    excess_now: float

    @classmethod
    def of(cls, problem: Problem, plan: Indices) -> "_Moves":
        now, deltas = problem.figures(plan[None]), problem.deltas(plan)
        value = np.sum([w * deltas[figure] for figure, w in problem.terms.items()], axis=0)
        excess = np.zeros(problem.legal.shape)
        excess_now = 0.0
        for figure, delta in deltas.items():
            limit = problem.limit(figure)
            if limit < np.inf:
                unit, most = abs(limit) or 1.0, allowed(limit)
                excess += np.maximum(0.0, now[figure] + delta - most) / unit
                excess_now += max(0.0, float(now[figure][0]) - most) / unit
        return cls(deltas, value, np.where(problem.legal, excess, np.inf), excess_now)


def _repair(problem: Problem, plan: Indices) -> Indices:
    """Bring a plan within the limits: most excess removed for each unit of the objective lost."""
    for _ in range(problem.sizes.size):
        moves = _Moves.of(problem, plan)
        gain = moves.excess_now - moves.excess
        best = _best(gain, moves.value, least=_LEAST * moves.excess_now)
        if best is None:
            break
        plan = _changed(plan, *best)
    return plan


def _improve(problem: Problem, plan: Indices) -> Indices:
    """Better the objective within the limits: most gained for each unit of accuracy lost."""
    for _ in range(problem.sizes.size):
        moves = _Moves.of(problem, plan)
        value = problem.value(problem.proposal(plan, ""))
        gain = np.where(moves.excess > 0.0, -np.inf, -moves.value)
        price = moves.deltas[Objective.DROP] if problem.trades else np.zeros_like(gain)
        best = _best(gain, price, least=_LEAST * abs(value))
        if best is None:
            break
        plan = _changed(plan, *best)
    return plan


def _best(gain: Floats, price: Floats, *, least: float) -> tuple[int, int] | None:
    """The slot and choice of the highest gain per price; what is free comes first."""
    pays = gain > max(least, 0.0)
    if not pays.any():
        return None
    smallest = np.abs(price[np.isfinite(price)]).max(initial=0.0) * _LEAST or 1.0
    ratio = np.where(pays, gain, 0.0) / np.maximum(price, smallest)
    slot, choice = np.unravel_index(np.argmax(np.where(pays, ratio, -np.inf)), gain.shape)
    return int(slot), int(choice)


def _changed(plan: Indices, slot: int, choice: int) -> Indices:
    changed = plan.copy()
    changed[slot] = choice
    return changed
