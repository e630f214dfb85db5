"""Where the prices of a prediction come from: a latency table that covers them, or the profile."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from ..device import DeviceProfile
from ..dialect import Dialect
from ..find_slots import merge_slots
from ..plan import Precision
from ..slots import SlotGraph
from . import build_cost
from .attribute import own_kernels
from .cost import CostModel
from .estimate import FALLBACK_ERROR
from .rows import KernelRow
from .table import LatencyTable, default_paths
from .timing import Setting

_MOST_BYTES = 2**31 - 1  # of a protobuf, in which a runtime is given the graph
RunningGraph = Callable[[ir.Model], ir.Graph]


@dataclass(frozen=True, slots=True)
class Prices:
    """What kernels take on a device.

    Attributes:
        cost: The prices, and the slots that they are of.
        low: The lowest likely ratio of what is measured to what is predicted.
        high: The highest.
        source: Who says so.
    """

    cost: CostModel
    low: float
    high: float
    source: str


def from_profile(graph: SlotGraph, profile: DeviceProfile) -> Prices:
    """Estimates, with the error that the profile admits."""
    low, high = FALLBACK_ERROR
    source = f"profile {profile.name}; how far off it is, is not known"
    if profile.error:
        low, high = profile.error.low.value, profile.error.high.value
        source = f"profile {profile.name}; {profile.error.low.source}"
    return Prices(build_cost.from_profile(graph, profile), low, high, source)


class Tables:
    """The latency tables of a device, for one model.

    Args:
        profile: The device.
        dialect: How its graphs are written.
        path: The only table to look into; None: those in the user's cache.
    """

    def __init__(self, profile: DeviceProfile, dialect: Dialect, path: Path | None) -> None:
        self._profile, self._dialect = profile, dialect
        self._paths = default_paths(profile.name) if path is None else [path]

    def __bool__(self) -> bool:
        """Whether there is a table with times of the device in its power mode."""
        return any(True for _ in self._settings())

    def prices(self, graph: SlotGraph, precisions: tuple[Precision, ...]) -> Prices | None:
        """What was measured of every kernel in these precisions; None where a row is lacking."""
        wanted = _restricted(graph, precisions)
        for path, setting in self._settings():
            with LatencyTable.open(path) as table:
                if build_cost.covers(table, setting, wanted):
                    return self._covered(wanted, table, setting)
        return None

    def _settings(self) -> Iterator[tuple[Path, Setting]]:
        """The settings that are of the device, in its power mode; the newest runtime first."""
        here = (self._profile.name, self._profile.power_mode)
        for path in reversed(self._paths):
            with LatencyTable.open(path) as table:
                settings = table.settings()
            for setting in settings:
                if (setting.device, setting.power_mode) == here:
                    yield path, setting

    def _covered(self, graph: SlotGraph, table: LatencyTable, setting: Setting) -> Prices:
        cost = build_cost.from_table(graph, table, setting, free=self._dialect.float_outputs)
        keys = {(slot.key, choice.precision) for slot in graph.slots for choice in slot.choices}
        rows = [row for row in table.kernels(setting) if (row.key, row.choice) in keys]
        low, high = _spread(rows)
        date = max(row.timing.date for row in rows)[:10]
        return Prices(cost, low, high, f"table of {setting}, {date}: {table.path}")


def merged(graph: SlotGraph, model: ir.Model, running_graph: RunningGraph) -> SlotGraph:
    """The slots as tables know them: one for what the runtime makes one kernel of.

    Returns:
        The slots as they are where the graph is too large to be handed over.
    """
    weights = (value.const_value for value in model.graph.initializers.values())
    if sum(tensor.nbytes for tensor in weights if tensor is not None) > _MOST_BYTES:
        return graph
    return merge_slots(graph, own_kernels(running_graph(model), graph))


def _restricted(graph: SlotGraph, precisions: tuple[Precision, ...]) -> SlotGraph:
    """The slots with those choices alone that a plan of these precisions can use."""
    kept = (Precision.FP32, *precisions)
    slots = (
        replace(slot, choices=tuple(c for c in slot.choices if c.precision in kept))
        for slot in graph.slots
    )
    return SlotGraph(tuple(slots), graph.edges)


def _spread(rows: list[KernelRow]) -> tuple[float, float]:
    """The sums of the 10th and the 90th percentiles of kernels, to the sum of their medians."""
    middle = sum(row.timing.median_us for row in rows) or 1.0
    low, high = sum(row.timing.p10_us for row in rows), sum(row.timing.p90_us for row in rows)
    return low / middle, high / middle
