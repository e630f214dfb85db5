"""The body of `hwc compile`: one stage after the other, on one screen."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..backends.ort import Options
from ..toolchain.accuracy.evaluator import Reference
from ..toolchain.accuracy.metrics import choose_metric
from ..toolchain.accuracy.samples import Samples, labelled
from ..toolchain.bundle import Bundle, check_target, staged
from ..toolchain.cluster import Cluster
from ..toolchain.errors import BackendError, InputError, UsageError
from ..toolchain.progress import Progress, Silent
from ..toolchain.verify import Tolerance
from .request import Recover, Request
from .stages import deliver
from .stages.base import Earlier, earlier
from .stages.cluster import connected
from .stages.compilation import Compilation
from .stages.condition import conditioned
from .stages.decide import Decisions, decide, reference
from .stages.explore import evaluator
from .stages.gate import Delivery, Gate
from .stages.limits import check_limits
from .stages.package import Packaging
from .stages.prepare import Prepared, prepare
from .stages.problem import problem_of
from .stages.recover import check_folder, judge_of, recovery
from .stages.refit import Refit
from .stages.reorder import reordered
from .stages.restructure import restructured
from .stages.search import PlanSearch, Searched
from .stages.target import Target, find_target
from .stages.tune import session_note, tune_original
from .strategies import explorer


def compile_model(request: Request, progress: Progress | None = None) -> Bundle:
    """Compile a model for a device.

    Args:
        request: What is asked.
        progress: Told of each stage.

    Returns:
        The bundle at `request.target`, its digests checked.

    Raises:
        HwcError: Whatever stands in the way; nothing is left behind.
    """
    check_target(request.target, force=request.force)
    check_folder(request.checkpoint)
    explorer(request.strategy, request.policy)  # what stands in its way is said now, not later
    with connected(request.ray) as cluster, earlier(request) as base:
        return _compiled(request, Stopwatch(progress or Silent()), cluster, base)


def _compiled(
    request: Request, clock: "Stopwatch", cluster: Cluster | None, base: Earlier | None
) -> Bundle:
    """Compile; true evaluations are made on the cluster, if there is one."""
    target = find_target(request)
    check_precisions(request, target)
    if base is not None:
        base.check_target(target)
    made_from = deliver.sources(request)
    prepared = prepare(request, target, clock)
    with clock.stage("run the original"):
        part = run_original(request.model, prepared, prepared.splits.search, "search")
        held_out = run_original(request.model, prepared, prepared.splits.report, "report")
    metric = choose_metric(
        request.metric,
        part.outputs,
        labelled=labelled(part.samples),
        max_drop=request.max_drop,
    )
    begun = Compilation(request, target, prepared, part, metric)
    regained = recovery(request, prepared, clock)
    judge = judge_of(begun, regained)
    structured = restructured(begun, regained, judge, clock)
    original = tune_original(target, prepared, request.threads, clock)
    with staged(request.target, force=request.force, archive=request.archive) as folder:
        refit = Refit(
            prepared.splits.calibrate if request.recovery is not Recover.NONE else (),
            *(regained, judge, metric, request.threads, clock),
            full=request.recovery is Recover.FULL,
        )
        last = _Last(held_out, folder, original, refit, base)
        outcome = _delivered(begun.of(structured.model), last, clock, cluster)
        if outcome.delivery.plan is None and structured.choices:
            structured = structured.undone(prepared.model)
            outcome = _delivered(begun, last, clock, cluster)
        gate, searched, delivery = outcome.gate, outcome.searched, outcome.delivery
        report = deliver.make_report(gate, searched.problem, delivery, made_from)
        report = report if base is None else base.described(report)
        notes = (
            *target.notes,
            *prepared.notes,
            *structured.notes,
            *regained.notes,
            *gate.decisions.notes,
            *delivery.notes,
            metric.why,
            check_limits(request, report),
            session_note(delivery.engine, original),
        )
        report = replace(
            structured.described(report, prepared),
            search=searched.row(request.strategy) if base is None else None,
            notes=tuple(filter(None, notes)),
            seconds=clock.seconds,
        )
        about = deliver.manifest(gate, delivery, made_from)
        deliver.write(folder, report, gate, delivery, about)
    return Bundle.open(request.target)


@dataclass(frozen=True, slots=True)
class _Last:
    """What the end of a compilation needs.

    Attributes:
        held_out: The report split, with the original's outputs.
        folder: Where the bundle is being made.
        original: The original's session at its best: what a plan must beat.
        refit: Fits constants to plans.
        base: The bundle whose plan and scales are taken; None: they are chosen.
    """

    held_out: Reference
    folder: Path
    original: Options
    refit: Refit
    base: Earlier | None

    def gate(self, begun: Compilation, decisions: Decisions) -> Gate:
        """What holds plans against the original."""
        request = begun.request
        packaging = Packaging.of(request)
        if self.base is not None:
            packaging = replace(packaging, formats=self.base.formats)
        return Gate(
            begun.target,
            begun.prepared,
            decisions,
            self.held_out,
            begun.metric,
            Tolerance(request.max_drop),
            request.threads,
            self.folder,
            self.original,
            self.refit,
            packaging,
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a graph came to."""

    gate: Gate
    searched: Searched
    delivery: Delivery


def _delivered(
    begun: Compilation, last: _Last, clock: "Stopwatch", cluster: Cluster | None
) -> _Outcome:
    """Decide, search, and let the gate choose."""
    if last.base is not None:
        return _rewritten(begun, last, last.base, clock)
    request = begun.request
    begun = begun.of(reordered(begun, clock))
    model, notes = conditioned(begun, clock)
    begun = begun.of(model)
    decisions = decide(request, begun.target, begun.prepared, clock)
    decisions = replace(decisions, notes=(*decisions.notes, *notes))
    scored = evaluator(decisions, begun.search, begun.metric, request.threads)
    searched = PlanSearch(request, begun.prepared, decisions, scored, clock, cluster).run()
    gate = last.gate(begun, decisions)
    return _Outcome(gate, searched, gate.first_to_pass(searched.plans, clock))


def _rewritten(begun: Compilation, last: _Last, base: Earlier, clock: "Stopwatch") -> _Outcome:
    """Write the plan of an earlier bundle with its scales, and let the gate judge."""
    with clock.stage("take over the decisions"):
        decisions = base.decisions(begun)
    gate = last.gate(begun, decisions)
    searched = Searched(problem_of(begun.request, decisions), (), 0, None, "")
    return _Outcome(gate, searched, base.delivered(gate, clock))


def check_precisions(request: Request, target: Target) -> None:
    """Refuse a precision that the device does not run: it would be left out without a word.

    Raises:
        UsageError: It names the precisions that the device runs.
    """
    runs = target.profile.precisions
    lacking = [precision for precision in request.precisions if precision not in runs]
    if lacking:
        raise UsageError(
            f"--precision: {target.profile.name} does not run {', '.join(lacking)}",
            f"it runs {', '.join(runs)}",
        )


def run_original(model: str, prepared: Prepared, samples: Samples, name: str) -> Reference:
    """The original's outputs on a part of the data, before anything costs time.

    Args:
        model: What the user calls it.
        prepared: The model.
        samples: The part of the data.
        name: The part's name.

    Raises:
        InputError: It does not run on the data, gives NaN, or has an operator without a kernel.
    """
    try:
        return Reference.of(reference(prepared.original), samples, name)
    except BackendError as cause:
        raise InputError(
            f"{model} does not run as it is: {cause.message}", "export the model again"
        ) from cause


class Stopwatch:
    """A Progress that also remembers how long each stage took."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Time one stage; stages of the same name add up."""
        started = time.perf_counter()
        with self._inner.stage(name, total) as step:
            yield step
        took = time.perf_counter() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + took

    def remark(self, text: str) -> None:
        """Pass it on."""
        self._inner.remark(text)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._inner.note(text)
