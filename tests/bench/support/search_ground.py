"""What strategies are compared on: a model, what a device takes for it, and its judges."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
from hwc.backends import ort
from hwc.backends.ort_session import VERSION
from hwc.toolchain.accuracy.blocks import ACTIVATIONS, BlockRunner
from hwc.toolchain.accuracy.evaluator import Evaluator, Reference
from hwc.toolchain.accuracy.identity import data_digest, model_digest
from hwc.toolchain.accuracy.judge import Memory, PlanJudge, searched_on
from hwc.toolchain.accuracy.losses import Distance
from hwc.toolchain.accuracy.metrics import agreement
from hwc.toolchain.accuracy.regions import Writer
from hwc.toolchain.accuracy.samples import Sample, Samples
from hwc.toolchain.accuracy.sensitivity import sensitivity
from hwc.toolchain.accuracy.store import LossStore
from hwc.toolchain.device import HOST
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.kernels import MOVES
from hwc.toolchain.latency.prices import from_profile
from hwc.toolchain.progress import Silent
from hwc.toolchain.search.problem import Floats, Objective, Problem
from hwc.tools.request import Request
from hwc.tools.stages.decide import find_meter, find_space, reference
from hwc.tools.stages.prepare import prepare
from hwc.tools.stages.problem import weight_bytes
from hwc.tools.stages.target import find_target

from .calibration import arguments
from .devkit import Case, evaluate

SWEEP = 16  # samples that sensitivities are measured on
SEARCH = 256  # samples that searches may see
HELD = 1024  # samples of each of the two parts that no search sees, at most
_REMEMBERED = 128 * 2**20  # bytes that a judge of many samples may remember


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """One model on one device.

    Attributes:
        problem: The least loss is sought; no limits yet.
        search: Judges on the samples of the search.
        whole: Judges on all that the search split has.
        rank: Judges on samples for the last word of the guard.
        report: Judges on samples that nothing else sees.
        swept: Evaluations that the sensitivities took, the same for all strategies.
    """

    problem: Problem
    search: PlanJudge
    whole: PlanJudge
    rank: PlanJudge
    report: PlanJudge
    swept: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Samples for the search, for the guard, and for the report: disjoint, and drawn alike."""

    search: Samples
    rank: Samples
    report: Samples

    @classmethod
    def of(cls, case: Case) -> "Parts":
        """Divide the evaluation data: calibration has data of its own."""
        every = [Sample(feeds) for feeds in _evaluation_feeds(case, SEARCH + 2 * HELD)]
        order = np.random.default_rng(0).permutation(len(every))
        parts = (order[:SEARCH], *np.array_split(order[SEARCH:], 2))
        return cls(*([every[i] for i in sorted(part)] for part in parts))


@dataclass(frozen=True, slots=True)
class Judging:
    """How plans of one model are judged.

    Attributes:
        original: The model as it came in.
        writer: Writes plans so that this machine's CPU computes what the device would.
        parts: The samples.
        store: Where losses are kept.
        words: What the losses depend on beside the model.
        integers: Whether integer kernels may be used.
    """

    original: ir.Model
    writer: Writer
    parts: Parts
    store: LossStore
    words: Sequence[str]
    integers: bool

    def ground(self, problem: Problem, cache: Path) -> Ground:
        """Measure sensitivities, unless they are in the cache, and make the judges."""
        memory = Memory(self.store, model_digest(self.writer.model, *self.words))
        part = self._reference(self.parts.search)
        name = f"{memory.model[:16]}-{data_digest(self.parts.search)[:16]}"
        table = self._sensitivity(problem, part, cache / f"sensitivity-{name}.npy")
        judge = partial(PlanJudge, loss=Distance.of(part.outputs), memory=memory)
        held = self._runner(_REMEMBERED)
        return Ground(
            problem=replace(problem, sensitivity=table, objective=Objective.DROP),
            search=judge(self._runner(), part, count=searched_on(problem.graph)),
            whole=judge(held, part),
            rank=judge(held, self._reference(self.parts.rank)),
            report=judge(held, self._reference(self.parts.report)),
            swept=1 + sum(len(s.choices) - 1 for s in problem.graph.slots if s.op not in MOVES),
        )

    def _sensitivity(self, problem: Problem, part: Reference, path: Path) -> Floats:
        if path.is_file():
            kept: Floats = np.load(path, allow_pickle=False)
            return kept
        options = ort.Options(1, integers=self.integers)
        evaluator = Evaluator(
            lambda plan: ort.Session(self.writer.write(plan), options),
            part,
            agreement([part.outputs[0]]),
            runner=self._runner(),
        )
        table = sensitivity(evaluator, problem.graph, count=SWEEP)
        np.save(path, table)
        return table

    def _reference(self, samples: Samples) -> Reference:
        return Reference.of(reference(self.original), samples, "")

    def _runner(self, activations: int = ACTIVATIONS) -> BlockRunner:
        options = ort.Options(1, integers=self.integers, arena=False)
        return BlockRunner(
            self.writer, lambda model: ort.Session(model, options), activations=activations
        )


def ground(case: Case, *, device: str, cache: Path, store: LossStore) -> Ground:
    """A model as the compiler sees it for a device.

    The host's latencies are measured, once, and kept in the cache; those of others are estimated.
    """
    data = arguments(case, cache / "data", labelled=False)[1]
    table = cache / f"host-{case.name}.sqlite"  # what others measure would change what is borrowed
    request = Request(str(case.path), data=data, table=table, device=device)
    target = find_target(request)
    prepared = prepare(request, target, Silent())
    space = find_space(request, target, prepared, Silent())
    meter = find_meter(request, target, prepared, space.writer) if device == HOST else None
    if meter is None:
        cost = from_profile(space.slots, target.profile).cost
    else:
        cost, _ = meter.cost(Silent())
    simulator = space.simulator
    words = (simulator.dialect.name, device, VERSION, str(sorted(simulator.ranges.items())))
    own = simulator.dialect.name == ort.Ort.name
    judging = Judging(prepared.original, simulator, Parts.of(case), store, words, integers=own)
    return judging.ground(Problem(cost, weight_bytes(space.slots)), cache)


def _evaluation_feeds(case: Case, count: int) -> list[Feeds]:
    """Batch-1 feeds of the evaluation data, at most so many."""
    session = ort.Session(case.path, ort.Options(threads=1))
    seen: list[Feeds] = []

    def run(feeds: Mapping[str, Array]) -> list[Array]:
        seen.extend(_single(feeds))
        return list(session(feeds).values())

    evaluate(case, run, count)
    return seen[:count]


def _single(feeds: Feeds) -> Iterator[Feeds]:
    """The samples of a batch."""
    for i in range(len(next(iter(feeds.values())))):
        yield {name: array[i : i + 1] for name, array in feeds.items()}
