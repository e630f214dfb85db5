"""Cost models of a graph: from a measured table, or from a device's estimates."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..device import DeviceProfile
from ..errors import InputError
from ..origin import Origin
from ..plan import NodeChoice, Precision, Sparsity
from ..slots import Slot, SlotGraph
from .borrow import Borrower, Known
from .borrow_lines import BoundaryBorrower, KnownBoundary, Line
from .cost import CostModel
from .estimate import boundary_us, estimate_us, executed
from .fused import fused
from .measure import Measurement
from .observed import ALONE, FIXED, fixed_key, fixed_size
from .table import LatencyTable
from .timing import Setting
from .wiring import FORMATS, format_of

Price = tuple[float, Origin]  # microseconds, and where they come from
Kernel = Callable[[Slot, NodeChoice], Price]
Convert = Callable[[int, Precision, Precision], Price]


def covers(table: LatencyTable, setting: Setting, graph: SlotGraph) -> bool:
    """Whether the table holds every kernel of the graph in every choice."""
    have = {(row.key, row.choice) for row in table.kernels(setting)}
    wanted = {(slot.key, c.kernel) for slot in graph.slots for c in slot.choices}
    return wanted | {(fixed_key(graph), FIXED)} <= have


def from_table(
    graph: SlotGraph,
    table: LatencyTable,
    setting: Setting,
    *,
    free: frozenset[str] = frozenset(),
    profile: DeviceProfile | None = None,
) -> CostModel:
    """The cost model of a graph from a table: measured where it has the row, else borrowed.

    Args:
        graph: The slots.
        table: Measured kernels and conversions.
        setting: What the times must hold for.
        free: Ops whose int8 kernel writes float by itself: no conversion after them.
        profile: The device, to estimate what nothing in the table compares to.

    Raises:
        InputError: The table has nothing to compare a kernel with, and no profile is given.
    """
    rows = _Rows(table, setting, profile)
    model = _model(graph, rows.kernel, rows.convert, rows.fixed(graph))
    int8, fp32 = FORMATS.index(Precision.INT8), FORMATS.index(Precision.FP32)
    for index, edge in enumerate(graph.edges):
        if edge.producer >= 0 and graph.slots[edge.producer].op in free:
            model.boundary_us[index, int8, :] = 0.0
    for s, slot in enumerate(graph.slots):
        for index in _ride_edges(graph, s):
            model.boundary_us[index, int8, fp32] += rows.alone(slot)
    return replace(model)  # wired anew, with the prices as they are now


class _Rows:
    """The rows of a table, and what can be borrowed from them."""

    def __init__(
        self, table: LatencyTable, setting: Setting, profile: DeviceProfile | None
    ) -> None:
        rows = list(table.kernels(setting))
        self._where = str(table.path)
        self._profile = profile
        self._fixed = {row.key: row.timing.median_us for row in rows if row.choice == FIXED}
        self._choices = {row.choice for row in rows}
        self._kernels = Borrower.fit(
            Known(row.key, row.kind, row.work, row.choice, row.timing.median_us)
            for row in rows
            if row.choice != FIXED
        )
        boundaries = [
            KnownBoundary(row.before, row.after, row.elements, row.timing.median_us)
            for row in table.boundaries(setting)
        ]
        self._have = {(it.before, it.after, it.elements) for it in boundaries}
        self._boundaries = BoundaryBorrower.fit(boundaries)

    def kernel(self, slot: Slot, choice: NodeChoice) -> Price:
        """The time of a slot; what rides on another takes none of its own.

        A sparse kernel is not offered where none was measured: what the dense one takes says
        nothing of it.
        """
        if slot.rides:
            return 0.0, Origin.MEASURED
        name = choice.kernel
        if choice.sparsity is not Sparsity.DENSE and name not in self._choices:
            return np.inf, Origin.ESTIMATED
        found = self._kernels.time(slot.key, slot.kind, slot.work, name)
        if found is not None:
            known = (slot.key, name) in self._kernels.known
            return found.us, Origin.MEASURED if known else Origin.BORROWED
        if self._profile is None:
            raise InputError(
                f"latency table {self._where}: has nothing to compare {slot.name} ({slot.op}, "
                f"{name}) with",
                "measure the model: hwc profile MODEL",
            )
        return estimate_us(slot.work, slot.kind, choice, self._profile).us, Origin.ESTIMATED

    def alone(self, slot: Slot) -> float:
        """What a riding kernel takes where it runs by itself."""
        found = self._kernels.time(slot.key, slot.kind, slot.work, ALONE)
        return found.us if found else 0.0

    def convert(self, elements: int, before: Precision, after: Precision) -> Price:
        """The time of a conversion."""
        found = self._boundaries.time(before, after, elements)
        if found is not None:
            known = (before, after, elements) in self._have
            return found.us, Origin.MEASURED if known else Origin.BORROWED
        if self._profile is None:
            return 0.0, Origin.BORROWED  # no probe of any model made such a change
        return boundary_us(elements, before, after, self._profile).us, Origin.ESTIMATED

    def fixed(self, graph: SlotGraph) -> float:
        """What a whole graph takes beside its kernels, as far as graphs of other sizes tell."""
        known = self._fixed.get(fixed_key(graph))
        if known is not None:
            return known
        pairs = ((fixed_size(key), us) for key, us in self._fixed.items())
        sizes = {size: us for size, us in pairs if size is not None}
        return Line.fit(sizes).time(len(graph.slots)).us if sizes else 0.0


def refined(cost: CostModel, measured: Measurement) -> CostModel:
    """The cost model with what one more build showed, in the places where that plan was.

    A kernel's time depends on its neighbours (a pooling kernel takes 30 times as long where the
    runtime keeps another layout around it), so the plan that a search likes best is measured, and
    the search asked again.
    """
    node_us, boundary_us = cost.node_us.copy(), cost.boundary_us.copy()
    int8, fp32 = FORMATS.index(Precision.INT8), FORMATS.index(Precision.FP32)
    for time in measured.slots:
        for k, choice in enumerate(cost.graph.slots[time.slot].choices):
            if choice.kernel == time.choice.kernel:
                node_us[time.slot, k] = time.us.median
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
    inner = {graph.slots[i].name: work for i, work in fused(graph).items()}

    def kernel(slot: Slot, choice: NodeChoice) -> Price:
        left = inner.get(slot.name)
        if left is not None:
            whole = estimate_us(left, slot.kind, choice, profile).us
            return max(0.0, whole - profile.launch.value), Origin.ESTIMATED
        us = estimate_us(slot.work, slot.kind, choice, profile).us
        # Where there is no such kernel the builder converts what it reads and what it writes.
        runs = executed(choice.precision, profile) is choice.precision
        return us if runs else us + 2 * profile.launch.value, Origin.ESTIMATED

    def convert(elements: int, before: Precision, after: Precision) -> Price:
        return boundary_us(elements, before, after, profile).us, Origin.ESTIMATED

    return _model(graph, kernel, convert, 0.0)


def _ride_edges(graph: SlotGraph, slot: int) -> list[int]:
    """The edges from the slot that another rides on to that other; none where it rides on none."""
    carrier = graph.slots[slot].rides
    return [
        index
        for index, edge in enumerate(graph.edges)
        if carrier and slot in edge.consumers and graph.slots[edge.producer].name == carrier
    ]


def _model(graph: SlotGraph, kernel: Kernel, convert: Convert, fixed_us: float) -> CostModel:
    most = max((len(slot.choices) for slot in graph.slots), default=1)
    node_us = np.full((len(graph.slots), most), np.inf)
    node_source = np.full(node_us.shape, Origin.ESTIMATED)
    for s, slot in enumerate(graph.slots):
        for k, choice in enumerate(slot.choices):
            node_us[s, k], node_source[s, k] = kernel(slot, choice)
    used = {format_of(choice.precision) for slot in graph.slots for choice in slot.choices}
    boundary = np.zeros((len(graph.edges), len(FORMATS), len(FORMATS)))
    boundary_source = np.full(boundary.shape, Origin.ESTIMATED)
    for e, edge in enumerate(graph.edges):
        for i, before in enumerate(FORMATS):
            for j, after in enumerate(FORMATS):
                if before is not after and {before, after} <= used | {Precision.FP32}:
                    boundary[e, i, j], boundary_source[e, i, j] = convert(
                        edge.elements, before, after
                    )
    return CostModel(graph, node_us, boundary, node_source, boundary_source, fixed_us)
