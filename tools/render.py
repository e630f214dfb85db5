"""What the command line draws: progress on stderr, and the one table of a compilation."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import progress as parts
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..toolchain.engine import Status
from ..toolchain.origin import Origin
from ..toolchain.progress import Progress, Silent
from ..toolchain.report import Attempt, Latency, Measured, Quality, Report, SearchRow
from ..toolchain.timing import Interval
from .structure_tables import stage_table, structure_rows

_PIPE_WIDTH = 160  # a file or a pipe has no width: long lines are better there than folded ones
_NONE = "-"


class BarProgress:
    """Stages as bars with the time left, for a terminal."""

    def __init__(self, bars: parts.Progress, *, verbose: bool) -> None:
        self._bars = bars
        self._verbose = verbose
        self._running: parts.TaskID | None = None

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Draw one bar; a stage of unknown length pulses until it ends."""
        task = self._running = self._bars.add_task(name, total=total, remark="")
        yield lambda: self._bars.advance(task)
        done = self._bars.tasks[task].completed or 1
        self._bars.update(task, total=done, completed=done)

    def remark(self, text: str) -> None:
        """Write behind the bar that was drawn last."""
        if self._running is not None:
            self._bars.update(self._running, remark=escape(text))

    def note(self, text: str) -> None:
        """Print a line above the bars, with -v."""
        if self._verbose:
            self._bars.console.print(text, style="dim", markup=False, highlight=False)


class LineProgress:
    """One line a stage as it ends, for a log."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose
        self._remark = ""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Print how long the stage took."""
        started = time.perf_counter()
        yield lambda: None
        steps = f" ({total})" if total else ""
        remark, self._remark = self._remark and f", {self._remark}", ""
        self._print(f"hwc: {name}{steps}: {time.perf_counter() - started:.1f} s{remark}")

    def remark(self, text: str) -> None:
        """Keep it for the end of the stage."""
        self._remark = text

    def note(self, text: str) -> None:
        """Print a line, with -v."""
        if self._verbose:
            self._print(f"hwc: {text}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(*, quiet: bool = False, verbose: bool = False) -> Iterator[Progress]:
    """The Progress that suits stderr: bars, lines, or nothing with -q."""
    console = Console(stderr=True)
    if quiet:
        yield Silent()
    elif not console.is_terminal:
        yield LineProgress(console, verbose=verbose)
    else:
        columns = (
            parts.SpinnerColumn(finished_text="[green]✓"),
            parts.TextColumn("{task.description}"),
            parts.BarColumn(),
            parts.MofNCompleteColumn(),
            parts.TimeElapsedColumn(),
            parts.TimeRemainingColumn(),
            parts.TextColumn("{task.fields[remark]}", style="dim"),
        )
        with parts.Progress(*columns, console=console) as bars:
            yield BarProgress(bars, verbose=verbose)


def console() -> Console:
    """The console for results: stdout, never folded where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def text_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> Table:
    """A table of plain texts."""
    table = Table(*columns, title=escape(title) or None)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def print_report(report: Report, bundle: Path, *, as_json: bool = False) -> None:
    """Print the table, what is owed, the remarks, and the path of the bundle last; or JSON."""
    out = console()
    if as_json:
        out.file.write(report.to_json() + "\n")
        return
    if report.stages:
        out.print(stage_table(report))
    out.print(report_table(report))
    for line in (*_sources(report), *_checks(report), *report.notes):
        out.print(escape(line), soft_wrap=True)
    out.print(escape(str(bundle)), soft_wrap=True, style="bold")


def report_table(report: Report) -> Table:
    """Original and compiled, side by side."""
    table = Table(title=escape(f"{report.model} on {report.device} ({report.backend})"))
    table.add_column("")
    table.add_column("original")
    table.add_column("compiled")
    for row in _rows(report):
        table.add_row(*(escape(cell) for cell in row))
    return table


def _rows(report: Report) -> Iterator[tuple[str, str, str]]:
    before, after = report.original, report.compiled
    yield "latency", latency_text(before.latency), latency_text(after.latency)
    if report.predicted is not None:
        yield "predicted", _NONE, _prediction(report.predicted)
    if report.speedup is not None:
        yield "speed-up", "1x", interval_text(report.speedup, "{:.3f}x")
    yield "size", size_text(before.size), f"{size_text(after.size)}{_smaller(before, after)}"
    yield from structure_rows(report)
    if after.quality is not None:
        name = f"{after.quality.metric} (n = {after.quality.n}, {after.quality.split})"
        yield name, _quality(before.quality), _quality(after.quality)
    if report.drop is not None:
        yield "drop", _NONE, interval_text(report.drop, "{:.2%}")
    if report.golden is not None:
        yield "golden inputs", _NONE, f"SQNR {report.golden.sqnr_db:.1f} dB"
    yield "nodes", counts_text(before.counts), counts_text(after.counts)
    yield "kernels", _NONE, counts_text(report.kernels)
    yield "boundaries", _NONE, str(report.boundaries)
    if report.search is not None:
        yield "search", _NONE, _search(report.search)
    yield "gate", _NONE, "\n".join(_attempt(attempt) for attempt in report.attempts) or _NONE


def _prediction(predicted: Latency) -> str:
    """What was predicted, and how far from what was then measured."""
    off = "" if predicted.residual is None else f" ({predicted.residual:+.1%} off)"
    return f"{time_text(predicted.us)}{off}"


def latency_text(latency: Latency | None) -> str:
    """A time with its spread, and whether it is measured or estimated."""
    if latency is None:
        return "not known"
    text = time_text(latency.us)
    if latency.spread is not None:
        text += f" ({time_text(latency.spread.p10)} to {time_text(latency.spread.p90)})"
    if latency.residual is not None:
        text += f" ±{latency.residual:.0%}"
    runs = f", {latency.runs} runs" if latency.runs else ""
    return f"{text} {latency.origin.value}{runs}"


def time_text(us: float) -> str:
    """Microseconds in the unit that reads best."""
    return f"{us:.1f} µs" if us < 1e3 else f"{us / 1e3:.3f} ms"  # noqa: PLR2004 - µs in a ms


def interval_text(interval: Interval, form: str) -> str:
    """An estimate with its 95 % interval."""
    value, low, high = (form.format(v) for v in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"


def counts_text(counts: Mapping[str, int]) -> str:
    """What there is how often, the most frequent first."""
    by_count = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in by_count) or _NONE


def size_text(size: int) -> str:
    """Bytes in MB (10^6), or kB where that would be nothing."""
    return f"{size / 1e6:.2f} MB" if size >= 1e5 else f"{size / 1e3:.2f} kB"  # noqa: PLR2004 - 0.1 MB


def _smaller(before: Measured, after: Measured) -> str:
    return f" ({before.size / after.size:.2f}x smaller)" if after.size < before.size else ""


def _quality(quality: Quality | None) -> str:
    return _NONE if quality is None else interval_text(quality.value, "{:.2%}")


def _search(row: SearchRow) -> str:
    """Who searched, how long, and whether it was of use."""
    plans = "plan" if row.evaluations == 1 else "plans"
    tried = f"{row.strategy}, {row.evaluations} {plans} evaluated"
    return f"{tried}\n{row.verdict}" if row.verdict else tried


def _attempt(attempt: Attempt) -> str:
    verdict = "accepted" if attempt.decision.accepted else "refused"
    return f"{attempt.plan}: {verdict}: {'; '.join(attempt.decision.reasons)}"


def _sources(report: Report) -> Iterator[str]:
    latencies = (report.original.latency, report.compiled.latency, report.predicted)
    seen = {(x.origin, x.source, x.clock) for x in latencies if x is not None}
    for origin, source, clock in sorted(seen):
        unit = f" ({clock})" if origin is Origin.MEASURED else ""
        yield f"{origin}: {source}{unit}"


def _checks(report: Report) -> Iterator[str]:
    for check in sorted(report.checks, key=lambda check: check.status is Status.OWED):
        yield f"{check.name}: {check.status}{f' ({check.detail})' if check.detail else ''}"
