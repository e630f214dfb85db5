"""Draws predicted against published latencies."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...toolchain.device import load_profile
from .fit import Foretold
from .scores import FACTOR, score

_COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#cc79a7", "#000000", "#8c3b00")
_MARKERS = "osDv^Pp*"
_DPI = 110


def draw(foretold: Sequence[Foretold], path: Path) -> None:
    """Write a log-log picture, one colour a device, as PNG.

    Args:
        foretold: Rows, each predicted without its model.
        path: The file to write.
    """
    figure = Figure(figsize=(6.6, 6.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    milliseconds = [value / 1e3 for item in foretold for value in (item.us, item.row.us)]
    ends = [0.7 * min(milliseconds), 1.4 * max(milliseconds)]
    lower, upper = ([end * factor for end in ends] for factor in (1 / FACTOR, FACTOR))
    axes.fill_between(ends, lower, upper, color="0.92", label=f"within a factor {FACTOR}")
    axes.plot(ends, ends, color="0.5", linewidth=1)
    for index, device in enumerate(dict.fromkeys(item.row.device for item in foretold)):
        own = [item for item in foretold if item.row.device == device]
        axes.scatter(
            [item.row.us / 1e3 for item in own],
            [item.us / 1e3 for item in own],
            s=26,
            c=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            alpha=0.8,
            linewidths=0,
            label=f"{load_profile(device).title} ({len(own)})",
        )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel("published latency of a batch, ms")
    axes.set_ylabel("estimated, the network left out of the fit, ms")
    all_of_them = score(foretold)
    axes.set_title(
        f"{all_of_them.rows} published latencies of {all_of_them.models} networks:\n"
        f"median error {all_of_them.median:.0%}, {all_of_them.within:.0%} within {FACTOR}x",
        fontsize=10,
    )
    axes.legend(fontsize=8, loc="upper left")
    axes.grid(visible=True, which="major", color="0.85", linewidth=0.6)
    figure.savefig(path, dpi=_DPI, metadata={"Software": ""})
