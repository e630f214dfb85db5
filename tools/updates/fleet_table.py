"""A fleet's plan as tables."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.table import Table

from ...toolchain.update.fleet.forecast import Forecast, Stop
from ...toolchain.update.fleet.matrix import Matrix
from ...toolchain.update.fleet.planner import Choice, FleetPlan
from ..render import size_text

_MINUTE, _HOUR, _DAY = 60.0, 1.0, 24.0
_NEVER = 1e-6  # a chance that is not worth its digits


def plan_table(plan: FleetPlan, matrix: Matrix) -> Table:
    """One row for all devices that have one release and are sent the same for the same reason."""
    newest = f"{matrix.versions[plan.newest]} (seq {plan.newest})"
    table = Table(title=f"{plan.product} to {newest}", box=None, pad_edge=False, title_style="bold")
    for head in ("installed", "devices"):
        table.add_column(head, justify="right")
    for head in ("way", "files"):
        table.add_column(head)
    for head in ("each", "all", "cost", "on the device"):
        table.add_column(head, justify="right")
    table.add_column("why")
    ordered = sorted(plan.choices, key=_like)
    for _, like in groupby(ordered, key=_like):
        table.add_row(*_row(list(like), matrix))
    return table


def _like(choice: Choice) -> tuple[int, str, tuple[int, ...], str]:
    seq = -1 if choice.seq is None else choice.seq
    return seq, str(choice.installed), tuple(hop.target for hop in choice.hops), choice.reason


def _row(like: Sequence[Choice], matrix: Matrix) -> Iterator[str]:
    first, devices = like[0], sum(choice.devices for choice in like)
    yield str(first.installed)
    yield str(devices)
    yield first.way
    yield _files(first, matrix)
    estimated = "" if all(hop.path for hop in first.hops) else "~"
    yield estimated + size_text(first.size) if first.hops else "-"
    yield estimated + size_text(first.size * devices) if first.hops else "-"
    yield f"{sum(choice.cost for choice in like):.4g}" if first.hops else "-"
    yield f"{first.seconds:.1f} s" if first.hops else "-"
    yield first.reason


def _files(choice: Choice, matrix: Matrix) -> str:
    """The way by versions; a file that is still to be made has a star."""
    if not choice.hops:
        return "-"
    base = choice.hops[0].base
    start = "" if base is None else matrix.versions[base]
    steps = (f" → {matrix.versions[hop.target]}{'' if hop.path else '*'}" for hop in choice.hops)
    return (start + "".join(steps)).strip()


def make_table(plan: FleetPlan, matrix: Matrix) -> Table:
    """The update files that are worth making."""
    table = Table(box=None, pad_edge=False)
    table.add_column("worth making")
    for head in ("estimated", "CPU", "devices"):
        table.add_column(head, justify="right")
    for hop in plan.make:
        base = "nothing" if hop.base is None else matrix.versions[hop.base]
        table.add_row(
            f"{base} → {matrix.versions[hop.target]}",
            size_text(hop.size),
            f"{hop.cpu:.1f} s",
            str(plan.served(hop)),
        )
    return table


def summary(plan: FleetPlan, full: int | None) -> str:
    """Bytes and cost of the whole; `full` is what full files for all of them would be."""
    saved = f" (full files: {size_text(full)})" if full is not None else ""
    cut = "" if plan.optimal else "; the search was cut: a cheaper plan may exist"
    return f"{size_text(plan.wire)} to send{saved}; cost {plan.cost:.4g}{cut}"


def forecast_lines(found: Forecast) -> Iterable[str]:
    """The rollout in words."""
    hours = (
        f"{share} after {hours_text(h)}" for share, h in zip(_SHARES, found.hours, strict=True)
    )
    shares = ", ".join(f"{share / 100:g} %" for share in found.shares)
    yield f"rollout to {found.devices} devices, in phases: {shares} of the fleet"
    wire = size_text(round(found.wire))
    yield f"expected of a good release (simulated): {', '.join(hours)}; {wire} with repeats"
    yield f"stop: Wilson's lower bound (z = {found.z:.2f}) above {found.tolerated:.2%} failures"
    yield from map(stop_text, found.stops)


_SHARES = ("50 %", "90 %", "99 %")


def stop_text(stop: Stop) -> str:
    """What becomes of a release that fails at this rate."""
    chance = stop.outcome.stop
    if chance < _NEVER:
        return f"  fails on {stop.rate:.2%}: never stopped"
    often = f"stopped in {chance:.2%} of all rollouts"
    return f"  fails on {stop.rate:.2%}: {often}, then after {stop.outcome.reports:.0f} reports"


def hours_text(hours: float) -> str:
    """Hours in the unit that reads best."""
    if math.isnan(hours):
        return "never"
    if hours < _HOUR:
        return f"{hours * _MINUTE:.0f} min"
    return f"{hours:.1f} h" if hours < 2 * _DAY else f"{hours / _DAY:.1f} days"
