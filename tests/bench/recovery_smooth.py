"""What int8 keeps of models once channels are equalised or smoothed, and which kernels break it.

Run `python tests/bench/recovery_smooth.py [MODEL...]`. Each rewrite computes the same in fp32 and
is made from calibration samples; then all matrix products run in int8 (activations per tensor).
The loss and its sure gain are what `condition` decides by, on samples of its own; SQNR, cosine and
agreement are of the report's samples, which neither has seen, and the score is the model's own on
the first samples of its evaluation data.

The second table is of the models that int8 breaks, in the graph as it is: every kernel that may run
in int8 does, but the ones that hurt most by themselves stay in fp32.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from hwc.backends import ort
from hwc.toolchain.accuracy.evaluator import Measurement, Reference, measure
from hwc.toolchain.accuracy.fidelity import fidelity
from hwc.toolchain.accuracy.metrics import agreement
from hwc.toolchain.accuracy.samples import Samples, Subset
from hwc.toolchain.calibration import Method
from hwc.toolchain.codec import encode
from hwc.toolchain.engine import Array
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.progress import Silent
from hwc.tools.request import Request
from hwc.tools.stages.condition import Int8Judge, condition, in_int8
from hwc.tools.stages.decide import PlanSpace, reference
from hwc.tools.stages.prepare import prepare
from hwc.tools.stages.target import Target, find_target
from support.calibration import arguments
from support.compilation import write_json
from support.devkit import Case, SkipError, cases, evaluate
from support.tables import markdown, points, say

MODELS = ("tinyvit_cifar10", "minilm_l6", "efficientnet_lite0", "ppocr_v4_rec", "yolox_nano")
SAMPLES = 12  # of each part of the data
BROKEN = ("ppocr_v4_rec", "yolox_nano")  # by int8 everywhere
ALONE = 2  # samples that single kernels are judged by
CULPRITS = (0, 1, 2, 4, 8, 16, 32)
_INT8 = NodeChoice(Precision.INT8)


@dataclass(frozen=True, slots=True)
class Row:
    """One graph of one model with its matrix products in int8.

    Attributes:
        model: The model.
        graph: What was done to the graph.
        loss: Mean on the samples that `condition` decides by; NaN where it does not.
        sure: How much less than that of the plain graph it surely is.
        chosen: Whether `condition` takes it.
        sqnr_db: On the report's samples.
        cosine: On the report's samples.
        agreement: On the report's samples, a fraction.
        score: The model's own metric on evaluation data.
    """

    model: str
    graph: str
    loss: float
    sure: float
    chosen: bool
    sqnr_db: float
    cosine: float
    agreement: float
    score: float


@dataclass(frozen=True, slots=True)
class Fallback:
    """What is kept when the worst kernels stay in fp32.

    Attributes:
        model: The model.
        kept: How many stay.
        slot: The last of them.
        op: Its op.
        alone_db: SQNR when it alone is in int8.
        share: Of the multiplications that are in fp32 then.
        sqnr_db: SQNR of the plan on the report's samples.
        agreement: On the report's samples, a fraction.
    """

    model: str
    kept: int
    slot: str
    op: str
    alone_db: float
    share: float
    sqnr_db: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Bench:
    """One model, ready to be judged.

    Attributes:
        case: The model.
        judge: Of `condition`.
        report: Other samples.
        limit: Evaluation samples of a score.
    """

    case: Case
    judge: Int8Judge
    report: Reference
    limit: int

    def session(self, space: PlanSpace, plan: Plan) -> ort.Session:
        """An engine of a plan."""
        return ort.Session(space.writer.write(plan), ort.Options(threads=1))

    def measure(self, runner: ort.Session) -> Measurement:
        """An engine against the original on the report's samples."""
        rows = [self.report.outputs[i] for i in range(len(self.report))]
        return measure(runner, self.report, agreement(rows))

    def decibels(self, runner: ort.Session) -> float:
        """The SQNR of an engine on very few samples."""
        feeds = [self.report.samples[i].feeds for i in range(ALONE)]
        return fidelity(map(runner, feeds), [self.report.outputs[i] for i in range(ALONE)]).sqnr_db

    def score(self, runner: ort.Session) -> float:
        """The model's own metric."""
        return evaluate(self.case, lambda feeds: list(runner(feeds).values()), self.limit)


@dataclass(slots=True)
class Recorder:
    """A judge that also measures each graph on the report's samples, in the order of the trials."""

    bench: Bench
    seen: list[tuple[Measurement, float]] = field(default_factory=list)

    def __call__(self, model: ir.Model) -> Array:
        """Judge a graph."""
        space = self.bench.judge.space(model)
        runner = self.bench.session(space, in_int8(space.slots))
        self.seen.append((self.bench.measure(runner), self.bench.score(runner)))
        return self.bench.judge(model)


def bench_of(case: Case, asked: argparse.Namespace) -> Bench:
    """Load a model with a few samples for each part."""
    data = arguments(case, asked.work / "data", labelled=False)[1]
    request = Request(str(case.path), data=data, table=asked.work / "table.sqlite")
    target: Target = find_target(request)
    prepared = prepare(request, target, Silent())
    splits = prepared.splits
    calibrate, search, report = (
        _few(part) for part in (splits.calibrate, splits.search, splits.report)
    )
    prepared = replace(prepared, splits=replace(splits, calibrate=calibrate))
    original = reference(prepared.original)
    judge = Int8Judge(request, target, prepared, Reference.of(original, search, "search"))
    return Bench(case, judge, Reference.of(original, report, "report"), asked.limit)


def _few(samples: Samples) -> Samples:
    count = min(SAMPLES, len(samples))
    return Subset(samples, np.linspace(0, len(samples) - 1, count).round().astype(int).tolist())


def conditioned(bench: Bench) -> Iterator[Row]:
    """The original, then every graph that `condition` tries."""
    original = ort.Session(bench.judge.prepared.model, ort.Options(threads=1))
    exact = bench.measure(original)
    yield _row(bench, "fp32", exact, bench.score(original))
    recorder = Recorder(bench)
    prepared = bench.judge.prepared
    made = condition(
        prepared.model,
        prepared.splits.calibrate,
        judge=recorder,
        dialect=bench.judge.target.dialect,
        progress=Silent(),
    )
    for trial, (found, score) in zip(made.trials, recorder.seen, strict=True):
        row = _row(bench, trial.name, found, score)
        chosen = trial.name == made.chosen
        yield replace(row, loss=trial.loss, sure=trial.sure, chosen=chosen)
    if len(made.trials) == 1:
        say(f"{bench.case.name}: no channels can be scaled, as of {len(made.notes)} nodes:")
        say("\n".join(f"  {note.node}: {note.text}" for note in made.notes[:4]))
    for method in (Method.PERCENTILE, Method.MSE):
        request = replace(bench.judge.request, calibration=method)
        space = replace(bench.judge, request=request).space(prepared.model)
        runner = bench.session(space, in_int8(space.slots))
        yield _row(bench, f"as it is, {method}", bench.measure(runner), bench.score(runner))


def _row(bench: Bench, graph: str, found: Measurement, score: float) -> Row:
    near = found.fidelity
    agreed = found.compiled.value.value
    return Row(
        *(bench.case.name, graph, math.nan, math.nan, False),
        *(near.sqnr_db, near.cosine, agreed, score),
    )


def fallbacks(bench: Bench) -> Iterator[Fallback]:
    """Int8 everywhere but in the kernels that hurt most by themselves."""
    space = bench.judge.space(bench.judge.prepared.model)
    slots = space.slots.slots
    able = [slot for slot in slots if _INT8 in slot.choices]

    def run(names: set[str]) -> ort.Session:
        plan = Plan.of((s.name, _INT8 if s.name in names else NodeChoice()) for s in slots)
        return bench.session(space, plan)

    alone = {slot.name: bench.decibels(run({slot.name})) for slot in able}
    worst = sorted(able, key=lambda slot: alone[slot.name])
    total = sum(slot.work.macs for slot in slots)
    for kept in CULPRITS:
        if kept > len(worst):
            return
        found = bench.measure(run({slot.name for slot in worst[kept:]}))
        float_macs = total - sum(slot.work.macs for slot in worst[kept:])
        last = worst[kept - 1] if kept else None
        yield Fallback(
            bench.case.name,
            kept,
            last.name if last else "-",
            "+".join(last.key.split("|")[0].split("&")) if last else "-",
            alone[last.name] if last else math.nan,
            float_macs / total,
            found.fidelity.sqnr_db,
            found.compiled.value.value,
        )


def graph_table(rows: Sequence[Row]) -> str:
    """Every graph."""
    head = "model|graph|loss|surely less by|taken|SQNR dB|cosine|agreement|score"
    cells = [
        (
            *(row.model, row.graph),
            *(_figure(row.loss), _figure(row.sure), "yes" if row.chosen else ""),
            *(f"{row.sqnr_db:.2f}", f"{row.cosine:.5f}"),
            *(points(row.agreement), points(row.score)),
        )
        for row in rows
    ]
    return markdown(head.split("|"), cells)


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def fallback_table(rows: Sequence[Fallback]) -> str:
    """What the worst kernels cost."""
    head = "model|kept in fp32|the last of them|op|it alone in int8, dB|fp32 MACs|SQNR dB|agreement"
    cells = [
        (
            *(row.model, str(row.kept), row.slot[-48:], row.op, f"{row.alone_db:.1f}"),
            *(points(row.share), f"{row.sqnr_db:.2f}", points(row.agreement)),
        )
        for row in rows
    ]
    return markdown(head.split("|"), cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=str(MODELS))
    parser.add_argument("--work", type=Path, default=Path("build/bench/smooth"), help="%(default)s")
    parser.add_argument("--limit", type=int, default=32, help="evaluation samples [%(default)s]")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    asked = parser.parse_args()
    try:
        chosen = cases(asked.models)
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    rows: list[Row] = []
    kept: list[Fallback] = []
    for case in chosen:
        started = time.process_time()
        bench = bench_of(case, asked)
        graphs = tuple(conditioned(bench))
        say(f"\n{graph_table(graphs)}\n")
        broken = tuple(fallbacks(bench)) if case.name in BROKEN else ()
        if broken:
            say(f"{fallback_table(broken)}\n")
        say(f"{case.name}: {time.process_time() - started:.0f} CPU seconds")
        rows += graphs
        kept += broken
        if asked.out:
            write_json(asked.out, encode({"graphs": rows, "fallbacks": kept}))


if __name__ == "__main__":
    main()
