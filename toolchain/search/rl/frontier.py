"""What a choice costs after any choices before it: a finite automaton over the open tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...latency.wiring import FORMATS, Wiring
from ..problem import Floats, Indices, Problem

MOST_STATES = 1 << 11  # before one slot; the usual networks have up to 1,100 with four formats

_COUNT = len(FORMATS)
_FP32 = 0
_BITS = 7  # of a code
_PACKED = 5  # codes in one key, beside up to 2^28 rows
_UNKNOWN = _COUNT  # stands for the format of a tensor that was settled early

Codes = npt.NDArray[np.intp]
Columns = dict[int, Codes]


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """J states: what the tensors that are still to be read were written and converted in.

    Slots are decided in topological order. The states before slot s are `starts[s]` up to
    `starts[s + 1]`; the first and the last step have one state each. What a choice pays for
    conversions depends on the state and on the choice's format alone, so summing `boundary_us`
    along a plan gives what the cost model charges for it.

    Where more than `MOST_STATES` would be needed, the tensors that stay open longest are settled
    early: converted to the formats in which the readers of a reference plan want them; a reader
    that wants another pays the dearest conversion into it. The reference is then charged its true
    price and no plan is charged less than that.

    Attributes:
        starts: The first state before each slot and, last, the state after all; shape (S + 1,).
        after: The state after a slot takes a format; shape (J, F). The last state leads to itself.
        boundary_us: What is paid then for conversions, in microseconds; shape (J, F).
        exact: Whether every plan is charged its true price.
    """

    starts: npt.NDArray[np.intp]
    after: npt.NDArray[np.intp]
    boundary_us: Floats
    exact: bool

    @classmethod
    def of(
        cls, problem: Problem, reference: Indices | None = None, *, most: int = MOST_STATES
    ) -> "Frontier":
        """Lay out the states of a problem.

        Args:
            problem: The slots, their legal choices and the tensors between them.
            reference: The plan whose price is exact in any case, shape (S,); None: all fp32.
            most: How many states there may be before one slot.
        """
        builder = _Builder.of(problem, reference, most)
        for slot in range(len(problem.graph.slots)):
            builder.decide(slot)
        end = builder.starts[-1]
        after = [*builder.after, np.full((1, _COUNT), end)]
        boundary = [*builder.boundary_us, np.zeros((1, _COUNT))]
        return cls(
            np.array(builder.starts), np.concatenate(after), np.concatenate(boundary), builder.exact
        )


@dataclass(slots=True)
class _Builder:
    """Grows the states slot by slot.

    A tensor's code is (format it was written in) * 2^F + (formats it was converted to, as bits).

    Attributes:
        due: What one more format of a tensor costs; shape (E', (F + 1) * 2^F, F).
        reads: The tensors that each slot reads.
        writes: The tensors that each slot writes.
        wanted: For each tensor, its readers and the formats that each may want, as bits.
        kept: The same as `wanted` under the reference plan.
        legal: The formats that each slot may take.
        outputs: Which tensors leave the graph.
        open: The code of each open tensor in each state before the next slot.
    """

    due: Floats
    reads: Sequence[Sequence[int]]
    writes: Sequence[Sequence[int]]
    wanted: Sequence[Sequence[tuple[int, int]]]
    kept: Sequence[Sequence[tuple[int, int]]]
    legal: Sequence[Sequence[int]]
    outputs: frozenset[int]
    most: int
    open: Columns
    states: int = 1
    starts: list[int] = field(default_factory=lambda: [0])
    after: list[Codes] = field(default_factory=list)
    boundary_us: list[Floats] = field(default_factory=list)
    exact: bool = True

    @classmethod
    def of(cls, problem: Problem, reference: Indices | None, most: int) -> "_Builder":
        wiring = problem.cost.wiring
        slots = len(problem.graph.slots)
        legal = [
            sorted({int(f) for f in wiring.formats[s][problem.legal[s]]}) for s in range(slots)
        ]
        if not all(legal):
            raise ValueError(f"slot {legal.index([])} has no legal choice")
        plan = np.zeros(slots, np.intp) if reference is None else np.asarray(reference)
        chosen = wiring.formats[np.arange(slots), plan]
        masks = [sum(1 << f for f in formats) for formats in legal]
        reads: list[list[int]] = [[] for _ in range(slots + 1)]
        writes: list[list[int]] = [[] for _ in range(slots + 1)]
        wanted: list[list[tuple[int, int]]] = [[] for _ in wiring.edges]
        kept: list[list[tuple[int, int]]] = [[] for _ in wiring.edges]
        for edge, producer in enumerate(wiring.producers):
            writes[producer].append(edge)
        for edge, reader in zip(wiring.owners, wiring.readers, strict=True):
            reads[reader].append(int(edge))
            if reader < slots:
                if slots > wiring.producers[edge] >= reader:
                    raise ValueError("the slots are not in topological order")
                wanted[edge].append((int(reader), masks[reader]))
                kept[edge].append((int(reader), 1 << int(chosen[reader])))
        outputs = frozenset(reads[slots])
        builder = cls(
            _due(wiring, problem.cost.boundary_us),
            reads,
            writes,
            wanted,
            kept,
            legal,
            outputs,
            most,
            {},
        )
        inputs = {e: np.full(1, _FP32 << _COUNT, np.intp) for e in writes[slots]}
        builder.open = {e: code for e, code in inputs.items() if wanted[e]}
        return builder

    def decide(self, slot: int) -> None:
        """Append the transitions of the states before a slot, and find the states after it."""
        steps = [self._step(slot, f) for f in self.legal[slot]]
        costs = np.concatenate([cost for cost, _ in steps])
        columns = {e: np.concatenate([c[e] for _, c in steps]) for e in steps[0][1]}
        columns, index = self._merge(columns, costs, slot)
        start = self.starts[-1] + self.states
        after = np.full((self.states, _COUNT), start, np.intp)
        boundary = np.zeros((self.states, _COUNT))
        after[:, self.legal[slot]] = start + index.reshape(-1, self.states).T
        boundary[:, self.legal[slot]] = costs.reshape(-1, self.states).T
        self.after.append(after)
        self.boundary_us.append(boundary)
        self.starts.append(start)
        self.open, self.states = columns, int(index.max()) + 1

    def _step(self, slot: int, taken: int) -> tuple[Floats, Columns]:
        """What each state pays where a slot takes a format, and the codes after it."""
        cost = np.zeros(self.states)
        columns = dict(self.open)
        for edge in self.reads[slot]:
            cost += self.due[edge][columns[edge], taken]
            columns[edge] = columns[edge] | 1 << taken
        for edge in self.writes[slot]:
            code = taken << _COUNT
            if edge in self.outputs:
                cost += self.due[edge, code, _FP32]
                code |= 1 << _FP32
            columns[edge] = np.full(self.states, code)
        for edge in (*self.reads[slot], *self.writes[slot]):
            still = _union(self.wanted[edge], slot)
            if still:
                columns[edge] = self._alike(edge, still)[columns[edge]]
            else:
                del columns[edge]
        return cost, columns

    def _alike(self, edge: int, still: int) -> Codes:
        """The first of the codes in which every format still wanted costs the same."""
        formats = [f for f in range(_COUNT) if still >> f & 1]
        _, first, inverse = np.unique(
            self.due[edge][:, formats], axis=0, return_index=True, return_inverse=True
        )
        alike: Codes = first[inverse.reshape(-1)]
        return alike

    def _merge(self, columns: Columns, costs: Floats, slot: int) -> tuple[Columns, Codes]:
        """The distinct states, and which of them each row is; settles tensors while too many."""
        waiting = sorted(columns, key=lambda e: self.wanted[e][-1][0])
        while True:
            first, index = _distinct(columns, len(costs))
            if len(first) <= self.most or not waiting:
                return {e: codes[first] for e, codes in columns.items()}, index
            edge = waiting.pop()
            self.exact = False
            formats = _union(self.kept[edge], slot)
            for f in range(_COUNT):
                if formats >> f & 1:
                    costs += self.due[edge][columns[edge], f]
            columns[edge] = np.full(len(costs), _UNKNOWN << _COUNT | formats)


def _distinct(columns: Columns, rows: int) -> tuple[Codes, Codes]:
    """Where each distinct row stands first, and which of them each row is."""
    first, index = np.zeros(1, np.intp), np.zeros(rows, np.intp)
    codes = list(columns.values())
    for start in range(0, len(codes), _PACKED):
        key = index
        for column in codes[start : start + _PACKED]:
            key = key << _BITS | column
        _, first, index = np.unique(key, return_index=True, return_inverse=True)
    return first, index


def _union(readers: Sequence[tuple[int, int]], slot: int) -> int:
    """The formats that the readers after a slot may want, as bits."""
    bits = 0
    for reader, mask in readers:
        bits |= mask if reader > slot else 0
    return bits


def _due(wiring: Wiring, boundary_us: Floats) -> Floats:
    """What each tensor still charges for a format, by its code; shape (E', (F + 1) * 2^F, F)."""
    us = boundary_us[wiring.edges] * (1.0 - np.eye(_COUNT))
    known = np.concatenate([us, us.max(axis=1, keepdims=True)], axis=1)
    bits = np.arange(1 << _COUNT)[:, None] >> np.arange(_COUNT) & 1
    due: Floats = known[:, :, None, :] * (1 - bits)
    return due.reshape(len(us), (_COUNT + 1) << _COUNT, _COUNT)
