"""Measuring a model's slots in place: a few whole builds, each kernel's time given to its slot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..engine import TimeBuilds, TimedBuild
from ..plan import NodeChoice, Plan, Precision
from ..slots import Edge, SlotGraph
from .attribute import Attribution, attribute
from .wiring import format_of

MIXED_PROBES = 4
_HALVINGS = 40  # to the float's own precision
_SWITCH = 0.35  # chance that a mixed probe changes precision from one slot to the next


@dataclass(frozen=True, slots=True)
class SlotTime:
    """The in-place times of a slot in one choice, in microseconds, one for each build."""

    slot: int
    choice: NodeChoice
    us: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EdgeTime:
    """What it cost to change the form of one tensor."""

    edge: int
    source: Precision
    target: Precision
    us: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a set of builds says about a model.

    Attributes:
        slots: One for each slot and choice that was seen.
        edges: One for each edge and change of form that was seen.
        alone: Times of slots that ride on another's fp32 kernel, where that one was not fp32.
        fixed_us: Time of a run that belongs to no slot and no edge, one for each build.
        plans: The plans that were built.
        totals: Typical time of each whole build without the profiler, in microseconds.
    """

    slots: tuple[SlotTime, ...]
    edges: tuple[EdgeTime, ...]
    alone: tuple[SlotTime, ...]
    fixed_us: tuple[float, ...]
    plans: tuple[Plan, ...]
    totals: tuple[float, ...]


def probe_plans(graph: SlotGraph, seed: int = 0) -> list[Plan]:
    """The builds worth measuring: one a precision, and mixed ones that show the boundaries."""
    seen = {c.precision for slot in graph.slots for c in slot.choices}
    precisions = sorted(seen | {Precision.FP32})
    plans = [_uniform(graph, precision) for precision in precisions]
    if len(precisions) > 1:
        rng = np.random.default_rng(seed)
        plans += [_mixed(graph, precisions, rng) for _ in range(MIXED_PROBES)]
    return list(dict.fromkeys(plans))


def measure(
    graph: SlotGraph,
    *,
    plans: Sequence[Plan],
    write: Callable[[Plan], ir.Model],
    time_builds: TimeBuilds,
) -> Measurement:
    """Build the plans, time them in turns, and share the times out."""
    builds = time_builds([write(plan) for plan in plans])
    shares = _Shares(graph)
    for plan, build in zip(plans, builds, strict=True):
        shares.add(build, [plan.as_dict()[slot.name] for slot in graph.slots])
    return Measurement(
        slots=tuple(SlotTime(*key, tuple(us)) for key, us in shares.slots.items()),
        edges=tuple(EdgeTime(*key, float(np.median(us))) for key, us in shares.edges.items()),
        alone=tuple(SlotTime(*key, tuple(us)) for key, us in shares.alone.items()),
        fixed_us=tuple(shares.fixed),
        plans=tuple(plans),
        totals=tuple(_typical(build.total_us) for build in builds),
    )


def change(edge: Edge, choices: Sequence[NodeChoice]) -> tuple[Precision, Precision] | None:
    """The change of form that a plan asks for on an edge; None where all agree."""
    source = format_of(choices[edge.producer].precision) if edge.producer >= 0 else Precision.FP32
    targets = [format_of(choices[i].precision) for i in edge.consumers]
    if edge.is_output:
        targets.append(Precision.FP32)
    other = [target for target in targets if target is not source]
    return (source, other[0]) if other else None


class _Shares:
    """Times of all builds so far, by what they belong to."""

    def __init__(self, graph: SlotGraph) -> None:
        self.graph = graph
        self.slots: dict[tuple[int, NodeChoice], list[float]] = {}
        self.edges: dict[tuple[int, Precision, Precision], list[float]] = {}
        self.alone: dict[tuple[int, NodeChoice], list[float]] = {}
        self.fixed: list[float] = []
        self._index = {slot.name: i for i, slot in enumerate(graph.slots)}

    def add(self, build: TimedBuild, choices: Sequence[NodeChoice]) -> None:
        """Share out one build, made with a choice for each slot."""
        whole = _typical(build.total_us)
        typical = [_typical(kernel.us) for kernel in build.kernels]
        times = list(zip(build.kernels, without_profiler(typical, whole), strict=True))
        found = attribute(times, build.graph, self.graph)
        self.fixed.append(max(0.0, whole - found.total) + found.rest)
        slots = {i: found.slots.get(i, 0.0) for i in range(len(self.graph.slots))}
        self._share_edges(found, choices, slots)
        self._share_rides(choices, slots)
        for i, us in slots.items():
            self.slots.setdefault((i, choices[i]), []).append(us)

    def _share_edges(
        self, found: Attribution, choices: Sequence[NodeChoice], slots: dict[int, float]
    ) -> None:
        """A change of form is the edge's; of layout alone, part of what the writer costs."""
        for i, edge in enumerate(self.graph.edges):
            changed = change(edge, choices)
            if changed is not None:
                self.edges.setdefault((i, *changed), []).append(found.edges.get(i, 0.0))
            elif i in found.edges:
                owner = edge.producer if edge.producer >= 0 else edge.consumers[0]
                slots[owner] += found.edges[i]

    def _share_rides(self, choices: Sequence[NodeChoice], slots: dict[int, float]) -> None:
        """A fused kernel is its matrix product's; what runs alone beside that costs extra."""
        for i, slot in enumerate(self.graph.slots):
            if not slot.rides:
                continue
            carrier = self._index[slot.rides]
            if choices[carrier] != choices[i]:
                self.alone.setdefault((i, choices[i]), []).append(slots[i])
            else:
                slots[carrier] += slots[i]
            slots[i] = 0.0


def without_profiler(kernels: Sequence[float], whole: float) -> list[float]:
    """The kernels' times without what the profiler adds to each, alike for all of them.

    Args:
        kernels: Time of each kernel under the profiler, in microseconds.
        whole: Time of the run without the profiler; where it is the longer, nothing is taken off.
    """
    low, high = 0.0, max(kernels, default=0.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        total = sum(max(us - middle, 0.0) for us in kernels)
        low, high = (middle, high) if total > whole else (low, middle)
    return [max(us - low, 0.0) for us in kernels]


def _typical(us: npt.NDArray[np.float64]) -> float:
    """The mean of the faster half of the runs.

    What disturbs a run only ever adds to it; and a mean is finer than whole microseconds.
    """
    return float(np.sort(us)[: max(1, len(us) // 2)].mean())


def _uniform(graph: SlotGraph, precision: Precision) -> Plan:
    choice = NodeChoice(precision)
    return Plan.of((s.name, choice if choice in s.choices else s.choices[0]) for s in graph.slots)


def _mixed(graph: SlotGraph, precisions: Sequence[Precision], rng: np.random.Generator) -> Plan:
    """Runs of neighbouring slots in one precision, at random."""
    current = precisions[int(rng.integers(len(precisions)))]
    pairs = []
    for slot in graph.slots:
        if rng.random() < _SWITCH:
            current = precisions[int(rng.integers(len(precisions)))]
        choice = NodeChoice(current)
        pairs.append((slot.name, choice if choice in slot.choices else slot.choices[0]))
    return Plan.of(pairs)
