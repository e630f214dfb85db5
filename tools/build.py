"""`hwc build`: on the device, make the engine that the compiling machine could not make."""

import datetime as dt
import math
import shutil
from dataclasses import replace
from pathlib import Path

import click

from ..toolchain.bundle import REPORT, Bundle, check_target, seal, staged
from ..toolchain.engine import Backend
from ..toolchain.errors import ConstraintError
from ..toolchain.plan import Precision
from ..toolchain.report import Attempt, Latency, Report
from ..toolchain.timing import Clock, Timing, latency
from ..toolchain.verify import OTHER_RUNTIME, GateDecision, Tolerance, gate
from . import options
from .backends import open_backend
from .loaded import clock_of, golden_feeds, load_engine, require_device
from .render import print_report, progress
from .verification import Request, Verification, verify_bundle

_THREADS = 1


@click.command()
@options.bundle
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where the built bundle goes; without it, it takes the place of the old one.",
)
@options.original
@options.force
@options.json_output
def command(
    bundle: Path, output: Path | None, original: Path | None, *, force: bool, as_json: bool
) -> None:
    """Build, check and time the engine of a bundle on the device that it is for.

    The bundle is replaced only once the engine has run and its outputs are right.

    \b
    hwc build effnet.hwc
    scp -r effnet.hwc orin: && ssh orin hwc build effnet.hwc
    """  # noqa: D301 - click wants the escape
    target, replacing = output or bundle, force or output is None
    with Bundle.open(bundle) as opened, progress() as shown:
        check_target(target, force=replacing)
        backend = open_backend(opened.manifest.backend)
        require_device(opened, backend)
        with staged(target, force=replacing, archive=bundle.is_file()) as folder:
            shutil.copytree(opened.folder, folder, dirs_exist_ok=True)
            with shown.stage("build"):
                built = _built(opened, backend, folder)
            with shown.stage("verify"):
                result = verify_bundle(built, backend, Request(original, slack=OTHER_RUNTIME))
            report = _report(built, backend, result)
            (folder / REPORT).write_text(report.to_json(), encoding="utf-8")
            seal(folder, replace(built.manifest, checks=report.checks))
    print_report(report, target, as_json=as_json)


def _built(opened: Bundle, backend: Backend, folder: Path) -> Bundle:
    """The bundle in `folder` with its engine built, not yet sealed."""
    bundle = replace(opened, folder=folder)
    engine = backend.build(bundle.model, opened.manifest.profile, folder)
    versions = {**opened.manifest.versions, backend.name: backend.version() or engine.runtime}
    return replace(bundle, manifest=replace(opened.manifest, engine=engine, versions=versions))


def _report(built: Bundle, backend: Backend, result: Verification) -> Report:
    """The old report with what was measured now in the place of what was estimated.

    Raises:
        ConstraintError: The engine is wrong, or slower than the original.
    """
    old, clock = built.report(), clock_of(built, _THREADS)
    decision = _decide(built, result, clock)
    if not decision.accepted:
        raise ConstraintError(
            f"{built.path}: the gate refuses the built engine: {'; '.join(decision.reasons)}",
            "the bundle is as it was; compile again with other constraints",
        )
    speedup = None if result.paired is None else result.paired.ratio[clock]
    before, after = _latencies(built, backend, result, clock)
    again = {check.name for check in result.checks}
    kept = tuple(check for check in old.checks if check.name not in again)
    return replace(
        old,
        original=replace(old.original, latency=before or old.original.latency),
        compiled=replace(old.compiled, latency=after),
        speedup=speedup,
        golden=result.golden,
        checks=(*result.checks, *kept),
        attempts=(*old.attempts, Attempt("built on the device", decision, speedup)),
    )


def _decide(built: Bundle, result: Verification, clock: Clock) -> GateDecision:
    if result.failed:
        reasons = (f"{check.name}: {check.detail}" for check in result.failed)
        return GateDecision(accepted=False, reasons=tuple(reasons))
    if set(built.plan().counts()) <= {Precision.FP32.value}:
        return GateDecision.identity()
    return gate(result.golden, result.paired, drop=None, tolerance=Tolerance(math.inf, clock))


def _latencies(
    built: Bundle, backend: Backend, result: Verification, clock: Clock
) -> tuple[Latency | None, Latency]:
    """Times of the original, where it was at hand, and of the built engine."""
    source = _source(built, backend)
    if result.paired is not None:
        a, b, runs = result.paired.a[clock], result.paired.b[clock], result.paired.runs
        before = Latency.measured(a, runs, clock, source)
        return before, Latency.measured(b, runs, clock, source)
    engine = load_engine(built, backend, _THREADS)
    times = latency(engine, golden_feeds(built), Timing(clock=clock))
    return None, Latency.measured(times.spread[clock], times.runs, clock, source)


def _source(built: Bundle, backend: Backend) -> str:
    """Who measured: the device, the runtime, how many threads, and when."""
    today = dt.datetime.now(dt.UTC).date()
    runtime = f"{backend.name} {backend.version()}"
    return f"{built.manifest.profile.title}, {runtime}, {_THREADS} thread, {today}"
