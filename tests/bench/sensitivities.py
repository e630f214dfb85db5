"""How well each kind of sensitivity predicts what plans really lose, and how long it takes.

Run `python tests/bench/sensitivities.py [MODEL...]`. Every kind is worked out from the same few
samples: measured (each choice of each slot built and run), noise (nothing is run), and derivatives
(one backward pass a sample), these without labels and with them. The truth is the loss on other
samples, of each choice by itself and of random plans that mix precisions, where a prediction is the
sum over the slots. Printed is Spearman's rank correlation with it, and the median of what a
prediction for a plan is over what the plan loses, where the figures have the loss's unit.

Choices that lose nothing that can be seen are left out: ranks of 0 mean nothing.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hwc.backends import ort
from hwc.passes.rounded import rounded_constants
from hwc.toolchain.accuracy.estimates import NEED_TORCH, Estimate, estimate
from hwc.toolchain.accuracy.evaluator import Evaluator, Reference
from hwc.toolchain.accuracy.metrics import agreement
from hwc.toolchain.accuracy.perturbation import Activations, Rounding
from hwc.toolchain.accuracy.samples import Sample, Samples, each
from hwc.toolchain.accuracy.sensitivity import Loss, sensitivity
from hwc.toolchain.calibration import collect
from hwc.toolchain.errors import HwcError
from hwc.toolchain.observe import observer
from hwc.toolchain.plan import Plan
from hwc.toolchain.progress import Silent
from hwc.toolchain.slots import SlotGraph
from hwc.tools.request import Request
from hwc.tools.stages.decide import PlanSpace, find_space, reference
from hwc.tools.stages.prepare import Prepared, prepare
from hwc.tools.stages.target import find_target
from scipy.stats import spearmanr
from support.calibration import arguments
from support.compilation import write_json
from support.devkit import Case, SkipError, cases
from support.plans import random_plans
from support.tables import markdown, say

MODELS = ("efficientnet_lite0", "resnet20_cifar10", "tinyvit_cifar10")
SAMPLES = 16  # that sensitivities are worked out from
TRUTH = 64  # others, on which the true losses are measured
PLANS = 32
SEED = 11
SCALED = ("measured", "propagated", "gradient", "fisher", "hessian")  # in units of the loss

Table = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bench:
    """One model, with what is known of its choices.

    Attributes:
        prepared: After the graph passes; its data has labels where there are any.
        space: Its slots, and what writes plans.
        rounding: What its choices do to its numbers.
    """

    prepared: Prepared
    space: PlanSpace
    rounding: Rounding

    @property
    def slots(self) -> SlotGraph:
        """The slots."""
        return self.space.slots

    def evaluator(self, samples: Samples, count: int) -> Evaluator:
        """What builds and runs plans on some samples."""
        part = Reference.of(reference(self.prepared.original), First(samples, count), "search")
        options = ort.Options(threads=1)
        return Evaluator(
            lambda plan: ort.Session(self.space.writer.write(plan), options),
            part,
            agreement([part.outputs[0]]),
        )


@dataclass(frozen=True, slots=True)
class First:
    """The first samples of others, with their labels or without."""

    samples: Samples
    count: int
    labels: bool = False

    def __len__(self) -> int:
        """How many there are."""
        return min(self.count, len(self.samples))

    def __getitem__(self, index: int) -> Sample:
        """One of them."""
        sample = self.samples[index]
        return sample if self.labels else replace(sample, label=None)


@dataclass(frozen=True, slots=True)
class Row:
    """How one kind of sensitivity does on one model.

    Attributes:
        kind: Which one.
        singles: Spearman's rank correlation with the true losses of single choices.
        plans: The same of random plans.
        ratio: Median of predicted over true loss of the plans; None where the unit is another.
        seconds: What it took, without calibration.
    """

    kind: str
    singles: float
    plans: float
    ratio: float | None
    seconds: float


def bench_of(case: Case, folder: Path) -> Bench:
    """Load a model, find its slots, and calibrate it."""
    data = arguments(case, folder)[1]
    request = Request(str(case.path), data=data, table=folder / "table.sqlite")
    target = find_target(request)
    prepared = prepare(request, target, Silent())
    space = find_space(request, target, prepared, Silent())
    tensors = sorted(space.writer.ranges)
    histograms = collect(
        observer(prepared.model, tensors, reference),
        lambda: (sample.feeds for sample in each(prepared.splits.calibrate)),
        tensors=tensors,
        progress=Silent(),
    )
    unsigned = target.dialect.unsigned_activations
    known = Activations.of(histograms, space.writer.ranges, unsigned=unsigned)
    rounded = partial(rounded_constants, dialect=target.dialect)
    return Bench(
        prepared, space, Rounding(prepared.model, space.slots, target.dialect, known, rounded)
    )


def tables(bench: Bench) -> Iterator[tuple[str, Table, float]]:
    """Every kind of sensitivity: its name, its table, and the seconds that it took."""
    samples = bench.prepared.splits.search
    evaluator = bench.evaluator(samples, SAMPLES)
    yield _timed("measured", lambda: sensitivity(evaluator, bench.slots, count=SAMPLES))
    for method in Estimate:
        yield _timed(method.value, partial(_estimate, bench, method, evaluator.reference))
    if samples[0].label is None:
        return
    known = First(samples, SAMPLES, labels=True)
    part = Reference.of(reference(bench.prepared.original), known, "search")
    for method in sorted(NEED_TORCH - {Estimate.COMPOSITE}):
        yield _timed(f"{method}, labels", partial(_estimate, bench, method, part))


def _estimate(bench: Bench, method: Estimate, part: Reference) -> Table:
    return estimate([method], bench.rounding, part, count=SAMPLES)[method]


def _timed(name: str, make: Callable[[], Table]) -> tuple[str, Table, float]:
    started = time.perf_counter()
    table = make()
    return name, table, time.perf_counter() - started


def compare(bench: Bench) -> list[Row]:
    """Every kind of sensitivity beside the truth."""
    evaluator = bench.evaluator(bench.prepared.splits.report, TRUTH)
    single = sensitivity(evaluator, bench.slots, count=TRUTH)
    loss = Loss.of(evaluator.reference, TRUTH)
    plans = random_plans(bench.slots, PLANS, SEED)
    true = np.array([loss(evaluator.realise(plan)) for plan in plans])
    rows = []
    for name, table, seconds in tables(bench):
        seen = np.isfinite(single) & (single > 0)
        predicted = np.array([total(bench.slots, table, plan) for plan in plans])
        ratio = float(np.median(predicted / true)) if name in SCALED else None
        singles, mixed = _rank(table[seen], single[seen]), _rank(predicted, true)
        rows.append(Row(name, singles, mixed, ratio, seconds))
    return rows


def total(graph: SlotGraph, table: Table, plan: Plan) -> float:
    """What a table predicts for a plan."""
    choices = plan.as_dict()
    return sum(
        float(row[slot.choices.index(choices[slot.name])])
        for slot, row in zip(graph.slots, table, strict=True)
    )


def _rank(predicted: Table, true: Table) -> float:
    return float(spearmanr(predicted, true).statistic)


def main() -> None:
    """Compare on each model, print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write JSON")
    asked = parser.parse_args()
    results: dict[str, list[Mapping[str, object]]] = {}
    try:
        chosen = cases(asked.models)
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    head = ("sensitivity", "single choices", "mixed plans", "predicted / true", "seconds")
    for case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows = compare(bench_of(case, Path(folder)))
            except HwcError as cause:
                say(f"\n{case.name}: {cause}")
                continue
        say(f"\n{case.name}\n\n{markdown(head, [_cells(row) for row in rows])}")
        results[case.name] = [asdict(row) for row in rows]
    if asked.out:
        write_json(asked.out, results)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    return row.kind, f"{row.singles:.3f}", f"{row.plans:.3f}", ratio, f"{row.seconds:.2f}"


if __name__ == "__main__":
    main()
