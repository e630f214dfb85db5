"""A plot of how the best loss falls with the evaluations that are spent, cell by cell."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hwc.toolchain.search.problem import Floats

from .search_entrants import ENTRANTS, EXACT, RIVAL, RL
from .search_run import Result

_COLOURS: Mapping[str, str] = {
    RL: "#d62728",
    RIVAL: "#1f77b4",
    EXACT: "#000000",
    "local": "#17becf",
    "evolution": "#2ca02c",
    "random": "#7f7f7f",
    "greedy": "#8c564b",
    "uniform": "#bcbd22",
    "ddpg": "#ff7f0e",
    "hierarchical": "#9467bd",
    "joint": "#e377c2",
}
_ACROSS = 4  # panels
_HIGHEST = 3.0  # times exact's loss: worse is not shown


def plot(results: Sequence[Result], path: Path) -> None:
    """Draw it: median over seeds, and the band from the best to the worst; a panel each cell.

    Losses are those on the search's samples, over the exact plan's.
    """
    import matplotlib as mpl  # noqa: PLC0415 - heavy, and only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after its backend is chosen

    cells = list(dict.fromkeys(r.cell for r in results if r.strategy == EXACT and r.winner))
    across = min(_ACROSS, max(1, len(cells)))
    down = -(-len(cells) // across)
    size = 4.2 * across, 3.2 * down + 0.8
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for panel in axes.flat[len(cells) :]:
        panel.set_visible(False)
    for panel, cell in zip(axes.flat, cells, strict=False):
        _panel(panel, cell, [result for result in results if result.cell == cell])
    marks: dict[str, Any] = {}
    for panel in axes.flat:
        handles, labels = panel.get_legend_handles_labels()
        marks |= dict(zip(labels, handles, strict=True))
    names = [name for name in _COLOURS if name in marks]
    figure.legend(
        [marks[n] for n in names], names, loc="outside lower center", ncols=3 * across - 1
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(panel: Any, cell: str, results: Sequence[Result]) -> None:  # noqa: ANN401 - matplotlib is not typed
    unit = next(r.curve[-1] for r in results if r.strategy == EXACT)
    for name in ENTRANTS:
        own = [result for result in results if result.strategy == name and result.curve]
        if not own:
            continue
        curves = _curves(own) / unit
        middle, turns = np.median(curves, axis=0), np.arange(1, curves.shape[1] + 1)
        style = "-" if ENTRANTS[name].chance else ":"
        width = 2.0 if name in {RL, RIVAL} else 1.2
        panel.plot(turns, middle, style, color=_COLOURS[name], lw=width, label=name)
        low, high = curves.min(axis=0), curves.max(axis=0)
        panel.fill_between(turns, low, high, color=_COLOURS[name], alpha=0.12, lw=0)
    lows = [r.curve[-1] / unit for r in results if r.curve]
    panel.set_ylim(max(0.0, min(lows) * 0.9), min(_HIGHEST, 1.15 * max(1.0, *lows)))
    panel.set_title(cell, fontsize=10)
    panel.set_xlabel("true evaluations", fontsize=8)
    panel.set_ylabel("best loss over exact's", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)


def _curves(results: Sequence[Result]) -> Floats:
    """The curves of several seeds, the last figure going on to the end of the budget."""
    rows = []
    for result in results:
        rest = [result.curve[-1]] * (result.budget - len(result.curve))
        rows.append([*result.curve, *rest])
    return np.array(rows)
