"""Where the prices of a prediction come from: a device's latency tables, or its profile."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ..device import DeviceProfile
from ..dialect import Dialect
from ..find_slots import merge_slots
from ..origin import Origin
from ..plan import NodeChoice
from ..slots import Slot, SlotGraph
from . import build_cost
from .attribute import own_kernels
from .borrow import Borrower, Known
from .cost import CostModel
from .estimate import FALLBACK_ERROR
from .observed import FIXED
from .rows import KernelRow
from .table import LatencyTable, default_paths
from .timing import Setting
from .wiring import Floats

_MOST_BYTES = 2**31 - 1  # of a protobuf, in which a runtime is given the graph
RunningGraph = Callable[[ir.Model], ir.Graph]


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """What kernels take on a device, and how sure that is.

    Attributes:
        cost: The prices, and the slots that they are of.
        low_us: The shortest likely time of each slot under each choice; shape of `cost.node_us`.
        high_us: The longest.
        source: Who says so.
    """

    cost: CostModel
    low_us: Floats
    high_us: Floats
    source: str


def from_profile(graph: SlotGraph, profile: DeviceProfile) -> Prices:
    """Estimates, with the error that the profile admits."""
    cost = build_cost.from_profile(graph, profile)
    low, high = _error(profile)
    known = profile.error.low.source if profile.error else "how far off it is, is not known"
    source = f"profile {profile.name}; {known}"
    return Prices(cost, cost.node_us * low, cost.node_us * high, source)


class Tables:
    """The latency tables of a device.

    Args:
        profile: The device, in its power mode.
        dialect: How its graphs are written.
        path: The only table to look into; None: those in the user's cache.

    Raises:
        InputError: A table is damaged, or the one that is named is not there.
    """

    def __init__(self, profile: DeviceProfile, dialect: Dialect, path: Path | None) -> None:
        self._profile, self._dialect = profile, dialect
        paths = default_paths(profile.name) if path is None else [path]
        self._settings = [(path, setting) for path in paths for setting in self._of_device(path)]

    def __bool__(self) -> bool:
        """Whether there are times of the device."""
        return bool(self._settings)

    def prices(self, graph: SlotGraph) -> Prices | None:
        """Measured and borrowed times, by the setting in which most kernels were measured.

        Returns:
            None where nothing in the tables compares with any kernel.
        """
        if not self._settings:
            return None
        path, setting = max(self._settings, key=lambda place: self._rank(place[0], place[1], graph))
        with LatencyTable.open(path) as table:
            cost = build_cost.from_table(
                graph, table, setting, free=self._dialect.float_outputs, profile=self._profile
            )
            rows = [row for row in table.kernels(setting) if row.choice != FIXED]
        known = cost.node_source[np.isfinite(cost.node_us)]
        if (known == Origin.ESTIMATED).all():
            return None
        low, high = _ranges(cost, rows, _error(self._profile))
        date = max(row.timing.date for row in rows)[:10]
        return Prices(cost, low, high, f"table of {setting}, {date}: {path}")

    def _of_device(self, path: Path) -> Iterator[Setting]:
        with LatencyTable.open(path) as table:
            settings = table.settings()
        here = (self._profile.name, self._profile.power_mode)
        return (it for it in settings if (it.device, it.power_mode) == here)

    def _rank(self, path: Path, setting: Setting, graph: SlotGraph) -> tuple[int, str, int]:
        """The better, the more of the graph it holds; then the newer runtime, then one thread."""
        wanted = {(slot.key, choice.kernel) for slot in graph.slots for choice in slot.choices}
        with LatencyTable.open(path) as table:
            have = sum((row.key, row.choice) in wanted for row in table.kernels(setting))
        return have, setting.version, -setting.threads


def merged(graph: SlotGraph, model: ir.Model, running_graph: RunningGraph) -> SlotGraph:
    """The slots as tables know them: one for what the runtime makes one kernel of.

    Returns:
        The slots as they are where the graph is too large to be handed over.
    """
    weights = (value.const_value for value in model.graph.initializers.values())
    if sum(tensor.nbytes for tensor in weights if tensor is not None) > _MOST_BYTES:
        return graph
    return merge_slots(graph, own_kernels(running_graph(model), graph))


def _error(profile: DeviceProfile) -> tuple[float, float]:
    """The likely ratios of what is measured to what is estimated."""
    return (profile.error.low.value, profile.error.high.value) if profile.error else FALLBACK_ERROR


def _ranges(
    cost: CostModel, rows: Iterable[KernelRow], error: tuple[float, float]
) -> tuple[Floats, Floats]:
    """The likely range of each of `cost.node_us`, by where it comes from."""
    timings = {(row.key, row.choice): row.timing for row in rows}
    borrower = Borrower.fit(
        Known(row.key, row.kind, row.work, row.choice, row.timing.median_us) for row in rows
    )

    def of(slot: Slot, choice: NodeChoice, us: float, origin: str) -> tuple[float, float]:
        if not np.isfinite(us):  # not offered
            return us, us
        timing = timings.get((slot.key, choice.kernel))
        if origin == Origin.MEASURED:
            return (timing.p10_us, timing.p90_us) if timing and us else (us, us)
        found = borrower.time(slot.key, slot.kind, slot.work, choice.kernel)
        if origin == Origin.BORROWED and found and found.low < found.high:  # else: of one row only
            return found.low, found.high
        return us * error[0], us * error[1]

    low, high = cost.node_us.copy(), cost.node_us.copy()
    for s, slot in enumerate(cost.graph.slots):
        for k, choice in enumerate(slot.choices):
            low[s, k], high[s, k] = of(slot, choice, cost.node_us[s, k], cost.node_source[s, k])
    return low, high
