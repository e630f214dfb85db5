"""`hwc bench`: time a bundle, beside the original where that is at hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import click
from rich.table import Table

from ..toolchain.bundle import Bundle
from ..toolchain.codec import encode
from ..toolchain.latency.drift import TOTAL
from ..toolchain.report import Report
from ..toolchain.timing import OPENINGS, Clock, Paired, Spread, Times, Timing, latency
from . import options
from .backends import open_backend
from .loaded import (
    clock_of,
    compare,
    find_original,
    golden_feeds,
    load_engine,
    original_opener,
    require_device,
    why_no_original,
)
from .render import console, interval_text, time_text


@click.command()
@options.bundle
@options.original
@click.option(
    "--runs",
    type=click.IntRange(min=2),
    help=f"So many runs, in {OPENINGS} openings; without it, until the interval is within 1 %.",
)
@options.threads
@options.json_output
def command(
    bundle: Path, original: Path | None, runs: int | None, threads: int, *, as_json: bool
) -> None:
    """Time a bundle on its first golden input, in turns with the original model.

    Prints process CPU time and wall time; without the original, of the bundle alone.

    \b
    hwc bench effnet.hwc
    hwc bench effnet.hwc --original models/effnet.onnx --threads 2 --runs 200
    """  # noqa: D301 - click wants the escape
    with Bundle.open(bundle) as opened:
        backend = open_backend(opened.manifest.backend)
        require_device(opened, backend)
        path, clock = find_original(opened, original), clock_of(opened, threads)
        if path is None:
            why = why_no_original(opened)
            click.echo(f"hwc: no comparison: {why} (--original)", err=True)
            engine = load_engine(opened, backend, threads)
            result: Paired | Times = latency(engine, golden_feeds(opened), _timing(runs, clock))
        else:
            timing = _timing(None if runs is None else math.ceil(runs / OPENINGS), clock)
            with original_opener(path, opened, backend, threads) as reference:
                result = compare(opened, backend, reference, threads=threads, timing=timing)
        predicted = predicted_of(opened.report(), result, threads)
    if as_json:
        click.echo(json.dumps({**encode(result), **predicted}, sort_keys=True))
        return
    console().print(_paired(result) if isinstance(result, Paired) else _alone(result))
    if predicted:
        us, off = predicted["predicted_us"], predicted["residual"]
        click.echo(f"predicted {time_text(us)}, {off:+.1%} off")
        if abs(off) > TOTAL:
            click.echo("more than 10 % off: run hwc profile check, or compile again --remeasure")


def predicted_of(report: Report, result: Paired | Times, threads: int) -> dict[str, float]:
    """What the latency table says about one thread, and how far off that is of what was measured.

    Where the original ran beside the bundle, its time now over its time when it was compiled says
    how fast the machine is, and the prediction is scaled so. Empty where nothing was predicted of
    what was timed.
    """
    if report.predicted is None or threads != 1:
        return {}
    spread, speed = (result.b if isinstance(result, Paired) else result.spread), 1.0
    if isinstance(result, Paired) and report.original.latency is not None:
        speed = result.a[Clock.CPU].median / report.original.latency.us
    us = report.predicted.us * speed
    return {"predicted_us": us, "residual": us / spread[Clock.CPU].median - 1.0}


def _timing(runs: int | None, clock: Clock) -> Timing:
    timing = Timing(clock=clock)
    return timing if runs is None else replace(timing, min_runs=runs, max_runs=runs)


def _paired(paired: Paired) -> Table:
    settled = "" if paired.settled else ", not settled to 1 %"
    table = Table("", "original", "bundle", "speed-up", title=f"{paired.runs} runs{settled}")
    for clock, ratio in paired.ratio.items():
        times = spread_text(paired.a[clock]), spread_text(paired.b[clock])
        table.add_row(clock.value, *times, interval_text(ratio, "{:.3f}x"))
    return table


def _alone(times: Times) -> Table:
    table = Table("", "bundle", title=f"{times.runs} runs")
    for clock, spread in times.spread.items():
        table.add_row(clock.value, spread_text(spread))
    return table


def spread_text(spread: Spread) -> str:
    """A median with the tenth and ninetieth percentile."""
    return f"{time_text(spread.median)} ({time_text(spread.p10)} to {time_text(spread.p90)})"
