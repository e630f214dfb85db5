"""The cheapest completion of a plan from any state, so that a budget is kept step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ..problem import Floats, Indices, Objective, Problem
from .frontier import MOST_STATES, Frontier

_GRID = 8  # weights of several figures are eighths
_LEAST = 1e-3  # of a figure that a way to finish does not care about: it decides between equals
_ROUNDS = 3  # in which a settled frontier finds a better reference


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """P ways to finish a plan from each of J states, and what each takes of R limited figures.

    With one figure there is one way, the cheapest. With several there is one for each of a grid of
    weights, the least weighted sum. A way is a rule from state to choice: who follows it from a
    state pays exactly `togo`, and after its first step `togo` of the next state is the rest. So a
    plan that some way finishes within its limits at one step has a choice left at the next.

    Attributes:
        problem: Whose plans they are.
        frontier: The states.
        resources: The R figures.
        price: What each choice takes by itself; shape (S, K, R), infinite where it is not legal.
        charges: Whether a conversion is charged to each figure; shape (R,).
        togo: What is paid from each state on; shape (J, P, R).
        ways: The choice that each way takes; shape (J, P).
        fixed: What every plan pays; shape (R,).
    """

    problem: Problem
    frontier: Frontier
    resources: tuple[Objective, ...]
    price: Floats
    charges: npt.NDArray[np.bool_]
    togo: Floats
    ways: npt.NDArray[np.intp]
    fixed: Floats

    @classmethod
    def of(
        cls,
        problem: Problem,
        resources: Sequence[Objective] = (Objective.LATENCY,),
        *,
        weights: Floats | None = None,
        reference: Indices | None = None,
        most: int = MOST_STATES,
    ) -> "Bounds":
        """Find the ways to finish.

        Args:
            problem: Its legal choices count, not its limits.
            resources: The figures that will be limited.
            weights: One way for each row of weights, each figure in units of its range; shape
                (P, R). None: a grid.
            reference: A plan that shall be finished at its true price even where the states had to
                be settled; shape (S,).
            most: How many states there may be before one slot.
        """
        weights = _grid(len(resources)) if weights is None else np.asarray(weights, float)
        bounds = cls._over(problem, resources, weights, Frontier.of(problem, reference, most=most))
        for _ in range(0 if bounds.frontier.exact or reference is not None else _ROUNDS):
            better = Frontier.of(problem, bounds.cheapest(), most=most)
            bounds = cls._over(problem, resources, weights, better)
        return bounds

    @classmethod
    def _over(
        cls,
        problem: Problem,
        resources: Sequence[Objective],
        weights: Floats,
        frontier: Frontier,
    ) -> "Bounds":
        price = np.stack([_table(problem, r) for r in resources], axis=-1)
        price[~problem.legal] = np.inf
        charges = np.array([r is Objective.LATENCY for r in resources])
        fixed = {Objective.LATENCY: problem.cost.fixed_us, Objective.SIZE: problem.fixed_size}
        units = weights / _ranges(price)
        togo = np.zeros((len(frontier.after), len(weights), len(resources)))
        ways = np.zeros(togo.shape[:2], np.intp)
        formats = problem.cost.wiring.formats
        for slot in reversed(range(len(price))):
            states = slice(frontier.starts[slot], frontier.starts[slot + 1])
            after = frontier.after[states][:, formats[slot]]
            us = frontier.boundary_us[states][:, formats[slot]]
            paid = price[slot] + us[..., None] * charges
            total = paid[:, :, None] + togo[after]  # (states, K, P, R)
            best = np.einsum("jkpr,pr->jkp", total, units).argmin(axis=1)
            ways[states] = best
            togo[states] = np.take_along_axis(total, best[:, None, :, None], axis=1)[:, 0]
        start = np.array([float(fixed.get(r, 0.0)) for r in resources])
        return cls(problem, frontier, tuple(resources), price, charges, togo, ways, start)

    def least(self) -> Floats:
        """What each way takes from the start, with what every plan pays; shape (P, R)."""
        least: Floats = self.togo[0] + self.fixed
        return least

    def plans(self) -> Indices:
        """The plan of each way from the start; shape (P, S)."""
        count = self.ways.shape[1]
        columns = np.arange(count)
        state = np.zeros(count, np.intp)
        plans = np.zeros((count, len(self.price)), np.intp)
        for slot in range(len(self.price)):
            plans[:, slot] = self.ways[state, columns]
            taken = self.problem.cost.wiring.formats[slot, plans[:, slot]]
            state = self.frontier.after[state, taken]
        return plans

    def cheapest(self) -> Indices:
        """The plan of the way that takes least of the first figure; shape (S,)."""
        plan: Indices = self.plans()[self.least()[:, 0].argmin()]
        return plan


def _table(problem: Problem, resource: Objective) -> Floats:
    """What each choice takes of a figure; shape (S, K)."""
    match resource:
        case Objective.LATENCY:
            return problem.cost.node_us.copy()
        case Objective.SIZE:
            return problem.sizes.astype(float)
        case Objective.DROP:
            return problem.drops.copy()


def _ranges(price: Floats) -> Floats:
    """How far apart plans are in each figure; shape (R,)."""
    finite = np.isfinite(price)
    most = np.where(finite, price, -np.inf).max(axis=1).sum(axis=0)
    least = np.where(finite, price, np.inf).min(axis=1).sum(axis=0)
    span: Floats = np.maximum(most - least, 1e-9 * np.abs(most))
    return np.where(span > 0.0, span, 1.0)


def _grid(count: int) -> Floats:
    """Weights of `count` figures that add up to 1, each above 0; shape (P, count)."""
    steps = [w for w in product(range(_GRID + 1), repeat=count) if sum(w) == _GRID]
    return np.maximum(np.array(steps, float) / _GRID, _LEAST)
