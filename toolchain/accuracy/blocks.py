"""Runs plans block by block, and remembers what comes out of the blocks that they share."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..engine import Array, Feeds, Runner
from ..errors import BackendError
from ..plan import NodeChoice, Plan
from .cuts import Cuts
from .lru import Lru
from .metric import Outputs
from .regions import Outline, Regions, Writer
from .samples import Samples, each

ACTIVATIONS = 512 * 2**20  # bytes
SESSIONS = 256 * 2**20  # bytes of weights
_SESSION = 64 * 2**10  # bytes that a session takes beside its weights, roughly
_RECENT = 256  # plans that a new one may be near to
_BEFORE = 0.2  # of the work, before the first change from another plan: then blocks pay
_EQUAL = 0.75  # of the work, in blocks that are as in another plan: then blocks pay, too
_TOLERANCE = 1e-3  # of the largest output: beyond it, blocks do not compute what the whole does
_AT_ONCE = 32  # samples that a block is run on before the next: its weights stay in the cache
_ITEM = 4  # bytes of an element that passes, at most
_PASSING = 64 * 2**20  # bytes that pass from a block to the next at once

State = dict[str, Array]
Prefix = tuple[str, ...]


class PlanRunner(Protocol):
    """Gives what a model would under a plan."""

    def outputs(self, plan: Plan, samples: Samples) -> Iterator[Outputs]:
        """The outputs for each sample, in order.

        Raises:
            BackendError: The plan cannot be built.
        """
        ...


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Builds every plan anew.

    Attributes:
        realise: Makes a runner of a plan: the deploy graph, built and loaded.
    """

    realise: Callable[[Plan], Runner]

    def outputs(self, plan: Plan, samples: Samples) -> Iterator[Outputs]:
        """The outputs for each sample."""
        run = self.realise(plan)
        return (run(sample.feeds) for sample in each(samples))


@dataclass(slots=True)
class Spent:
    """What the plans so far took.

    Attributes:
        whole: Plans that were run whole.
        opened: Sessions of blocks that were opened.
        run: Blocks that were run, each on all samples.
        skipped: Blocks that were not run, since what comes out of them was remembered.
    """

    whole: int = 0
    opened: int = 0
    run: int = 0
    skipped: int = 0


class BlockRunner:
    """Gives the outputs of plans at the cost of what is new in them.

    The graph is cut at tensors through which everything flows. The first plan, and any near an
    earlier one, is run block by block: only blocks that no earlier plan had are built, and samples
    are run only from the first change on. A plan that is near to none, or of a model that cannot
    be cut, is built and run whole.

    Blocks give the numbers of the whole graph, bit by bit where the runtime fuses nothing across
    the cuts. The first plan that is run by blocks is run whole on one sample as well: `error` is
    the largest difference beside the largest output, and beyond 1e-3 all plans are run whole.

    Where memory is short, only what comes out of a block for the second time is remembered: most of
    what a search tries is never looked at again.

    Args:
        writer: Writes plans of the model.
        open_model: Opens a graph. Many are open at once, so that their sessions should keep no
            memory between runs. No time can be read off them.
        activations: How many bytes of what passes between blocks may be remembered.
        sessions: How many bytes of weights the sessions that are kept open may have.
        steady: Whether a plan's numbers may not depend on the plans before it: then all are run
            block by block, or none, as the plan of first choices decides.
    """

    def __init__(
        self,
        writer: Writer,
        open_model: Callable[[ir.Model], Runner],
        *,
        activations: int = ACTIVATIONS,
        sessions: int = SESSIONS,
        steady: bool = False,
    ) -> None:
        self.writer = writer
        self.cuts = Cuts.of(writer.model.graph, writer.slots)
        self.spent = Spent()
        self._regions = Regions(writer, self.cuts)
        self.error: float | None = None
        self._open = open_model
        self._steady = steady
        self._sessions: Lru[str, Runner] = Lru(sessions)
        self._states: Lru[Prefix, list[State]] = Lru(activations)
        self._wanted: set[Prefix] = set()
        self._samples: Samples | None = None
        self._recent: deque[npt.NDArray[np.int64]] = deque(maxlen=_RECENT)
        self._names = [str(value.name) for value in writer.model.graph.outputs]

    @property
    def remembered(self) -> int:
        """Bytes of what passes between blocks that are held."""
        return self._states.used

    def outputs(self, plan: Plan, samples: Samples) -> Iterator[Outputs]:
        """The outputs for each sample, in order.

        What is remembered holds for this very object `samples`; with another one it is forgotten.

        Raises:
            BackendError: The plan cannot be built.
        """
        if samples is not self._samples:
            self._samples = samples
            self._states.clear()
            self._wanted.clear()
        if self._steady and self.error is None:
            self._judge_blocks(samples)
        near = self._steady or self._near(plan)
        parts = self._regions.outlines(plan) if near and len(self.cuts) > 1 else []
        if len(parts) > 1 and self._same(plan, parts, samples):
            yield from self._by_blocks(parts, samples)
            return
        self.spent.whole += 1
        run = self._open(self.writer.write(plan))
        yield from (run(sample.feeds) for sample in each(samples))

    def _judge_blocks(self, samples: Samples) -> None:
        """Find `error` with the plan of first choices."""
        slots = self.writer.slots
        first = Plan.of((slot.name, slot.choices[0]) for slot in slots.slots)
        self._same(first, self._regions.outlines(first), samples)

    def _near(self, plan: Plan) -> bool:
        """Whether enough is as in one of the recent plans for blocks to pay, or none was yet."""
        choices = plan.as_dict()
        blocks: list[list[NodeChoice]] = [[] for _ in range(len(self.cuts))]
        for slot, block in zip(self.writer.slots.slots, self.cuts.block_of, strict=True):
            blocks[block].append(choices[slot.name])
        signs = np.array([hash(tuple(block)) for block in blocks], np.int64)
        near = not self._recent or any(self._shares(signs == other) for other in self._recent)
        self._recent.append(signs)
        return near

    def _shares(self, equal: npt.NDArray[np.bool_]) -> bool:
        """Whether plans with these blocks in common share runs of samples, or many sessions."""
        work = np.array(self.cuts.work)
        before = np.logical_and.accumulate(equal)
        return bool(work[before].sum() >= _BEFORE or work[equal].sum() >= _EQUAL)

    def _same(self, plan: Plan, parts: Sequence[Outline], samples: Samples) -> bool:
        """Whether blocks give what the whole gives; found out once, on one sample."""
        if self.error is None:
            feeds = samples[0].feeds
            whole = self._open(self.writer.write(plan))(feeds)
            try:
                states: list[State] = [{}]
                for part in parts:
                    states = self._through(self._runner(part), [feeds], states)
            except BackendError:  # the runtime refuses a part: that says nothing of the whole
                self.error = math.inf
            else:
                self.error = max(_distance(states[0][name], whole[name]) for name in self._names)
        return self.error <= _TOLERANCE

    def _by_blocks(self, parts: Sequence[Outline], samples: Samples) -> Iterator[Outputs]:
        prefixes = [tuple(part.key for part in parts[:k]) for k in range(len(parts))]
        start = max(k for k, prefix in enumerate(prefixes) if k == 0 or prefix in self._states)
        known = self._states.get(prefixes[start])
        runners = [self._runner(part) for part in parts[start:]]
        fed = any(part.reads_feeds for part in parts[start:])
        kept = self._worth_keeping(parts, prefixes, start, len(samples))
        self.spent.run += len(runners)
        self.spent.skipped += start
        for some in self._chunks(len(samples)):
            feeds: list[Feeds] = [samples[i].feeds if fed else {} for i in some]
            states = [known[i] if known is not None else {} for i in some]
            for k, run in enumerate(runners, start + 1):
                states = self._through(run, feeds, states)
                if k in kept:
                    kept[k] += states
            yield from ({name: state[name] for name in self._names} for state in states)
        for k, rows in kept.items():
            self._states.put(prefixes[k], rows, sum(a.nbytes for row in rows for a in row.values()))

    def _runner(self, part: Outline) -> Runner:
        """The open session of a section."""
        run = self._sessions.get(part.key)
        if run is None:
            run = self._open(self._regions.model(part))
            self._sessions.put(part.key, run, part.size + _SESSION)
            self.spent.opened += 1
        return run

    def _through(self, run: Runner, feeds: Sequence[Feeds], states: Sequence[State]) -> list[State]:
        """Run one block: what it writes passes on, and outputs of the model that came before."""
        return [
            {n: array for n, array in state.items() if n in self._names} | run({**feed, **state})
            for feed, state in zip(feeds, states, strict=True)
        ]

    def _worth_keeping(
        self, parts: Sequence[Outline], prefixes: Sequence[Prefix], start: int, count: int
    ) -> dict[int, list[State]]:
        """Empty lists for what there is room for, and for what is wanted for the second time."""
        kept: dict[int, list[State]] = {}
        free, room = self._states.limit - self._states.used, self._states.limit
        for k in range(len(parts) - 1, start, -1):
            size = parts[k - 1].passes * _ITEM * count
            if size <= (room if prefixes[k] in self._wanted else free):
                kept[k] = []
                free, room = free - size, room - size
            self._wanted.add(prefixes[k])
        return kept

    def _chunks(self, count: int) -> Iterator[range]:
        """The samples in groups that pass through a block before any does through the next."""
        passing = max(self.cuts.elements) * _ITEM
        size = max(1, min(_AT_ONCE, _PASSING // passing))
        return (range(first, min(first + size, count)) for first in range(0, count, size))


def _distance(got: Array, expected: Array) -> float:
    """The largest difference, beside the largest number; infinite where they cannot be compared."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return math.inf
    if np.array_equal(got, expected, equal_nan=expected.dtype.kind == "f"):
        return 0.0
    if expected.dtype.kind != "f":
        return math.inf
    apart = np.abs(got.astype(np.float64) - expected)
    return float(np.nan_to_num(apart, nan=math.inf).max() / max(np.abs(expected).max(), 1e-30))
