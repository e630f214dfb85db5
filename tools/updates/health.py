"""`hwc health`: whether a release works on this device; the agent runs it during a trial."""

import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from ...toolchain.bundle import Bundle
from ...toolchain.codec import canonical
from ...toolchain.engine import Array, Feeds, Runner
from ...toolchain.errors import HwcError
from ...toolchain.update.agent.health import Check, Kind
from ...toolchain.update.agent.hook import Answer
from ...toolchain.update.content.describe import read_release
from ..backends import open_backend
from ..loaded import load_engine

RUNS = 20


@click.command("health")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--p95-ms", type=click.FloatRange(min=0, min_open=True), help="What it may take.")
@click.option("--agreement", type=click.FloatRange(0, 1), help="Default: what the release asks.")
def command(folder: Path, p95_ms: float | None, agreement: float | None) -> None:
    """Load the bundle in FOLDER, compare its golden outputs, and time it; prints JSON.

    The cosine of each output with the stored one must reach what the release asks for. With
    --p95-ms, 95 of 100 runs must be that quick. Another check of yours can take its place:
    `hwc update --health COMMAND`.

    \b
    hwc health /opt/model/current
    hwc health /opt/model/current --p95-ms 20
    """  # noqa: D301 - click wants the escape
    click.echo(canonical(Answer(tuple(_checks(folder, p95_ms, agreement)))))


def _checks(folder: Path, p95_ms: float | None, agreement: float | None) -> Iterator[Check]:
    try:
        release = read_release(folder)
        with Bundle.open(folder) as bundle:
            runner = load_engine(bundle, open_backend(bundle.manifest.backend), 1)
            pairs = bundle.golden() if release.golden else ()
            yield Check(Kind.LOAD, passed=True, note="the engine loads")
            least = agreement
            if least is None:
                least = float(release.golden.agreement) if release.golden else 0.0
            if pairs:
                yield _golden(runner, pairs, least)
                yield _latency(runner, pairs[0][0], p95_ms)
    except HwcError as cause:
        yield Check(Kind.LOAD, passed=False, note=cause.message)


def golden_cosine(runner: Runner, pairs: tuple[tuple[Feeds, Feeds], ...]) -> float:
    """The lowest cosine of an output on the golden inputs with the stored one."""
    return min(
        _cosine(made[name], wanted)
        for feeds, outputs in pairs
        for made in [runner(feeds)]
        for name, wanted in outputs.items()
    )


def _golden(runner: Runner, pairs: tuple[tuple[Feeds, Feeds], ...], least: float) -> Check:
    found = golden_cosine(runner, pairs)
    note = f"cosine {found:.5f}, at least {least:g} is asked"
    return Check(Kind.GOLDEN, passed=bool(found >= least), note=note)


def _latency(runner: Runner, feeds: Feeds, most: float | None) -> Check:
    took = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        runner(feeds)
        took.append((time.perf_counter() - begun) * 1e3)
    p95 = float(np.percentile(took, 95))
    limit = "" if most is None else f", at most {most:g} is asked"
    note = f"p95 of {RUNS} runs {p95:.3g} ms{limit}"
    return Check(Kind.LATENCY, passed=most is None or p95 <= most, note=note)


def _cosine(made: Array, wanted: Array) -> float:
    one, two = (array.astype(np.float64).reshape(-1) for array in (made, wanted))
    if one.shape != two.shape or not np.isfinite(one).all():
        return -1.0
    lengths = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(one @ two) / lengths if lengths else float(np.array_equal(one, two))
