"""Cost models of a graph: from a measured table, or from a device's estimates."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..device import DeviceProfile
from ..origin import Origin
from ..plan import NodeChoice, Precision
from ..slots import SlotGraph
from .cost import CostModel
from .estimate import boundary_us, estimate_us, executed
from .measure import Measurement
from .observed import ALONE, FIXED, fixed_key
from .table import BoundaryRow, LatencyTable
from .timing import Setting
from .wiring import FORMATS, format_of

Convert = Callable[[int, Precision, Precision], float]


def covers(table: LatencyTable, setting: Setting, graph: SlotGraph) -> bool:
    """Whether the table holds every kernel of the graph in every choice."""
    have = {(row.key, row.choice) for row in table.kernels(setting)}
    wanted = {(slot.key, c.precision.value) for slot in graph.slots for c in slot.choices}
    return wanted | {(fixed_key(graph), FIXED)} <= have


def from_table(
    graph: SlotGraph,
    table: LatencyTable,
    setting: Setting,
    *,
    free: frozenset[str] = frozenset(),
) -> CostModel:
    """The cost model of a graph that the table covers.

    Args:
        graph: The slots.
        table: Measured kernels and conversions.
        setting: What the times must hold for.
        free: Ops whose int8 kernel writes float by itself: no conversion after them.
    """
    times = {(row.key, row.choice): row.timing.median_us for row in table.kernels(setting)}

    def kernel(slot: int, choice: NodeChoice) -> float:
        return times[graph.slots[slot].key, choice.precision.value]

    convert = _fitted(list(table.boundaries(setting)))
    model = _model(graph, kernel, convert, Origin.MEASURED)
    int8, fp32 = FORMATS.index(Precision.INT8), FORMATS.index(Precision.FP32)
    for index, edge in enumerate(graph.edges):
        if edge.producer >= 0 and graph.slots[edge.producer].op in free:
            model.boundary_us[index, int8, :] = 0.0
    for s, slot in enumerate(graph.slots):
        for index in _ride_edges(graph, s):
            model.boundary_us[index, int8, fp32] += times.get((slot.key, ALONE), 0.0)
    fixed = times[fixed_key(graph), FIXED]
    return CostModel(
        graph, model.node_us, model.boundary_us, model.node_source, model.boundary_source, fixed
    )


def refined(cost: CostModel, measured: Measurement) -> CostModel:
    """The cost model with what one more build showed, in the places where that plan was.

    A kernel's time depends on its neighbours (a pooling kernel takes 30 times as long where the
    runtime keeps another layout around it), so the plan that a search likes best is measured, and
    the search asked again.
    """
    node_us, boundary_us = cost.node_us.copy(), cost.boundary_us.copy()
    int8, fp32 = FORMATS.index(Precision.INT8), FORMATS.index(Precision.FP32)
    for time in measured.slots:
        choices = cost.graph.slots[time.slot].choices
        node_us[time.slot, choices.index(time.choice)] = time.us.median
    for edge in measured.edges:
        before, after = FORMATS.index(edge.source), FORMATS.index(edge.target)
        boundary_us[edge.edge, before, after] = edge.us.median
    for time in measured.alone:
        for index in _ride_edges(cost.graph, time.slot):
            boundary_us[index, int8, fp32] += time.us.median
    return CostModel(
        cost.graph,
        node_us,
        boundary_us,
        cost.node_source,
        cost.boundary_source,
        measured.fixed_us,
    )


def from_profile(graph: SlotGraph, profile: DeviceProfile) -> CostModel:
    """The cost model of a graph on a device that is not at hand: estimates."""

    def kernel(slot: int, choice: NodeChoice) -> float:
        it = graph.slots[slot]
        us = estimate_us(it.work, it.kind, choice, profile).us
        # Where there is no such kernel the builder converts what it reads and what it writes.
        runs = executed(choice.precision, profile) is choice.precision
        return us if runs else us + 2 * profile.launch.value

    def convert(elements: int, before: Precision, after: Precision) -> float:
        return boundary_us(elements, before, after, profile).us

    return _model(graph, kernel, convert, Origin.ESTIMATED)


def _ride_edges(graph: SlotGraph, slot: int) -> list[int]:
    """The edges from the slot that another rides on to that other; none where it rides on none."""
    carrier = graph.slots[slot].rides
    return [
        index
        for index, edge in enumerate(graph.edges)
        if carrier and slot in edge.consumers and graph.slots[edge.producer].name == carrier
    ]


def _model(
    graph: SlotGraph, kernel: Callable[[int, NodeChoice], float], convert: Convert, source: Origin
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
