"""What came of a comparison of strategies, and its table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.markup import escape
from rich.table import Table

from ..toolchain.codec import canonical
from ..toolchain.search.problem import Limits, Objective, Problem
from ..toolchain.search.trace import Trace
from ..toolchain.search.verdict import Verdict
from ..toolchain.timing import Interval
from .render import console, interval_text, size_text, time_text

EXACT = "exact"  # what the others are held against
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Entry:
    """One search.

    Attributes:
        strategy: Who searched.
        seed: What its random numbers began with.
        loss: Of its best plan, on the samples of the search.
        fresh: The same on samples that no search has seen; None where there are too few.
        difference: On these, what is minimised less that of the exact plan; the intervals of all
            searches hold at once.
        latency_us: Of its best plan, predicted, in microseconds.
        size: Of its best plan, in bytes.
        evaluations: How many plans it judged.
        seconds: Wall time; a plan that was judged before, for another search, takes none.
        counts: How many slots of its best plan have each precision.
    """

    strategy: str
    seed: int
    loss: float
    fresh: float | None
    difference: Interval | None
    latency_us: float
    size: int
    evaluations: int
    seconds: float
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A comparison.

    Attributes:
        model: What was searched.
        device: What for.
        loss: What counts.
        objective: What was minimised.
        limits: What a plan may take.
        budget: True evaluations of each search.
        samples: How many samples a search judges plans by.
        entries: The searches.
        verdict: The best plans of all searches against exact's, on samples that no search has
            seen; None where there are too few.
        text: What it says.
        notes: What the user should know.
        interrupted: Whether Ctrl-C ended it.
    """

    model: str
    device: str
    loss: str
    objective: Objective
    limits: Limits
    budget: int
    samples: int
    entries: tuple[Entry, ...]
    verdict: Verdict | None
    text: str
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    def to_json(self) -> str:
        """Canonical JSON."""
        return canonical(self)


def entries(traces: Sequence[Trace], problem: Problem, finals: Verdict | None) -> tuple[Entry, ...]:
    """The searches that found something.

    Args:
        traces: The searches.
        problem: What they searched.
        finals: The best plan of each on fresh samples.
    """
    judged = {final.indices: final for final in finals.finalists} if finals else {}
    found = []
    for trace in traces:
        trial = trace.best
        if trial is None:
            continue
        final = judged.get(trial.indices)
        found.append(
            Entry(
                trace.strategy,
                trace.seed,
                trial.loss,
                None if final is None else final.loss,
                None if final is None else final.difference,
                trial.us,
                trial.size,
                len(trace.trials),
                trace.seconds,
                problem.plan_of(trial.indices).counts(),
            )
        )
    return tuple(found)


def print_outcome(outcome: Outcome, folder: Path, *, as_json: bool = False) -> None:
    """Print the table, the verdict, the remarks, and the path of the folder last; or JSON."""
    out = console()
    if as_json:
        out.file.write(outcome.to_json() + "\n")
        return
    out.print(_table(outcome))
    for line in (outcome.text, f"loss: {outcome.loss}", *outcome.notes):
        out.print(escape(line), soft_wrap=True)
    out.print(escape(str(folder)), soft_wrap=True, style="bold")


def _table(outcome: Outcome) -> Table:
    """One row a strategy: means over its seeds."""
    title = f"{outcome.model} on {outcome.device}, {outcome.budget} evaluations each"
    table = Table(title=escape(title))
    columns = ("strategy", f"loss (n = {outcome.samples})", _fresh_title(outcome), "latency")
    for column in (*columns, "size", "evaluations", "seconds"):
        table.add_column(column)
    for name in dict.fromkeys(entry.strategy for entry in outcome.entries):
        own = [entry for entry in outcome.entries if entry.strategy == name]
        table.add_row(*(escape(cell) for cell in _cells(name, own, outcome)))
    return table


def _fresh_title(outcome: Outcome) -> str:
    what = "loss" if outcome.objective is Objective.DROP else outcome.objective.value
    count = f" (n = {outcome.verdict.samples})" if outcome.verdict else ""
    return f"fresh {what} against exact{count}"


def _cells(name: str, own: Sequence[Entry], outcome: Outcome) -> Iterator[str]:
    losses = [entry.loss for entry in own]
    spread = f" ({min(losses):.4g} to {max(losses):.4g})" if len(own) > 1 else ""
    yield name if len(own) == 1 else f"{name}, {len(own)} seeds"
    yield f"{fmean(losses):.4g}{spread}"
    yield _against(name, own, outcome)
    yield time_text(fmean(entry.latency_us for entry in own))
    yield size_text(round(fmean(entry.size for entry in own)))
    yield f"{fmean(entry.evaluations for entry in own):.0f}"
    yield f"{fmean(entry.seconds for entry in own):.1f}"


def _against(name: str, own: Sequence[Entry], outcome: Outcome) -> str:
    """The mean of the differences, as a fraction where there is one.

    The intervals hold at once, so that the mean lies between the means of their ends.
    """
    if name == EXACT:
        return "what it is held against"
    found = [entry.difference for entry in own if entry.difference is not None]
    if outcome.verdict is None or len(found) < len(own):
        return _NONE
    value = fmean(interval.value for interval in found)
    mean = Interval(value, fmean(i.low for i in found), fmean(i.high for i in found))
    scale = outcome.verdict.value
    if scale <= 0.0:
        return interval_text(mean, "{:+.3g}")
    relative = Interval(mean.value / scale, mean.low / scale, mean.high / scale)
    return interval_text(relative, "{:+.1%}")
