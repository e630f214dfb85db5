"""What a plan should take on a device: time and memory, kernel by kernel, and how sure that is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..device import DeviceProfile
from ..origin import Origin
from ..plan import NodeChoice, Precision
from ..slots import Slot, SlotGraph
from .bound import Bound, bound_of
from .cost import Breakdown
from .estimate import Estimate, estimate_us, executed
from .memory import SPARSE_KINDS, Memory, Weight, memory
from .prices import Prices
from .wiring import Integers


@dataclass(frozen=True, slots=True)
class Kernel:
    """What one kernel should take.

    Attributes:
        slot: Name of its slot.
        op: Op type of the slot's anchor.
        precision: What it computes in.
        us: Its time, in microseconds.
        origin: Where the time comes from.
        bound: What bounds it, always by the device's estimates; None where another kernel does its
            work.
    """

    slot: str
    op: str
    precision: Precision
    us: float
    origin: Origin
    bound: Bound | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one plan should take on one device.

    Attributes:
        plan: A name for it, such as `int8`.
        counts: How many kernels run in each precision.
        latency: Of one inference, in microseconds.
        origin: Where the latency comes from: the least sure of its parts.
        kernels: One for each slot, in order.
        conversions: How many tensors change their format between kernels.
        conversions_us: What these take together, in microseconds.
        fixed_us: What an inference takes beside kernels and conversions, in microseconds.
        source: Who says so.
        memory: What it needs of the device's memory.
    """

    plan: str
    counts: Mapping[str, int]
    latency: Estimate
    origin: Origin
    kernels: tuple[Kernel, ...]
    conversions: int
    conversions_us: float
    fixed_us: float
    source: str
    memory: Memory


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A plan that is asked about.

    Attributes:
        name: What to call it.
        indices: The index of each slot's choice; shape (S,).
        sparse: Weights are 2:4 sparse wherever kernels can read that.
    """

    name: str
    indices: Integers
    sparse: bool = False


def preferring(graph: SlotGraph, precisions: Sequence[Precision]) -> Integers:
    """The plan in which each slot has the first of the precisions that it may; else its first."""
    wanted = [NodeChoice(precision) for precision in precisions]
    chosen = [
        next((slot.choices.index(choice) for choice in wanted if choice in slot.choices), 0)
        for slot in graph.slots
    ]
    return np.array(chosen, np.intp)


def forecast(
    ask: Ask, prices: Prices, profile: DeviceProfile, weights: Sequence[Weight]
) -> Forecast:
    """Predict one plan.

    Args:
        ask: The plan.
        prices: What kernels take on the device.
        profile: The device.
        weights: The model's constants.
    """
    graph, parts = prices.cost.graph, prices.cost.explain(ask.indices)
    if ask.sparse:
        parts = _sparse(parts, graph.slots, profile)
    kernels = tuple(_kernels(graph.slots, parts, profile))
    origins = {kernel.origin for kernel in kernels} | {part.source for part in parts.boundaries}
    total = parts.total_us
    return Forecast(
        plan=ask.name,
        counts=Counter(kernel.precision.value for kernel in kernels),
        latency=Estimate(total, total * prices.low, total * prices.high),
        origin=max(origins, key=list(Origin).index, default=Origin.ESTIMATED),
        kernels=kernels,
        conversions=sum(part.us > 0 for part in parts.boundaries),
        conversions_us=sum(part.us for part in parts.boundaries),
        fixed_us=parts.fixed_us,
        source=prices.source,
        memory=memory(graph, weights, [kernel.precision for kernel in kernels], sparse=ask.sparse),
    )


def _sparse(parts: Breakdown, slots: Sequence[Slot], profile: DeviceProfile) -> Breakdown:
    """The times with 2:4 sparse weights: what the estimates gain by them, taken off."""

    def gain(slot: Slot, choice: NodeChoice) -> float:
        if slot.kind not in SPARSE_KINDS:
            return 0.0
        dense = estimate_us(slot.work, slot.kind, choice, profile)
        return dense.us - estimate_us(slot.work, slot.kind, choice, profile, sparse=True).us

    faster = [
        replace(part, us=part.us - gain(slot, part.choice))
        for slot, part in zip(slots, parts.slots, strict=True)
    ]
    return replace(parts, slots=tuple(faster))


def _kernels(slots: Sequence[Slot], parts: Breakdown, profile: DeviceProfile) -> list[Kernel]:
    return [
        Kernel(
            slot=slot.name,
            op=slot.op,
            precision=executed(part.choice.precision, profile),
            us=part.us,
            origin=part.source,
            bound=bound_of(slot.work, slot.kind, part.choice, profile) if part.us else None,
        )
        for slot, part in zip(slots, parts.slots, strict=True)
    ]
