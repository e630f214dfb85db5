"""Draws how the best of each search grew, and the trade of loss against latency."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..toolchain.search.goal import Trial
from ..toolchain.search.problem import Objective
from ..toolchain.search.trace import Trace
from .search_report import Outcome

_COLOURS = ("#0072b2", "#000000", "#009e73", "#d55e00", "#e69f00", "#cc79a7", "#56b4e9", "#8c3b00")
_DPI = 120
_UNITS = {
    Objective.DROP: (1.0, "loss"),
    Objective.LATENCY: (1e3, "latency, ms"),
    Objective.SIZE: (1e6, "size, MB"),
    Objective.ENERGY: (1e3, "energy, mJ"),
}


def draw(traces: Sequence[Trace], front: Sequence[Trial], outcome: Outcome, path: Path) -> None:
    """Write the picture as PNG.

    Args:
        traces: The searches.
        front: The Pareto set of all trials.
        outcome: What came of them.
        path: The file to write.
    """
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    names = list(dict.fromkeys(trace.strategy for trace in traces))
    for index, name in enumerate(names):
        own = [trace for trace in traces if trace.strategy == name]
        colour = _COLOURS[index % len(_COLOURS)]
        _curve(left, own, outcome, colour)
        trials = [trial for trace in own for trial in trace.trials]
        _dots(right, trials, name, colour)
    ends = sorted(front, key=lambda trial: trial.us)
    right.step(
        [trial.us / 1e3 for trial in ends],
        np.minimum.accumulate([trial.loss for trial in ends]) if ends else [],
        where="post",
        color="0.3",
        linewidth=1,
        label="Pareto set",
    )
    _finish(left, right, outcome, traces)
    figure.suptitle(f"{Path(outcome.model).name} on {outcome.device}", fontsize=11)
    figure.savefig(path, dpi=_DPI, format="png", metadata={"Software": ""})


def _curve(axes: Axes, own: Sequence[Trace], outcome: Outcome, colour: str) -> None:
    """Median and range over the seeds; dotted where a search had ended."""
    curves = _padded(own, outcome.budget) / _UNITS[outcome.objective][0]
    steps = np.arange(1, outcome.budget + 1)
    median = np.median(curves, axis=0)
    end = max(len(trace.trials) for trace in own)
    axes.step(
        steps[:end], median[:end], where="post", color=colour, label=own[0].strategy, marker=""
    )
    if end < outcome.budget:
        axes.plot(steps[end - 1 :], median[end - 1 :], color=colour, linestyle=":")
        axes.plot(steps[end - 1], median[end - 1], "o", color=colour, markersize=4)
    if len(own) > 1:
        low, high = curves.min(axis=0), curves.max(axis=0)
        axes.fill_between(steps, low, high, step="post", color=colour, alpha=0.15, linewidth=0)


def _padded(own: Sequence[Trace], budget: int) -> npt.NDArray[np.float64]:
    """The best so far, going on as it ended; NaN before there is one; shape (seeds, budget)."""
    curves = np.full((len(own), budget), np.nan)
    for row, trace in zip(curves, own, strict=True):
        best = np.array(trace.curve()[:budget])
        row[: len(best)] = np.where(np.isfinite(best), best, np.nan)
        row[len(best) :] = row[len(best) - 1] if len(best) else np.nan
    return curves


def _dots(axes: Axes, trials: Sequence[Trial], name: str, colour: str) -> None:
    built = [trial for trial in trials if np.isfinite(trial.loss)]
    us, losses = [trial.us / 1e3 for trial in built], [trial.loss for trial in built]
    axes.scatter(us, losses, s=9, color=colour, alpha=0.4, linewidths=0, label=name)


def _finish(left: Axes, right: Axes, outcome: Outcome, traces: Sequence[Trace]) -> None:
    """Scales, titles and limits."""
    losses = [t.loss for trace in traces for t in trace.trials if np.isfinite(t.loss)]
    logarithmic = bool(losses) and min(losses) > 0.0
    left.set_xlabel("true evaluations")
    left.set_ylabel(f"best so far: {_UNITS[outcome.objective][1]}")
    if logarithmic:
        right.set_yscale("log")
        if outcome.objective is Objective.DROP:
            left.set_yscale("log")
    right.set_xlabel("predicted latency, ms")
    right.set_ylabel(f"loss ({outcome.loss})", fontsize=8)
    if np.isfinite(outcome.limits.latency_us):
        right.axvline(outcome.limits.latency_us / 1e3, color="0.6", linestyle="--", linewidth=1)
    for axes in (left, right):
        axes.grid(visible=True, which="major", color="0.9", linewidth=0.6)
        axes.legend(fontsize=8, loc="best")
