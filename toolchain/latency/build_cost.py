"""Cost models of a graph: from a measured table, or from a device's estimates."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..device import DeviceProfile
from ..plan import NodeChoice, Precision
from ..slots import SlotGraph
from .cost import CostModel
from .estimate import boundary_us, estimate_us
from .measure import Measurement
from .table import BoundaryRow, KernelRow, LatencyTable
from .timing import Setting, Source, Timing
from .wiring import FORMATS, format_of

Convert = Callable[[int, Precision, Precision], float]
_FIXED = "fixed"
_ALONE = "alone"  # the choice under which a row holds what a riding kernel costs by itself


def store(table: LatencyTable, graph: SlotGraph, measured: Measurement, setting: Setting) -> None:
    """Write what was measured into a table: one row a kernel and choice, not a slot and choice."""
    kernels: dict[tuple[str, str], list[float]] = {}
    for time in measured.slots:
        key = (graph.slots[time.slot].key, time.choice.precision.value)
        kernels.setdefault(key, []).extend(time.us)
    for time in measured.alone:
        kernels.setdefault((graph.slots[time.slot].key, _ALONE), []).extend(time.us)
    kernels[fixed_key(graph), _FIXED] = list(measured.fixed_us)
    for (kernel, choice), us in kernels.items():
        table.put(KernelRow(kernel, choice, Timing.measured(np.array(us), setting)))
    conversions: dict[tuple[Precision, Precision, int], list[float]] = {}
    for edge in measured.edges:
        where = (edge.source, edge.target, graph.edges[edge.edge].elements)
        conversions.setdefault(where, []).append(edge.us)
    for (before, after, elements), us in conversions.items():
        table.put(BoundaryRow(before, after, elements, Timing.measured(np.array(us), setting)))


def covers(table: LatencyTable, graph: SlotGraph) -> bool:
    """Whether the table holds every kernel of the graph in every choice."""
    keys = {(s.key, c.precision.value) for s in graph.slots for c in s.choices}
    return all(table.get(*key) for key in keys) and table.get(fixed_key(graph), _FIXED) is not None


def fixed_key(graph: SlotGraph) -> str:
    """The row of what a whole graph takes beside its kernels: it goes with their number."""
    return f"{_FIXED}|{len(graph.slots)} slots"


def from_table(
    graph: SlotGraph, table: LatencyTable, *, free: frozenset[str] = frozenset()
) -> CostModel:
    """The cost model of a graph that the table covers.

    Args:
        graph: The slots.
        table: Measured kernels and conversions.
        free: Ops whose int8 kernel writes float by itself: no conversion after them.
    """
    times = {(row.key, row.choice): row.timing.median_us for row in table.kernels()}

    def kernel(slot: int, choice: NodeChoice) -> float:
        return times[graph.slots[slot].key, choice.precision.value]

    convert = _fitted(list(table.boundaries()))
    model = _model(graph, kernel, convert, Source.MEASURED)
    int8 = FORMATS.index(Precision.INT8)
    for index, edge in enumerate(graph.edges):
        if edge.producer >= 0 and graph.slots[edge.producer].op in free:
            model.boundary_us[index, int8, :] = 0.0
        carrier = graph.slots[edge.producer].name if edge.producer >= 0 else None
        for reader in (graph.slots[i] for i in edge.consumers):
            if reader.rides and reader.rides == carrier:
                model.boundary_us[index, int8] += times.get((reader.key, _ALONE), 0.0)
                model.boundary_us[index, int8, int8] = 0.0
    fixed = times[fixed_key(graph), _FIXED]
    return CostModel(
        graph, model.node_us, model.boundary_us, model.node_source, model.boundary_source, fixed
    )


def from_profile(graph: SlotGraph, profile: DeviceProfile) -> CostModel:
    """The cost model of a graph on a device that is not at hand: estimates."""

    def kernel(slot: int, choice: NodeChoice) -> float:
        it = graph.slots[slot]
        return estimate_us(it.work, it.kind, choice, profile).us

    def convert(elements: int, before: Precision, after: Precision) -> float:
        return boundary_us(elements, before, after, profile).us

    return _model(graph, kernel, convert, Source.ESTIMATED)


def _model(
    graph: SlotGraph, kernel: Callable[[int, NodeChoice], float], convert: Convert, source: Source
) -> CostModel:
    most = max((len(slot.choices) for slot in graph.slots), default=1)
    node_us = np.full((len(graph.slots), most), np.inf)
    for s, slot in enumerate(graph.slots):
        for k, choice in enumerate(slot.choices):
            node_us[s, k] = kernel(s, choice)
    used = {format_of(choice.precision) for slot in graph.slots for choice in slot.choices}
    boundary = np.zeros((len(graph.edges), len(FORMATS), len(FORMATS)))
    for e, edge in enumerate(graph.edges):
        for i, before in enumerate(FORMATS):
            for j, after in enumerate(FORMATS):
                if before is not after and {before, after} <= used | {Precision.FP32}:
                    boundary[e, i, j] = convert(edge.elements, before, after)
    return CostModel(
        graph, node_us, boundary, np.full(node_us.shape, source), np.full(boundary.shape, source)
    )


def _fitted(rows: Sequence[BoundaryRow]) -> Convert:
    """The measured time of a conversion; a line through the others where that size is missing."""
    exact: dict[tuple[Precision, Precision, int], float] = {}
    by_change: dict[tuple[Precision, Precision], list[tuple[int, float]]] = {}
    for row in rows:
        exact[row.before, row.after, row.elements] = row.timing.median_us
        change = by_change.setdefault((row.before, row.after), [])
        change.append((row.elements, row.timing.median_us))
    lines = {change: _line(np.array(points, np.float64)) for change, points in by_change.items()}

    def convert(elements: int, before: Precision, after: Precision) -> float:
        known = exact.get((before, after, elements))
        if known is not None:
            return known
        base, slope = lines.get((before, after), (0.0, 0.0))
        return base + slope * elements

    return convert


def _line(points: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Least squares of microseconds over elements, with neither part below zero."""
    from scipy.optimize import nnls  # noqa: PLC0415 - slow to import

    design = np.stack([np.ones(len(points)), points[:, 0]], axis=1)
    base, slope = nnls(design, points[:, 1])[0]
    return float(base), float(slope)
