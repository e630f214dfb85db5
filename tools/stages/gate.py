"""Stage 4: builds the chosen plan, holds it against the original, and falls back where it fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from ...backends import ort
from ...backends.ort_options import options_text, with_threads
from ...toolchain.accuracy.evaluator import Measurement, Reference, measure
from ...toolchain.accuracy.metric import Metric
from ...toolchain.accuracy.samples import each
from ...toolchain.engine import Check, Engine, Feeds, Runner, Status
from ...toolchain.errors import BackendError
from ...toolchain.plan import Plan
from ...toolchain.progress import Progress
from ...toolchain.report import Attempt
from ...toolchain.timing import (
    Clock,
    Paired,
    Timing,
    latency,
    paired_openings,
)
from ...toolchain.verify import (
    LATENCY,
    GateDecision,
    Numbers,
    Tolerance,
    compare_outputs,
    gate,
    owed,
)
from ..loaded import same_pool
from .decide import Decisions
from .package import BIG, Packaging, weight_bytes
from .prepare import Prepared
from .refit import Refit
from .target import Target
from .tune import Tuner, comparable

ORIGINAL = "the original"  # the attempt that changes nothing
STAGED = 32  # calibration samples for a builder that calibrates by itself
GOLDEN = 4  # samples kept in the bundle with the original's outputs
_CPU = Timing(clock=Clock.CPU, seconds=6.0)
_WALL = Timing(clock=Clock.WALL, seconds=3.0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What passed the gate.

    Attributes:
        plan: The plan; None where the original graph itself is delivered.
        engine: What was built here; None where the device has to build it.
        quality: Accuracy on the report split.
        numbers: Golden outputs against the original's.
        cpu: Original and delivery on one thread, by process CPU time; None where not here.
        wall: The same on the threads asked for, by wall time.
        checks: What was checked and what is owed.
        attempts: Everything that came before the gate, in order.
        notes: What the user should know of how it was made.
    """

    plan: Plan | None
    engine: Engine | None
    quality: Measurement
    numbers: Numbers
    cpu: Paired | None
    wall: Paired | None
    checks: tuple[Check, ...]
    attempts: tuple[Attempt, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """What every attempt is held against.

    Attributes:
        target: The device.
        prepared: The original, and an example input.
        decisions: Writes plans.
        report: The report split, with the original's outputs.
        metric: What counts.
        tolerance: What is allowed.
        threads: Threads for the wall time; 0: all cores.
        folder: Where the bundle is being made.
        original: The original's session at its best: what a plan must beat.
        refit: Fits constants to each plan, and trains weights for it where that is asked for.
        packaging: How the graph is delivered, and how large it may be.
    """

    target: Target
    prepared: Prepared
    decisions: Decisions
    report: Reference
    metric: Metric
    tolerance: Tolerance
    threads: int
    folder: Path
    original: ort.Options
    refit: Refit
    packaging: Packaging = field(default_factory=Packaging)

    def first_to_pass(self, plans: Sequence[tuple[str, Plan]], progress: Progress) -> Delivery:
        """Try plans in order; what passes is left in the folder.

        A plan that is right but not faster ends the search for a faster one: those after it are
        predicted to be slower, and only the last, which changes no precision, is tried. The last
        resort is the original graph: neither slower nor wrong, and the report says so.
        """
        attempts: list[Attempt] = []
        left = list(plans)
        while left:
            name, plan = left.pop(0)
            delivery, attempt = self._try(name, plan, progress)
            attempts.append(attempt)
            progress.note(f"gate: {name}: {'; '.join(attempt.decision.reasons)}")
            if delivery is not None and attempt.decision.accepted:
                return replace(delivery, attempts=tuple(attempts))
            if delivery is not None and delivery.cpu is not None:
                left = left[-1:]
        with progress.stage("verify"):
            delivery = self._original()
        attempts.append(Attempt(ORIGINAL, GateDecision.identity()))
        return replace(delivery, attempts=tuple(attempts))

    def only(self, name: str, plan: Plan, progress: Progress) -> tuple[Delivery | None, Attempt]:
        """Try the one plan that there is; no delivery where it is refused."""
        delivery, attempt = self._try(name, plan, progress)
        if delivery is None or not attempt.decision.accepted:
            return None, attempt
        return replace(delivery, attempts=(attempt,)), attempt

    def _try(self, name: str, plan: Plan, progress: Progress) -> tuple[Delivery | None, Attempt]:
        """Build and measure one plan; its speed only where its numbers are right."""
        decisions, notes = self.refit.fitted(self.decisions, plan)
        model = decisions.writer.write(plan)
        path = self.packaging.save(model, self.folder)
        if too_large := self.packaging.refusal(self.folder):
            return None, Attempt(name, GateDecision(accepted=False, reasons=(too_large,)))
        try:
            checks, engine = self._make(path)
            if engine is not None and comparable(self.target):
                tuner = Tuner(self.prepared.feeds, self.threads, progress)
                engine = tuner.engine(engine, path, model)
            with progress.stage("verify"):
                delivery = self._check(
                    engine, checks, lambda: decisions.simulate(plan, self.threads)
                )
                delivery = replace(delivery, plan=plan, notes=notes)
                decision = self._judge(delivery)
                if decision.accepted and self._timed(delivery):
                    delivery = self._time(delivery)
                    decision = self._judge(delivery)
        except BackendError as refused:
            return None, Attempt(name, GateDecision(accepted=False, reasons=(str(refused),)))
        speedup = delivery.cpu.ratio[Clock.CPU] if delivery.cpu else None
        return delivery, Attempt(name, decision, speedup, delivery.quality.drop.interval)

    def _judge(self, delivery: Delivery) -> GateDecision:
        decision = gate(
            delivery.numbers,
            delivery.cpu,
            drop=delivery.quality.drop.value,
            tolerance=self.tolerance,
        )
        failed = [check for check in delivery.checks if check.status is Status.FAILED]
        wall = delivery.wall.ratio[Clock.WALL] if delivery.wall else None
        against = [f"{check.name}: {check.detail}" for check in failed]
        if wall is not None and wall.value < 1.0:
            against.append(f"slower in wall time: {wall.value:.3f}x")
        if not against:
            return decision
        reasons = against if decision.accepted else [*against, *decision.reasons]
        return GateDecision(accepted=False, reasons=tuple(reasons))

    def _make(self, path: Path) -> tuple[tuple[Check, ...], Engine | None]:
        """Check what lies at `path`, and build it, as far as this machine can."""
        target = self.target
        checks = target.backend.check(path, target.profile)
        if not target.here:
            checks = (*checks, *owed(target.profile.title))
        elif not comparable(target):
            checks = (*checks, Check(LATENCY, Status.OWED, "compare the bundle with hwc bench"))
        self._stage(path)
        return checks, self._build(path)

    def _check(
        self, engine: Engine | None, checks: tuple[Check, ...], simulate: Callable[[], Runner]
    ) -> Delivery:
        """Judge the numbers of an engine, or where it cannot run here, of what stands for it."""
        if self.target.here and engine is not None:
            runner = self.target.backend.load(self.folder, engine, self.threads)
        else:
            runner = simulate()
        quality = measure(runner, self.report, self.metric)
        numbers = Numbers.worst_of(
            compare_outputs(outputs, runner(feeds)) for feeds, outputs in self.golden()
        )
        return Delivery(None, engine, quality, numbers, None, None, checks)

    def _timed(self, delivery: Delivery) -> bool:
        return comparable(self.target) and delivery.engine is not None

    def _time(self, delivery: Delivery) -> Delivery:
        """Time the engine beside the original: on one thread, and on the threads asked for."""
        cpu = self._paired(delivery, 1, _CPU)
        return replace(delivery, cpu=cpu, wall=self._paired(delivery, self.threads, _WALL))

    def _paired(self, delivery: Delivery, threads: int, timing: Timing) -> Paired:
        load, engine = self.target.backend.load, delivery.engine
        if engine is None:
            raise ValueError("there is no engine to time")

        def original() -> Runner:
            return ort.Session(self.prepared.original, with_threads(self.original, threads))

        def compiled() -> Runner:
            return load(self.folder, engine, threads)

        small = weight_bytes(self.prepared.original) <= BIG
        fair = threads == 1 or same_pool(engine.options, options_text(self.original))
        feeds = self.prepared.feeds
        return paired_openings(original, compiled, feeds, timing, together=small and fair)

    def _original(self) -> Delivery:
        """The original graph as the deliverable; its time is its own."""
        path = self.packaging.save(self.prepared.original, self.folder)
        checks, engine = self._make(path)
        if engine is not None and comparable(self.target):
            engine = replace(engine, options=options_text(self.original))
        options = ort.Options(threads=self.threads)
        delivery = self._check(engine, checks, lambda: ort.Session(self.prepared.original, options))
        if not self._timed(delivery) or delivery.engine is None:
            return delivery
        alone = self.target.backend.load(self.folder, delivery.engine, 1)
        once = Paired.with_itself(latency(alone, self.prepared.feeds, _CPU))
        return replace(delivery, cpu=once, wall=once)

    def _stage(self, path: Path) -> None:
        some = islice(each(self.prepared.splits.calibrate), STAGED)
        feeds = (sample.feeds for sample in some)
        self.target.backend.stage(path, self.target.profile, feeds)

    def _build(self, path: Path) -> Engine | None:
        """The engine, or None where only the device can make it."""
        try:
            return self.target.backend.build(path, self.target.profile, self.folder)
        except BackendError:
            if self.target.here:
                raise
            return None

    def golden(self) -> tuple[tuple[Feeds, Feeds], ...]:
        """A few inputs with the original's outputs."""
        count = min(GOLDEN, len(self.report))
        return tuple((self.report.samples[i].feeds, self.report.outputs[i]) for i in range(count))
