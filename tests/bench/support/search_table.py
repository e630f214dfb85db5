"""Tables of how strategies of search compare on data that none of them saw."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from hwc.toolchain.accuracy.store import Context, LossStore
from hwc.toolchain.search.bootstrap import simultaneous
from hwc.toolchain.search.problem import Floats
from hwc.toolchain.timing import Interval
from scipy.stats import t as student

from .search_entrants import ENTRANTS, EXACT, RIVAL, RL
from .search_run import Final, Result
from .tables import markdown

BARE, GUARDED = f"{RL}, no guard", f"{RIVAL}, guard"
_CONFIDENT = 0.975


@dataclass(frozen=True, slots=True)
class View:
    """One column of the tables.

    Attributes:
        strategy: Whose results.
        final: The plan that counts.
    """

    strategy: str
    final: Callable[[Result], Final | None]


VIEWS: Mapping[str, View] = {
    **{name: View(name, lambda result: result.final) for name in ENTRANTS},
    BARE: View(RL, lambda result: result.winner),
    GUARDED: View(RIVAL, lambda result: result.guarded),
}


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What some strategy delivered in one cell, by seed.

    Attributes:
        losses: On the report's samples; shape (seeds,).
        samples: The mean over seeds of each sample's loss; shape (n,).
    """

    losses: Floats
    samples: Floats

    def over(self, unit: float) -> Interval:
        """Mean of the losses over a unit, with its 95 % interval over seeds (Student's t)."""
        ratios = self.losses / unit
        mean, count = float(ratios.mean()), len(ratios)
        if count < 2:
            return Interval(mean, mean, mean)
        error = float(ratios.std(ddof=1)) / sqrt(count) * float(student.ppf(_CONFIDENT, count - 1))
        return Interval(mean, mean - error, mean + error)

    def less(self, other: "Scores") -> Interval:
        """The mean loss less another's, with its 95 % interval over samples (paired bootstrap)."""
        apart = self.samples - other.samples
        low, high = simultaneous(apart[None], np.random.default_rng(0))
        return Interval(float(apart.mean()), float(low[0]), float(high[0]))


Cell = Mapping[str, Scores]  # by view


def scored(results: Iterable[Result], store: LossStore) -> dict[str, Cell]:
    """The scores of each cell; cells without the exact plan, and views without a plan, left out."""
    cells: dict[str, list[Result]] = {}
    for result in results:
        cells.setdefault(result.cell, []).append(result)
    every = {name: _cell(rows, store) for name, rows in cells.items()}
    return {name: cell for name, cell in every.items() if EXACT in cell}


def _cell(results: Sequence[Result], store: LossStore) -> Cell:
    cell = {}
    for name, view in VIEWS.items():
        own = [result for result in results if result.strategy == view.strategy]
        finals = [(result, final) for result in own if (final := view.final(result))]
        if not finals or len(finals) < len(own):
            continue
        kept = [store.get(Context(*result.context), final.digest) for result, final in finals]
        samples = [loss.samples.astype(np.float64) for loss in kept if loss is not None]
        losses = np.array([final.loss for _, final in finals])
        cell[name] = Scores(losses, np.mean(samples, axis=0))
    return cell


def tables(results: Sequence[Result], store: LossStore) -> str:
    """All tables, in Markdown."""
    cells = scored(results, store)
    parts = (
        "Loss on the report's samples over that of the exact plan (of which the loss itself):",
        _losses(cells),
        "Over all cells:",
        _summary(cells),
        "Against one another, paired over samples (the mean of all seeds):",
        _duels(cells),
        "CPU seconds of one thread:",
        _seconds(results),
    )
    return "\n\n".join(parts) + "\n"


def _losses(cells: Mapping[str, Cell]) -> str:
    there = [name for name in VIEWS if any(name in cell for cell in cells.values())]
    rows = []
    for name, cell in cells.items():
        unit = float(cell[EXACT].losses.mean())
        shown = [_ratio(cell[v].over(unit)) if v in cell else "-" for v in there if v != EXACT]
        rows.append([name, f"{unit:.3g}", *shown])
    return markdown(["cell", EXACT, *(name for name in there if name != EXACT)], rows)


def _ratio(interval: Interval) -> str:
    if interval.low == interval.high:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _summary(cells: Mapping[str, Cell]) -> str:
    """How each strategy does over all cells."""
    rows = []
    for name in VIEWS:
        own = [cell for cell in cells.values() if name in cell]
        if not own or name == EXACT:
            continue
        ratios = [cell[name].losses.mean() / cell[EXACT].losses.mean() for cell in own]
        apart = [cell[name].less(cell[EXACT]) for cell in own]
        counts = _counts(apart)
        rows.append([name, str(len(own)), f"{np.exp(np.mean(np.log(ratios))):.3f}", *counts])
    head = ("strategy", "cells", "over exact (geometric mean)", *_COUNTED)
    return markdown(head, rows)


_COUNTED = ("no worse", "surely better", "surely worse")


def _counts(apart: Sequence[Interval]) -> tuple[str, str, str]:
    """In how many cells something is no worse, surely better, and surely worse."""
    no_worse = sum(each.value <= 0.0 for each in apart)
    better, worse = sum(each.high < 0.0 for each in apart), sum(each.low > 0.0 for each in apart)
    return str(no_worse), str(better), str(worse)


def _duels(cells: Mapping[str, Cell]) -> str:
    rows = []
    for one, other in ((RL, EXACT), (RL, RIVAL), (RL, GUARDED), (BARE, RIVAL), (GUARDED, EXACT)):
        both = [cell for cell in cells.values() if one in cell and other in cell]
        if both:
            ratios = [cell[one].losses.mean() / cell[other].losses.mean() for cell in both]
            counts = _counts([cell[one].less(cell[other]) for cell in both])
            mean = f"{np.exp(np.mean(np.log(ratios))):.3f}"
            rows.append([f"{one} / {other}", str(len(both)), mean, *counts])
    return markdown(("who", "cells", "ratio (geometric mean)", *_COUNTED), rows)


def _seconds(results: Sequence[Result]) -> str:
    """By model, what an evaluation takes and what strategies take beside for all of theirs."""
    grounds = sorted({result.cell.rsplit(", ", 1)[0] for result in results})
    rows = []
    for ground in grounds:
        own = [r for r in results if r.cell.rsplit(", ", 1)[0] == ground]
        for name in ENTRANTS:
            runs = [r for r in own if r.strategy == name]
            if not runs:
                continue
            measured = sum(r.measured for r in runs)
            each = sum(r.judged for r in runs) / measured if measured else float("nan")
            thought = float(np.mean([r.thought for r in runs]))
            trials = float(np.mean([r.trials for r in runs]))
            total = f"{thought + each * trials:.1f}" if measured else "-"
            one = f"{each:.3f}" if measured else "-"
            cells = (f"{trials:.0f}", one, f"{thought:.1f}", total)
            rows.append([ground, name, *cells])
    return markdown(("model, device", "strategy", "trials", "one", "beside", "search"), rows)
