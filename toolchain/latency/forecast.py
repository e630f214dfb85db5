"""What a plan should take on a device: time and memory, kernel by kernel, and how sure that is."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..device import DeviceProfile
from ..origin import Origin
from ..plan import NodeChoice, Precision, Sparsity
from ..slots import Slot, SlotGraph
from .bound import Bound, bound_of
from .cost import Breakdown
from .energy import Energy, energy_joules
from .estimate import Estimate, estimate_us, executed
from .memory import Memory, Weight, memory
from .prices import Prices
from .wiring import Integers

SPARSE_KINDS = frozenset({"conv", "gemm"})  # whose weights 2:4 sparsity is for, but 4-bit ones
_S_A_US = 1e-6  # seconds in a microsecond


@dataclass(frozen=True, slots=True)
class Kernel:
    """What one kernel should take.

    Attributes:
        slot: Name of its slot.
        op: Op type of the slot's anchor.
        precision: What it computes in.
        sparse: Whether it reads 2:4 sparse weights.
        us: Its time, in microseconds.
        origin: Where the time comes from.
        bound: What bounds it, always by the device's estimates; None where another kernel does its
            work.
    """

    slot: str
    op: str
    precision: Precision
    sparse: bool
    us: float
    origin: Origin
    bound: Bound | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one plan should take on one device.

    Attributes:
        plan: A name for it, such as `int8`.
        latency: Of one inference, in microseconds.
        source: Who says so.
        kernels: One for each slot, in order.
        conversions: How many tensors change their format between kernels.
        conversions_us: What these take together, in microseconds.
        fixed_us: What an inference takes beside kernels and conversions, in microseconds.
        energy: Of one inference; None where the profile says nothing about power.
        memory: What it needs of the device's memory.
    """

    plan: str
    latency: Estimate
    source: str
    kernels: tuple[Kernel, ...]
    conversions: int
    conversions_us: float
    fixed_us: float
    energy: Energy | None
    memory: Memory

    @property
    def precisions(self) -> Mapping[str, int]:
        """How many kernels run in each precision."""
        return Counter(kernel.precision.value for kernel in self.kernels)

    @property
    def origins(self) -> Mapping[str, int]:
        """Where the times of how many kernels come from."""
        return Counter(kernel.origin.value for kernel in self.kernels)

    @property
    def origin(self) -> Origin:
        """Where the latency comes from: the least sure of its kernels."""
        return max((kernel.origin for kernel in self.kernels), key=list(Origin).index)


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A plan that is asked about.

    Attributes:
        name: What to call it.
        indices: The index of each slot's choice; shape (S,).
        sparse: Whether weights are 2:4 sparse; as a builder does, a kernel reads them so only where
            that is faster.
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
    sparse = _sparse(parts, graph.slots, profile) if ask.sparse else {}
    slots = tuple(replace(c, us=c.us - sparse.get(s, 0.0)) for s, c in enumerate(parts.slots))
    parts = replace(parts, slots=slots)
    kernels = tuple(_kernels(graph.slots, parts, profile, sparse))
    latency = _latency(parts, ask.indices, prices)
    return Forecast(
        plan=ask.name,
        latency=latency,
        source=prices.source,
        kernels=kernels,
        conversions=sum(part.us > 0 for part in parts.boundaries),
        conversions_us=sum(part.us for part in parts.boundaries),
        fixed_us=parts.fixed_us,
        energy=_energy(graph.slots, kernels, latency, profile),
        memory=memory(
            graph,
            weights,
            [kernel.precision for kernel in kernels],
            sparse=[s for s, kernel in enumerate(kernels) if kernel.sparse],
        ),
    )


def _latency(parts: Breakdown, indices: Integers, prices: Prices) -> Estimate:
    """The whole time, and its range: at worst all kernels are off to the same side.

    What lies between the kernels is as unsure as they are.
    """
    slots = np.arange(len(indices))
    us = prices.cost.node_us[slots, indices].sum()
    low, high = (
        float(range_us[slots, indices].sum() / us) if us else 1.0
        for range_us in (prices.low_us, prices.high_us)
    )
    return Estimate(parts.total_us, parts.total_us * low, parts.total_us * high)


def _energy(
    slots: Sequence[Slot], kernels: Sequence[Kernel], latency: Estimate, profile: DeviceProfile
) -> Energy | None:
    """The kernels' energy, idle power in the rest of the time, and never more than the budget."""
    budget = profile.budget
    if profile.power is None or budget is None:
        return None
    idle = min(profile.power.idle_watts.value, budget.value)
    joules, rest_us = 0.0, latency.us
    for slot, kernel in zip(slots, kernels, strict=True):
        what = (slot.work, slot.kind, NodeChoice(kernel.precision), profile)
        spent = energy_joules(*what, sparse=kernel.sparse)
        rest_us -= estimate_us(*what, sparse=kernel.sparse).us
        joules += spent.joules if spent else 0.0
    joules += idle * rest_us * _S_A_US
    most = budget.value * latency.us * _S_A_US
    low, high = idle * latency.low * _S_A_US, budget.value * latency.high * _S_A_US
    return Energy(min(max(joules, low), most), low, high)


def _sparse(parts: Breakdown, slots: Sequence[Slot], profile: DeviceProfile) -> dict[int, float]:
    """The slots that are faster with 2:4 sparse weights, and by how many microseconds."""
    gains = {}
    for s, (slot, part) in enumerate(zip(slots, parts.slots, strict=True)):
        priced = part.choice.sparsity is Sparsity.TWO_FOUR
        if priced or slot.kind not in SPARSE_KINDS or part.choice.precision is Precision.INT4:
            continue
        what = (slot.work, slot.kind, part.choice, profile)
        gain = estimate_us(*what).us - estimate_us(*what, sparse=True).us
        if gain > 0:
            gains[s] = gain
    return gains


def _kernels(
    slots: Sequence[Slot], parts: Breakdown, profile: DeviceProfile, sparse: Collection[int]
) -> Iterator[Kernel]:
    for s, (slot, part) in enumerate(zip(slots, parts.slots, strict=True)):
        yield Kernel(
            slot=slot.name,
            op=slot.op,
            precision=executed(part.choice.precision, profile),
            sparse=s in sparse or part.choice.sparsity is Sparsity.TWO_FOUR,
            us=part.us,
            origin=part.source,
            bound=bound_of(slot.work, slot.kind, part.choice, profile) if part.us else None,
        )
