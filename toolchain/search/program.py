"""A search problem as a mixed-integer linear program over slots and format changes."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..latency.wiring import FORMATS
from ..plan import Precision
from .problem import Floats, Objective, Problem, allowed

_OBJECTIVE_SCALE = 1e3  # HiGHS stops at an absolute gap of 1e-6: keep coefficients well above it
_OPTIMAL = 0  # status of scipy.optimize.milp
_FP32 = FORMATS.index(Precision.FP32)

Terms = dict[int, float]  # a linear expression: coefficient by variable, the constant under -1
Formats = dict[int, Terms]  # X[slot, f] of one slot, by format
CONSTANT = -1


@dataclass(frozen=True, slots=True)
class Solution:
    """The index of each slot's choice, and whether nothing better exists."""

    indices: tuple[int, ...]
    optimal: bool


@dataclass(slots=True)
class Program:
    """Minimise the sum of terms[f] figures[f] over f subject to rows, expression >= 0 each.

    Variables: x[s, k], binary: slot s takes choice k. b[e, p, f] in [0, 1]: the producer of edge e
    writes format p, and a consumer wants f. With X[s, f] the sum of x[s, k] over the choices of
    format f, the rows are: one choice a slot; b[e, p, f] <= X[producer, p]; for every consumer c of
    e, X[c, f] <= X[producer, f] + sum over p of b[e, p, f]; one for each limit. Integral x then
    force every conversion that the cost model charges, once for all consumers. This is tighter than
    b >= X[producer, p] + X[consumer, f] - 1 and has integral solutions on chains.

    Attributes:
        choices: The slot and choice of each x; they come first among the variables.
        figures: Each figure as an expression.
        terms: What each of them adds to what is minimised, for a figure of 1.
        rows: The inequalities.
        picks: For each slot, the variables of which exactly one is 1.
        variables: How many there are.
    """

    choices: list[tuple[int, int]]
    figures: Mapping[Objective, Terms]
    terms: Mapping[Objective, float]
    picks: list[list[int]]
    rows: list[Terms] = field(default_factory=list)
    variables: int = 0

    @classmethod
    def of(cls, problem: Problem) -> "Program":
        """State a problem."""
        possible = _possible(problem)
        choices = [(int(s), int(k)) for s, k in np.argwhere(possible)]
        picks: list[list[int]] = [[] for _ in problem.graph.slots]
        for x, (slot, _) in enumerate(choices):
            picks[slot].append(x)
        figures: dict[Objective, Terms] = {
            figure: {x: float(table[choice]) for x, choice in enumerate(choices)}
            | {CONSTANT: problem.constants[figure]}
            for figure, table in problem.tables.items()
        }
        program = cls(choices, figures, problem.terms, picks, variables=len(choices))
        wiring = problem.cost.wiring
        readers = np.split(wiring.readers, wiring.starts[1:])
        for edge, producer, slots in zip(wiring.edges, wiring.producers, readers, strict=False):
            written = program._formats(problem, producer)
            read = [program._formats(problem, slot) for slot in slots]
            program._add_edge(problem.cost.boundary_us[edge], written, read)
        for objective, expression in figures.items():
            limit = problem.limit(objective)
            if limit < np.inf:
                row = {x: -value for x, value in expression.items()}
                program.rows.append(row | {CONSTANT: row[CONSTANT] + limit})
        return program

    def solve(self, seconds: float) -> Solution | None:
        """The best choice of every slot; None where there is none or none was found in time."""
        from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415 - 0.3 s to import

        if not all(self.picks):
            return None
        if not self.variables:
            return Solution((), optimal=True)
        costs = np.zeros(self.variables)
        for figure, weight in self.terms.items():
            expression = self.figures[figure]
            costs += [weight * expression.get(x, 0.0) for x in range(self.variables)]
        matrix, lower, upper = self._matrix()
        with _silent():
            result = milp(
                costs / (np.abs(costs).max() or 1.0) * _OBJECTIVE_SCALE,
                integrality=np.arange(self.variables) < len(self.choices),
                bounds=Bounds(0.0, 1.0),
                constraints=LinearConstraint(matrix, lower, upper),
                options={"time_limit": seconds, "mip_rel_gap": 0.0},
            )
        if result.x is None:
            return None
        chosen = [max(pick, key=lambda x: result.x[x]) for pick in self.picks]
        return Solution(tuple(self.choices[x][1] for x in chosen), result.status == _OPTIMAL)

    def _add_edge(self, us: Floats, written: Formats, read: list[Formats]) -> None:
        """The variables and rows of one tensor between slots; `us` has shape (F, F)."""
        for after in {f for formats in read for f in formats}:
            supply = dict(written.get(after, {}))
            for before, terms in written.items():
                if before != after:
                    conversion = self.variables
                    self.variables += 1
                    self.figures[Objective.LATENCY][conversion] = float(us[before, after])
                    self.rows.append(terms | {conversion: -1.0})
                    supply[conversion] = 1.0
            self.rows += [_difference(supply, f[after]) for f in read if after in f]

    def _formats(self, problem: Problem, slot: int) -> Formats:
        """X[slot, f] for each format f that the slot, or the outside of the graph, may have."""
        if slot == len(self.picks):
            return {_FP32: {CONSTANT: 1.0}}
        formats: Formats = {}
        for x in self.picks[slot]:
            index = int(problem.cost.wiring.formats[self.choices[x]])
            formats.setdefault(index, {})[x] = 1.0
        return formats

    def _matrix(self) -> tuple[object, Floats, Floats]:
        """The rows as a sparse matrix with bounds, each scaled to a largest figure of 1."""
        from scipy.sparse import csr_array  # noqa: PLC0415 - with scipy.optimize

        entries: list[tuple[int, int, float]] = []
        lower: list[float] = []
        for row in self.rows:
            bound = row.get(CONSTANT, 0.0)
            scale = abs(bound) or max(map(abs, row.values()), default=0.0) or 1.0
            entries += [(len(lower), x, v / scale) for x, v in row.items() if x != CONSTANT]
            lower.append(-bound / scale)
        upper = [np.inf] * len(lower)
        for pick in self.picks:
            entries += [(len(lower), x, 1.0) for x in pick]
            lower.append(1.0)
            upper.append(1.0)
        where = np.array([(row, x) for row, x, _ in entries], np.intp).reshape(-1, 2)
        values = np.array([value for *_, value in entries])
        shape = (len(lower), self.variables)
        matrix = csr_array((values, (where[:, 0], where[:, 1])), shape=shape)
        return matrix, np.array(lower), np.array(upper)


def _possible(problem: Problem) -> npt.NDArray[np.bool_]:
    """The choices that some plan within the limits might have; shape (S, K).

    A choice that breaks a limit even where all other slots take their least is out. That matters
    for a limit of 0, where the solver's tolerance would let small figures pass.
    """
    possible = problem.legal
    for figure, table in problem.tables.items():
        limit = problem.limit(figure)
        if limit < np.inf:
            figures = np.where(possible, table, np.inf)
            least = figures.min(axis=1, initial=np.inf)
            room = allowed(limit) - problem.constants[figure] - least.sum()
            possible &= figures - np.where(np.isfinite(least), least, 0.0)[:, None] <= room
    return possible


def _difference(left: Terms, right: Terms) -> Terms:
    """The expression left - right."""
    return {x: left.get(x, 0.0) - right.get(x, 0.0) for x in left.keys() | right.keys()}


@contextmanager
def _silent() -> Iterator[None]:
    """Keep HiGHS off the terminal: it prints left-over debug lines to file descriptor 1 itself."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
