"""Measured builds in the latency table: writes them, and says which are still lacking."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from ..origin import Origin
from ..plan import Plan, Precision
from ..slots import Slot, SlotGraph, Work
from ..timing import Spread
from .measure import Measurement
from .probes import uniform
from .table import BoundaryRow, BuildRow, KernelRow, LatencyTable
from .timing import Setting, Timing, now

FIXED = "fixed"
ALONE = "alone"  # the choice under which a row holds what a riding kernel costs by itself
_NO_WORK = Work(0, 0, 0, 0)
_DIGITS = 16  # of a digest: enough for the builds of one table


def graph_digest(graph: SlotGraph) -> str:
    """What identifies a model in a table: the kernels that it is made of, in order."""
    text = "\n".join(slot.key for slot in graph.slots)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def build_id(graph: SlotGraph, plan: Plan) -> str:
    """What identifies the build of one plan of a model."""
    return f"{graph_digest(graph)}-{plan.digest[:_DIGITS]}"


def fixed_key(graph: SlotGraph) -> str:
    """The row of what a whole graph takes beside its kernels: it goes with their number."""
    return f"{FIXED}|{len(graph.slots)} slots"


def fixed_size(key: str) -> int | None:
    """How many slots the graph of such a row has; None where the key is none of these."""
    digits = key.removeprefix(f"{FIXED}|").removesuffix(" slots")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def lacking(
    table: LatencyTable, setting: Setting, graph: SlotGraph, plans: Sequence[Plan]
) -> list[Plan]:
    """The plans whose build the table does not hold."""
    there = {row.id for row in table.builds(setting)}
    return [plan for plan in plans if build_id(graph, plan) not in there]


def anchor_us(table: LatencyTable, setting: Setting, graph: SlotGraph) -> float | None:
    """What the all-fp32 build took, to which later builds are scaled; None: never measured."""
    anchor = build_id(graph, uniform(graph, Precision.FP32))
    return next((row.total_us for row in table.builds(setting) if row.id == anchor), None)


def store(
    table: LatencyTable, setting: Setting, graph: SlotGraph, measured: Measurement, *, path: str
) -> None:
    """Write what one build showed, all of it or nothing.

    Args:
        table: Where to.
        setting: What it was measured on.
        graph: The slots of the model.
        measured: One build.
        path: Where the model lay, so that the table can be checked later.
    """
    build = BuildRow(
        id=build_id(graph, measured.plan),
        model=graph_digest(graph),
        path=path,
        plan=measured.plan.to_json(),
        total_us=measured.total_us,
        runs=measured.runs,
        date=now(),
    )
    kernels = list(kernel_rows(graph, measured, setting))
    table.put_build(setting, build, kernels, list(_boundaries(graph, measured, setting)))


def kernel_rows(graph: SlotGraph, measured: Measurement, setting: Setting) -> Iterator[KernelRow]:
    """One row a kernel and choice: slots with equal keys are one kernel, seen several times."""
    seen: dict[tuple[str, str], list[tuple[Slot, Spread]]] = {}
    for time in measured.slots:
        slot = graph.slots[time.slot]
        seen.setdefault((slot.key, time.choice.kernel), []).append((slot, time.us))
    for time in measured.alone:
        slot = graph.slots[time.slot]
        seen.setdefault((slot.key, ALONE), []).append((slot, time.us))
    for (key, choice), times in seen.items():
        slot = times[0][0]
        timing = _timing([us for _, us in times], measured.runs, setting)
        yield KernelRow(key, choice, slot.kind, slot.work, timing)
    fixed = Spread(measured.fixed_us, measured.fixed_us, measured.fixed_us)
    timing = _timing([fixed], measured.runs, setting)
    yield KernelRow(fixed_key(graph), FIXED, FIXED, _NO_WORK, timing)


def _boundaries(graph: SlotGraph, measured: Measurement, setting: Setting) -> Iterator[BoundaryRow]:
    seen: dict[tuple[Precision, Precision, int], list[Spread]] = {}
    for time in measured.edges:
        where = (time.source, time.target, graph.edges[time.edge].elements)
        seen.setdefault(where, []).append(time.us)
    for (before, after, elements), times in seen.items():
        yield BoundaryRow(before, after, elements, _timing(times, measured.runs, setting))


def _timing(times: Sequence[Spread], runs: int, setting: Setting) -> Timing:
    """The timing of a kernel that occurs several times in one build.

    In place a kernel of one thread is computing all the time: its CPU time is its time.
    """
    table = np.array([(us.median, us.p10, us.p90) for us in times])
    median = float(np.median(table[:, 0]))
    low, high = float(min(median, table[:, 1].min())), float(max(median, table[:, 2].max()))
    cpu = median if setting.threads == 1 else None
    return Timing(median, low, high, runs * len(times), cpu, setting, now(), Origin.MEASURED)
