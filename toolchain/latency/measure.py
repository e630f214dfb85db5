"""Measuring a model's slots in place: a few whole builds, each kernel's time given to its slot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..engine import TimeBuilds, TimedBuild
from ..plan import NodeChoice, Plan, Precision
from ..slots import Edge, SlotGraph
from .attribute import attribute
from .wiring import format_of

MIXED_PROBES = 4
_SWITCH = 0.35  # chance that a mixed probe changes precision from one slot to the next
_MIDDLE = (25, 75)  # runs between these percentiles count: whole microseconds average out


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
        fixed_us: Time of a run that belongs to no slot and no edge, one for each build.
        plans: The plans that were built.
        totals: Median time of each whole build without the profiler, in microseconds.
    """

    slots: tuple[SlotTime, ...]
    edges: tuple[EdgeTime, ...]
    fixed_us: tuple[float, ...]
    plans: tuple[Plan, ...]
    totals: tuple[float, ...]


def probe_plans(graph: SlotGraph, seed: int = 0) -> list[Plan]:
    """The builds worth measuring: one a precision, and mixed ones that show the boundaries."""
    precisions = sorted({c.precision for slot in graph.slots for c in slot.choices})
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
    slot_times: dict[tuple[int, NodeChoice], list[float]] = {}
    edge_times: dict[tuple[int, Precision, Precision], list[float]] = {}
    rests: list[float] = []
    for plan, build in zip(plans, builds, strict=True):
        choices = [plan.as_dict()[slot.name] for slot in graph.slots]
        for slot, us in _share_out(build, graph, choices, edge_times, rests).items():
            slot_times.setdefault((slot, choices[slot]), []).append(us)
    return Measurement(
        slots=tuple(SlotTime(*key, tuple(us)) for key, us in slot_times.items()),
        edges=tuple(EdgeTime(*key, float(np.median(us))) for key, us in edge_times.items()),
        fixed_us=tuple(rests),
        plans=tuple(plans),
        totals=tuple(float(np.median(build.total_us)) for build in builds),
    )


def change(edge: Edge, choices: Sequence[NodeChoice]) -> tuple[Precision, Precision] | None:
    """The change of form that a plan asks for on an edge; None where all agree."""
    source = format_of(choices[edge.producer].precision) if edge.producer >= 0 else Precision.FP32
    targets = [format_of(choices[i].precision) for i in edge.consumers]
    if edge.is_output:
        targets.append(Precision.FP32)
    other = [target for target in targets if target is not source]
    return (source, other[0]) if other else None


def _share_out(
    build: TimedBuild,
    graph: SlotGraph,
    choices: Sequence[NodeChoice],
    edge_times: dict[tuple[int, Precision, Precision], list[float]],
    rests: list[float],
) -> dict[int, float]:
    """The time of each slot in one build; times of edges and of the rest are added to the lists."""
    whole = float(np.median(build.total_us))
    typical = [_typical(kernel.us) for kernel in build.kernels]
    # The profiler costs something for each kernel; and what it does not see is shared by none.
    excess = max(0.0, sum(typical) - whole) / max(1, len(typical))
    shares = attribute(
        [
            (kernel, max(us - excess, us / 4))
            for kernel, us in zip(build.kernels, typical, strict=True)
        ],
        build.graph,
        graph,
    )
    rests.append(max(0.0, whole - shares.total) + shares.rest)
    slots = {i: shares.slots.get(i, 0.0) for i in range(len(graph.slots))}
    for i, us in shares.edges.items():
        edge = graph.edges[i]
        changed = change(edge, choices)
        if changed is not None:
            edge_times.setdefault((i, *changed), []).append(us)
        else:  # a change of layout alone: part of what the writer (else the reader) costs
            owner = edge.producer if edge.producer >= 0 else edge.consumers[0]
            slots[owner] += us
    for i, edge in enumerate(graph.edges):
        changed = change(edge, choices)
        if changed is not None and i not in shares.edges:
            edge_times.setdefault((i, *changed), []).append(0.0)
    return slots


def _typical(us: npt.NDArray[np.float64]) -> float:
    """The mean of the middle half: steady, and finer than the profiler's whole microseconds."""
    low, high = np.percentile(us, _MIDDLE)
    return float(us[(us >= low) & (us <= high)].mean())


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
