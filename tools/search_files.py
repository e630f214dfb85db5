"""The files of a comparison of strategies, each whole or absent."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ..toolchain.output import atomic_output
from ..toolchain.search.goal import Trial
from ..toolchain.search.problem import Problem
from ..toolchain.search.trace import Trace
from .search_report import Outcome

LOSSES = "losses.sqlite"
SUMMARY = "summary.json"
TRIALS = "trials.csv"
PARETO = "pareto.csv"
CURVES = "curves.png"


def write_trace(folder: Path, trace: Trace) -> None:
    """Write one search."""
    _write(folder / f"trace-{trace.strategy}-{trace.seed}.json", trace.to_json())


def write(folder: Path, outcome: Outcome, traces: Sequence[Trace], problem: Problem) -> Outcome:
    """Write all that came of the searches.

    Returns:
        The same, with a note where no curves could be drawn.

    Raises:
        OutputError: It cannot be written.
    """
    for trace in traces:
        write_trace(folder, trace)
    for strategy, trial in _bests(traces).items():
        _write(folder / f"plan-{strategy}.json", problem.plan_of(trial.indices).to_json())
    front = pareto(traces)
    _write(folder / TRIALS, _rows(traces))
    _write(folder / PARETO, _rows([replace(trace, trials=own) for trace, own in front]))
    if find_spec("matplotlib") is None:
        hint = f"{CURVES} was not drawn: pip install 'hwc-compiler[plot]'"
        outcome = replace(outcome, notes=(*outcome.notes, hint))
    else:
        from .search_curves import draw  # noqa: PLC0415 - matplotlib is only needed here

        with atomic_output(folder / CURVES, force=True) as stage:
            draw(traces, [trial for _, own in front for trial in own], outcome, stage)
    _write(folder / SUMMARY, outcome.to_json())
    return outcome


def pareto(traces: Sequence[Trace]) -> list[tuple[Trace, tuple[Trial, ...]]]:
    """Of each search the trials that no trial of any search beats in all figures at once."""
    everything = tuple(trial for trace in traces for trial in trace.trials)
    kept = {id(trial) for trial in replace(traces[0], trials=everything).pareto()}
    return [(trace, tuple(t for t in trace.trials if id(t) in kept)) for trace in traces]


def _bests(traces: Sequence[Trace]) -> dict[str, Trial]:
    """The best plan of each strategy."""
    found: dict[str, Trial] = {}
    for trace in traces:
        own = [trial for trial in (found.get(trace.strategy), trace.best) if trial is not None]
        if own:
            found[trace.strategy] = trace.goal.ranked(own)[0]
    return found


def _rows(traces: Sequence[Trace]) -> str:
    """The trials of all searches as CSV, the seed first."""
    header = f"seed,{traces[0].to_csv().splitlines()[0]}"
    rows = [f"{t.seed},{row}" for t in traces for row in t.to_csv().splitlines()[1:]]
    return "\n".join([header, *rows]) + "\n"


def _write(path: Path, text: str) -> None:
    with atomic_output(path, force=True) as stage:
        stage.write_text(text, encoding="utf-8")
