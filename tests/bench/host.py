"""The development models on this machine: accuracy, size and speed beside fp32 and beside the peer.

Run `python tests/bench/host.py`. Each model is compiled for `host` with its calibration data, and
so is the peer's artefact: ONNX Runtime's static QDQ quantizer (u8s8, per channel, MinMax; dynamic
where static fails), given the same data. Then all three engines meet the evaluation data, which
neither has seen, and run in turns on the same input: process CPU time of one inference on one
thread, and wall time on two. Speed-ups are medians of pairs with their 95 % intervals.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hwc.toolchain.bundle import Bundle
from hwc.toolchain.codec import encode
from hwc.toolchain.report import Report
from hwc.tools.backends import open_backend
from hwc.tools.loaded import input_specs, load_engine
from support import peer
from support.answers import recording
from support.calibration import arguments, spread
from support.compilation import Outcome, compile_model, write_json
from support.contest import THREADS, Arena, Contender, Engines, Speed
from support.devkit import Case, Run, SkipError, as_run, cases, evaluate
from support.tables import markdown, points, say, times

MAX_DROP = 0.01
CALIBRATION = 128  # samples that the peer gets, as many as `hwc compile` takes at most


@dataclass(frozen=True, slots=True)
class Row:
    """One model.

    Attributes:
        model: Its name.
        metric: What its score is.
        score: Of the original.
        size: Bytes of the original.
        peer: ONNX Runtime's quantizer.
        seconds: That `hwc compile` took.
        failure: Why it delivered nothing; otherwise empty.
        hwc: What it delivered.
        over_peer: The speed of `hwc` over the peer.
    """

    model: str
    metric: str
    score: float
    size: int
    peer: Contender
    seconds: float
    failure: str = ""
    hwc: Contender | None = None
    over_peer: Speed | None = None

    @property
    def drop(self) -> float:
        """Of what was delivered."""
        return self.score - self.hwc.score if self.hwc else math.nan

    @property
    def slower(self) -> bool:
        """Surely slower than the original, by either clock."""
        speed = self.hwc.speed if self.hwc else None
        return speed is not None and min(speed.cpu.high, speed.wall.high) < 1.0


def measure(case: Case, asked: argparse.Namespace) -> Row:
    """Compile one model, make the peer's, and compare all three."""
    say(f"{case.name}: compile")
    outcome = compile_model(
        case.path,
        asked.work / f"{case.name}.hwc",
        *("--device", "host", "--max-drop", "1%"),
        *arguments(case, asked.work / "data", labelled=asked.judge == "labels"),
        cache=asked.work / "cache",
    )
    say(f"{case.name}: {outcome.message or f'{outcome.seconds:.0f} s'}; now the peer")
    feeds = spread(case, CALIBRATION)
    path = asked.work / f"{case.name}-peer.onnx"
    how = peer.quantize(case.path, feeds, path)
    original, rival = Engines.of_file(case.path), Engines.of_file(path)
    run, answers = recording(case, _run(original))
    score = evaluate(case, run, asked.limit)
    arena = Arena(case, original, answers, feeds[0], asked.seconds, asked.limit)
    theirs = arena.contend(rival, _run(rival), size=path.stat().st_size, made=how)
    size = case.path.stat().st_size
    plain = Row(case.name, case.metric, score, size, theirs, outcome.seconds, outcome.message)
    return plain if outcome.report is None else _delivered(plain, outcome, arena, rival)


def _delivered(plain: Row, outcome: Outcome, arena: Arena, rival: Engines) -> Row:
    """The row with what `hwc` delivered."""
    report = outcome.report
    assert report is not None  # it was delivered
    with Bundle.open(outcome.bundle) as bundle:
        backend = open_backend(bundle.manifest.backend)
        single, parallel = (partial(load_engine, bundle, backend, n) for n in (1, THREADS))
        ours = Engines(single, parallel)
        run = as_run(ours.parallel(), input_specs(bundle))
        made = arena.contend(ours, run, size=report.compiled.size, made=_plan(report))
        over = arena.speed(rival, ours)
    return Row(
        *(plain.model, plain.metric, plain.score, plain.size, plain.peer, plain.seconds),
        hwc=made,
        over_peer=over,
    )


def _run(engines: Engines) -> Run:
    """An engine of the original's interface as the kit calls it."""
    runner = engines.parallel()
    return lambda feeds: list(runner(feeds).values())


def _plan(report: Report) -> str:
    """What was chosen, and how many plans the gate refused before."""
    counts = ", ".join(f"{name} {n}" for name, n in report.compiled.counts.items())
    refused = sum(not attempt.decision.accepted for attempt in report.attempts)
    return f"{counts}; {refused} refused" if refused else counts


def accuracy_table(rows: Sequence[Row]) -> str:
    """Score, drop, agreement and size."""
    head = "model|metric|fp32|hwc|drop (1 allowed)|peer|agreement hwc|peer|smaller hwc|peer"
    cells = []
    for row in rows:
        ours, theirs = row.hwc, row.peer
        cells.append(
            (
                *(row.model, row.metric, points(row.score)),
                *((points(ours.score), points(row.drop)) if ours else (row.failure, "-")),
                points(theirs.score),
                *(points(ours.agreement if ours else None), points(theirs.agreement)),
                f"{row.size / ours.size:.2f}x" if ours else "-",
                f"{row.size / theirs.size:.2f}x",
            )
        )
    return markdown(head.split("|"), cells)


def speed_table(rows: Sequence[Row]) -> str:
    """Speed-ups, and how the artefacts were made."""
    head = (
        "model|CPU, 1 thread: over fp32|over peer|peer over fp32"
        "|wall, 2 threads: over fp32|over peer|peer over fp32|plan|peer|compile"
    )
    cells = []
    for row in rows:
        ours, theirs = row.hwc, row.peer.speed
        gain, over = ours.speed if ours else None, row.over_peer
        cells.append(
            (
                row.model,
                *(times(speed.cpu if speed else None) for speed in (gain, over, theirs)),
                *(times(speed.wall if speed else None) for speed in (gain, over, theirs)),
                *(ours.made if ours else row.failure, row.peer.made, f"{row.seconds:.0f} s"),
            )
        )
    return markdown(head.split("|"), cells)


def verdict(rows: Sequence[Row]) -> str:
    """The counts that must be zero, and the gains."""
    crashed = [row.model for row in rows if row.hwc is None]
    slower = [row.model for row in rows if row.slower]
    outside = [row.model for row in rows if row.hwc and row.drop > MAX_DROP]
    worse = [row.model for row in rows if row.score - row.peer.score > MAX_DROP]
    slow_peers = [row.model for row in rows if row.peer.speed.cpu.high < 1.0]
    lines = [
        f"{_count(crashed, rows)} not delivered (asked 0)",
        f"{_count(slower, rows)} slower than fp32 ONNX Runtime (asked 0)",
        f"{_count(outside, rows)} lose more than 1 point on unseen data (asked 0)",
        f"the peer: {_count(slow_peers, rows)} slower, {_count(worse, rows)} lose more",
        f"geometric mean over fp32 {_mean([row.hwc.speed for row in rows if row.hwc])}",
        f"geometric mean over the peer {_mean([row.over_peer for row in rows if row.over_peer])}",
    ]
    return "\n".join(lines)


def _count(names: Sequence[str], rows: Sequence[Row]) -> str:
    listed = f" ({', '.join(names)})" if names else ""
    return f"{len(names)} of {len(rows)}{listed}"


def _mean(speeds: Sequence[Speed]) -> str:
    def mean(values: Sequence[float]) -> str:
        if not values:
            return "-"
        return f"{math.exp(sum(map(math.log, values)) / len(values)):.3f}x"

    cpu, wall = [s.cpu.value for s in speeds], [s.wall.value for s in speeds]
    return f"{mean(cpu)} CPU on one thread, {mean(wall)} wall on two"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=(), metavar="NAME", help="only these")
    parser.add_argument("--work", type=Path, default=Path("build/bench/host"), help="%(default)s")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    parser.add_argument(
        "--seconds", type=float, default=10, help="for one comparison [%(default)s]"
    )
    parser.add_argument("--limit", type=int, help="evaluate on the first so many samples only")
    parser.add_argument(
        *("--judge",),
        choices=("labels", "agreement"),
        default="labels",
        help="whether hwc sees the labels of the calibration data [%(default)s]",
    )
    asked = parser.parse_args()
    asked.work = asked.work.absolute()
    try:
        chosen = cases(asked.models)
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    rows = []
    for case in chosen:
        rows.append(measure(case, asked))
        if asked.out:
            write_json(asked.out, encode(rows))
    say("\n\n".join(["", accuracy_table(rows), speed_table(rows), verdict(rows)]))


if __name__ == "__main__":
    main()
