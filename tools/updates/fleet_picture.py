"""Draws what each installed release costs by each way, and how the rollout goes."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...toolchain.update.fleet.forecast import Forecast
from ...toolchain.update.fleet.matrix import Matrix
from ...toolchain.update.fleet.planner import FleetPlan, Way, ways
from ...toolchain.update.offer import BUCKETS

_COLOURS = {Way.FULL: "#999999", Way.DIRECT: "#0072b2", Way.CHAIN: "#e69f00"}
_MARKS = {Way.FULL: "s", Way.DIRECT: "o", Way.CHAIN: "D"}
_DPI = 120
_MB = 1e6
_DAY = 24.0


def draw(plan: FleetPlan, matrix: Matrix, forecast: Forecast | None, path: Path) -> None:
    """Write the picture as PNG.

    Args:
        plan: What is sent.
        matrix: What could be.
        forecast: Of the rollout, where there is one.
        path: The file to write.
    """
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _ways(left, plan, matrix)
    _rollout(right, forecast)
    figure.suptitle(_plain(f"{plan.product} to {matrix.versions[plan.newest]}"), fontsize=11)
    figure.savefig(path, dpi=_DPI, format="png", metadata={"Software": ""})


def _ways(axes: Axes, plan: FleetPlan, matrix: Matrix) -> None:
    """Bytes to each device, a mark for each way; full where some devices are sent it."""
    rows = [seq for seq in sorted(matrix.versions) if seq != matrix.newest]
    for place, seq in enumerate(rows):
        chosen = {choice.way for choice in plan.choices if choice.seq == seq}
        for way, size in ways(matrix, seq).items():
            face = _COLOURS[way] if way in chosen else "white"
            axes.plot(
                *(size / _MB, place, _MARKS[way]),
                markersize=9,
                markeredgecolor=_COLOURS[way],
                markerfacecolor=face,
            )
    labels = [f"{matrix.versions[seq]}\n{_devices(plan, seq)} devices" for seq in rows]
    axes.set_yticks(range(len(rows)), [_plain(label) for label in labels], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_megabytes)
    axes.xaxis.set_minor_formatter(_megabytes)
    axes.tick_params(axis="x", which="both", labelsize=7)
    axes.set_xlabel("MB to each device (filled: some are sent this; hollow: possible)")
    for way, colour in _COLOURS.items():
        axes.plot([], [], _MARKS[way], color=colour, label=way.value)
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    axes.grid(visible=True, axis="both", which="both", color="0.93", linewidth=0.6)
    axes.set_axisbelow(True)


def _megabytes(value: float, place: float) -> str:
    """A tick's label; those between 5 and 10 would touch each other."""
    del place
    return f"{value:g}" if f"{value:e}"[0] in "1235" else ""


def _plain(text: str) -> str:
    """Text in which a dollar begins no formula."""
    return text.replace("$", r"\$")


def _devices(plan: FleetPlan, seq: int) -> int:
    return sum(choice.devices for choice in plan.choices if choice.seq == seq)


def _rollout(axes: Axes, forecast: Forecast | None) -> None:
    """The part of the devices that may have it, and that has it, over time."""
    axes.set_xlabel("days (one simulated rollout of a good release)")
    axes.set_ylabel("% of the devices that are sent anything")
    if forecast is None or not forecast.curve:
        axes.text(0.5, 0.5, "nothing to send", ha="center", va="center", transform=axes.transAxes)
        return
    end = forecast.curve[-1][0] / _DAY
    opened = [hour / _DAY for hour in forecast.opened]
    shares = [share / BUCKETS * 100 for share in forecast.shares[: len(opened)]]
    axes.step([*opened, end], [*shares, shares[-1]], where="post", color="0.5", label="may have it")
    axes.plot(
        [hour / _DAY for hour, _ in forecast.curve],
        [part * 100 for _, part in forecast.curve],
        color=_COLOURS[Way.DIRECT],
        label="have it",
    )
    axes.set_ylim(0, 104)
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(visible=True, color="0.9", linewidth=0.6)
