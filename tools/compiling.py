"""The body of `hwc compile`: one stage after the other, on one screen."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..toolchain.accuracy.evaluator import Reference
from ..toolchain.accuracy.metrics import choose_metric
from ..toolchain.accuracy.samples import labelled
from ..toolchain.bundle import Bundle, check_target, staged
from ..toolchain.errors import BackendError, InputError, UsageError
from ..toolchain.progress import Progress, Silent
from ..toolchain.verify import Tolerance
from .request import Request
from .stages import deliver
from .stages.decide import decide, reference
from .stages.explore import evaluator
from .stages.gate import Gate
from .stages.limits import check_limits
from .stages.prepare import Prepared, prepare
from .stages.search import search
from .stages.target import Target, find_target
from .stages.tune import session_note, tune_original


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
    clock = Stopwatch(progress or Silent())
    check_target(request.target, force=request.force)
    target = find_target(request)
    _check_precisions(request, target)
    made_from = deliver.sources(request)
    prepared = prepare(request, target, clock)
    with clock.stage("run the original"):
        part, held_out = _run_original(request.model, prepared)
    metric = choose_metric(
        request.metric,
        part.outputs,
        labelled=labelled(part.samples),
        max_drop=request.max_drop,
    )
    decisions = decide(request, target, prepared, clock)
    searched = search(
        request,
        prepared,
        decisions,
        evaluator(decisions, part, metric, request.threads),
        clock,
    )
    original = tune_original(target, prepared, request.threads, clock)
    with staged(request.target, force=request.force, archive=request.archive) as folder:
        tolerance = Tolerance(request.max_drop)
        gate = Gate(
            target,
            prepared,
            decisions,
            held_out,
            metric,
            tolerance,
            request.threads,
            folder,
            original,
        )
        delivery = gate.first_to_pass(searched.plans, clock)
        report = deliver.make_report(gate, searched.problem, delivery, made_from)
        check_limits(request, report)
        sessions = session_note(delivery.engine, original)
        notes = (
            *target.notes,
            *prepared.notes,
            *decisions.notes,
            metric.why,
            sessions,
        )
        report = replace(
            report,
            search=searched.row(request.strategy),
            notes=tuple(filter(None, notes)),
            seconds=clock.seconds,
        )
        about = deliver.manifest(gate, delivery, made_from)
        deliver.write(folder, report, gate, delivery, about)
    return Bundle.open(request.target)


def _check_precisions(request: Request, target: Target) -> None:
    """Refuse a precision that the device does not run: it would be left out without a word."""
    runs = target.profile.precisions
    lacking = [precision for precision in request.precisions if precision not in runs]
    if lacking:
        raise UsageError(
            f"--precision: {target.profile.name} does not run {', '.join(lacking)}",
            f"it runs {', '.join(runs)}",
        )


def _run_original(name: str, prepared: Prepared) -> tuple[Reference, Reference]:
    """The original's outputs on the search and the report split, before anything costs time.

    Raises:
        BackendError: The runtime has no kernel for one of its operators.
        InputError: It does not run on the data, or gives NaN.
    """
    original = reference(prepared.original)
    try:
        part = Reference.of(original, prepared.splits.search, "search")
        return part, Reference.of(original, prepared.splits.report, "report")
    except BackendError as cause:
        raise InputError(
            f"{name} does not run as it is: {cause.message}", "export the model again"
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
