"""The cheapest completion of a plan from any state, so that a budget is kept step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ..problem import Floats, Indices, Objective, Problem
from .frontier import MOST_STATES, Frontier

_GRID = 8  # weights of several limited figures are eighths
_TRADES = np.array(
    [*np.geomspace(1e-3, 1e4, 8), 1e9]
)  # weights of the objective, in units of its range
_FINER = 3  # times that the widest gaps between ways are split, with one limited figure
_SPLIT = 8  # gaps at a time
_FLOOR = 1e-7  # of the range of the objective: less is as good as none
_TIE = 1e-9  # weight of the objective where only the limits count: it decides between equals
_LEAST = 1e-3  # weight of a limited figure where others count
_ROUNDS = 3  # in which a settled frontier finds a better reference


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """P ways to finish a plan from each of J states, and what each takes of R figures.

    The figures are the limited ones and, last, the objective. A way is a rule from state to choice:
    the least weighted sum of the figures. Who follows it from a state pays exactly `togo`, and
    after its first step `togo` of the next state is the rest; so a plan that some way finishes
    within its limits at one step has a choice left at the next. The first ways minimise limited
    figures alone: with one of them, the very first is the cheapest completion there is.

    Attributes:
        problem: Whose plans they are.
        frontier: The states.
        limited: The limited figures.
        objective: The figure to be kept low within them.
        price: What each choice takes by itself; shape (S, K, R), infinite where it is not legal.
        charges: Whether a conversion is charged to each figure; shape (R,).
        togo: What is paid from each state on; shape (J, P, R).
        ways: The choice that each way takes; shape (J, P).
        fixed: What every plan pays; shape (R,).
        frugal: How many of the first ways minimise limited figures alone.
    """

    problem: Problem
    frontier: Frontier
    limited: tuple[Objective, ...]
    objective: Objective
    price: Floats
    charges: npt.NDArray[np.bool_]
    togo: Floats
    ways: npt.NDArray[np.intp]
    fixed: Floats
    frugal: int

    @classmethod
    def of(
        cls,
        problem: Problem,
        limited: Sequence[Objective] = (Objective.LATENCY,),
        *,
        objective: Objective = Objective.DROP,
        reference: Indices | None = None,
        most: int = MOST_STATES,
    ) -> "Bounds":
        """Find the ways to finish.

        Args:
            problem: Its legal choices count, not its limits.
            limited: The figures that will be limited.
            objective: The figure to be kept low.
            reference: A plan that shall be finished at its true price even where the states had to
                be settled; shape (S,). None: one is found.
            most: How many states there may be before one slot.
        """
        figures = (*limited, objective)
        weights = _weights(len(limited))
        bounds = cls._over(problem, figures, Frontier.of(problem, reference, most=most), weights)
        for _ in range(0 if bounds.frontier.exact or reference is not None else _ROUNDS):
            frontier = Frontier.of(problem, bounds.plans()[0], most=most)
            bounds = cls._over(problem, figures, frontier, weights)
        for _ in range(_FINER if len(limited) == 1 else 0):
            finer = _split(weights, bounds.totals() / _ranges(bounds.price))
            weights = np.concatenate([weights, finer])
            bounds = cls._over(problem, figures, bounds.frontier, weights)
        return bounds

    @classmethod
    def _over(
        cls,
        problem: Problem,
        figures: tuple[Objective, ...],
        frontier: Frontier,
        shares: Floats,
    ) -> "Bounds":
        price = np.stack([problem.tables[figure] for figure in figures], axis=-1)
        price[~problem.legal] = np.inf
        charges = np.array([figure is Objective.LATENCY for figure in figures])
        weights = shares / _ranges(price)
        togo = np.zeros((len(frontier.after), *weights.shape))
        ways = np.zeros(togo.shape[:2], np.intp)
        formats = problem.cost.wiring.formats
        for slot in reversed(range(len(price))):
            states = slice(frontier.starts[slot], frontier.starts[slot + 1])
            after = frontier.after[states][:, formats[slot]]
            us = frontier.boundary_us[states][:, formats[slot]]
            total = (price[slot] + us[..., None] * charges)[:, :, None] + togo[after]
            best = np.einsum("jkpr,pr->jkp", total, weights).argmin(axis=1)
            ways[states] = best
            togo[states] = np.take_along_axis(total, best[:, None, :, None], axis=1)[:, 0]
        *limited, objective = figures
        return cls(
            problem=problem,
            frontier=frontier,
            limited=tuple(limited),
            objective=objective,
            price=price,
            charges=charges,
            togo=togo,
            ways=ways,
            fixed=np.array([problem.constants[figure] for figure in figures]),
            frugal=int((shares[:, -1] == _TIE).sum()),
        )

    def totals(self) -> Floats:
        """What each way takes from the start, with what every plan pays; shape (P, R)."""
        totals: Floats = self.togo[0] + self.fixed
        return totals

    def worst(self) -> float:
        """The objective with every slot at its worst, or 1."""
        own = self.price[..., -1]
        return float(np.where(np.isfinite(own), own, 0.0).max(axis=1).sum()) or 1.0

    def plans(self) -> Indices:
        """The plan of each way from the start; shape (P, S).

        Each is the best plan there is within limits of what it takes itself.
        """
        count = self.ways.shape[1]
        columns, state = np.arange(count), np.zeros(count, np.intp)
        plans = np.zeros((count, len(self.price)), np.intp)
        for slot in range(len(self.price)):
            plans[:, slot] = self.ways[state, columns]
            taken = self.problem.cost.wiring.formats[slot, plans[:, slot]]
            state = self.frontier.after[state, taken]
        return plans


def _ranges(price: Floats) -> Floats:
    """How far apart plans are in each figure; shape (R,)."""
    finite = np.isfinite(price)
    most = np.where(finite, price, -np.inf).max(axis=1).sum(axis=0)
    least = np.where(finite, price, np.inf).min(axis=1).sum(axis=0)
    span: Floats = np.maximum(most - least, 1e-9 * np.abs(most))
    return np.where(span > 0.0, span, 1.0)


def _weights(limited: int) -> Floats:
    """Weights of limited figures and, last, of the objective; shape (P, limited + 1)."""
    steps = [w for w in product(range(_GRID + 1), repeat=limited) if sum(w) == _GRID]
    grid = np.maximum(np.array(steps, float) / _GRID, _LEAST)
    trades = np.array([_TIE, *_TRADES])
    column = np.repeat(trades, len(grid))[:, None]
    return np.concatenate([np.tile(grid, (len(trades), 1)), column], axis=1)


def _split(weights: Floats, totals: Floats) -> Floats:
    """Weights (_SPLIT, 2) that find a way between two neighbours if there is one; from (P, 2) each.

    The weighted sum that is equal for both has its least where the front between them is lowest
    (Cohon, Church and Sheer, 1979: the noninferior set estimation method).
    """
    order = np.lexsort((weights[:, 1], totals[:, 0]))
    rise, fall = np.diff(totals[order], axis=0).T * [[1.0], [-1.0]]
    worth = rise * np.log((totals[order][:-1, 1] + _FLOOR) / (totals[order][1:, 1] + _FLOOR))
    widest = np.argsort(-worth, kind="stable")[:_SPLIT]
    open_gaps = (rise[widest] > _TIE) & (fall[widest] > _TIE)
    trades = rise[widest] / np.where(open_gaps, fall[widest], 1.0)
    found = np.stack([np.ones(len(trades)), trades], axis=1)
    return np.where(open_gaps[:, None], found, weights[-1])
