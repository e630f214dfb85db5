"""Measuring slots in place: whole builds in turns, each kernel's time given to its slot."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..engine import KernelTime, TimeBuilds, TimedBuild
from ..plan import NodeChoice, Plan, Precision
from ..slots import Edge, SlotGraph
from ..timing import Spread
from .attribute import Attribution, attribute
from .probes import uniform
from .wiring import format_of

_HALVINGS = 40  # to the float's own precision
_NOTHING = np.zeros(3)

Times = npt.NDArray[np.float64]  # typical time, tenth and ninetieth percentile, in microseconds


@dataclass(frozen=True, slots=True)
class SlotTime:
    """The in-place time of a slot in one choice."""

    slot: int
    choice: NodeChoice
    us: Spread


@dataclass(frozen=True, slots=True)
class EdgeTime:
    """What it cost to change the form of one tensor."""

    edge: int
    source: Precision
    target: Precision
    us: Spread


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one build says about a model.

    Attributes:
        plan: The plan that was built.
        slots: One for each slot.
        edges: One for each edge whose form the plan changes.
        alone: Times of slots that ride on another's fp32 kernel, where that one was not fp32.
        fixed_us: Time of a run that belongs to no slot and no edge, in microseconds.
        total_us: Typical time of a whole run without the profiler, in microseconds.
        runs: How many runs that rests on.
        scale: What times were multiplied with: the machine's speed then over its speed now.
    """

    plan: Plan
    slots: tuple[SlotTime, ...]
    edges: tuple[EdgeTime, ...]
    alone: tuple[SlotTime, ...]
    fixed_us: float
    total_us: float
    runs: int
    scale: float = 1.0


def measurements(
    graph: SlotGraph,
    *,
    plans: Iterable[Plan],
    write: Callable[[Plan], ir.Model],
    time_builds: TimeBuilds,
    anchor_us: float | None = None,
) -> Iterator[Measurement]:
    """Build the plans one after the other, each timed in turns with the all-fp32 build.

    What slows the machine for a minute slows both, so every time is scaled by what the fp32 build
    then took against what it took first: measured so, plans that were timed minutes apart compare
    to about 2 %, where raw times drift by 8 %.

    Args:
        graph: The slots.
        plans: What to build; each result comes as soon as it is measured.
        write: Writes a plan as a graph.
        time_builds: Times several graphs in turns.
        anchor_us: What the fp32 build took when the earlier ones were measured; None: it is
            measured now.
    """
    anchor = uniform(graph, Precision.FP32)
    for plan in plans:
        if plan == anchor and anchor_us is None:
            (build,) = time_builds([write(anchor)])
            found = measurement(graph, plan, build)
            anchor_us = found.total_us
        else:
            beside, build = time_builds([write(anchor), write(plan)])
            now = typical(beside.total_us)
            anchor_us = anchor_us or now
            found = measurement(graph, plan, build, scale=anchor_us / now)
        yield found


def measurement(
    graph: SlotGraph, plan: Plan, build: TimedBuild, *, scale: float = 1.0
) -> Measurement:
    """Share out the times of one build, each multiplied with `scale`."""
    whole = typical(build.total_us)
    found = attribute(list(_times(build, whole, scale)), build.graph, graph)
    shared = shared_out(graph, plan, found, total_us=whole * scale, runs=len(build.total_us))
    return replace(shared, scale=scale)


def shared_out(
    graph: SlotGraph, plan: Plan, found: Attribution, *, total_us: float, runs: int
) -> Measurement:
    """What a build says of each slot and edge.

    Args:
        graph: The slots.
        plan: What was built.
        found: Where the kernels' time went: typical time, tenth and ninetieth percentile.
        total_us: Typical time of a whole run, in microseconds.
        runs: How many runs that rests on.
    """
    choices = [plan.as_dict()[slot.name] for slot in graph.slots]
    slots = {i: found.slots.get(i, _NOTHING) for i in range(len(graph.slots))}
    edges = tuple(_edges(graph, found, choices, slots))
    alone = tuple(_rides(graph, choices, slots))
    left = max(0.0, total_us - float(found.total[0]))
    return Measurement(
        plan,
        slots=tuple(SlotTime(i, choices[i], _spread(us)) for i, us in slots.items()),
        edges=edges,
        alone=alone,
        fixed_us=left + float(found.rest[0]),
        total_us=total_us,
        runs=runs,
    )


def change(edge: Edge, choices: Sequence[NodeChoice]) -> tuple[Precision, Precision] | None:
    """The change of form that a plan asks for on an edge; None where all agree."""
    source = format_of(choices[edge.producer].precision) if edge.producer >= 0 else Precision.FP32
    targets = [format_of(choices[i].precision) for i in edge.consumers]
    if edge.is_output:
        targets.append(Precision.FP32)
    other = [target for target in targets if target is not source]
    return (source, other[0]) if other else None


def without_profiler(kernels: Sequence[float], whole: float) -> float:
    """What the profiler adds to each kernel, taken to be alike for all of them.

    Args:
        kernels: Time of each kernel under the profiler, in microseconds.
        whole: Time of the run without the profiler; where it is the longer, nothing was added.
    """
    low, high = 0.0, max(kernels, default=0.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        total = sum(max(us - middle, 0.0) for us in kernels)
        low, high = (middle, high) if total > whole else (low, middle)
    return low


def typical(us: npt.NDArray[np.float64]) -> float:
    """The mean of the faster half of the runs.

    What disturbs a run only ever adds to it; and a mean is finer than whole microseconds.
    """
    return float(np.sort(us)[: max(1, len(us) // 2)].mean())


def _times(build: TimedBuild, whole: float, scale: float) -> Iterator[tuple[KernelTime, Times]]:
    """Each kernel with its typical time and percentiles, the profiler's own cost taken off."""
    added = without_profiler([typical(kernel.us) for kernel in build.kernels], whole)
    for kernel in build.kernels:
        us = typical(kernel.us), *np.percentile(kernel.us, (10, 90))
        yield kernel, np.maximum(np.array(us) - added, 0.0) * scale


def _edges(
    graph: SlotGraph, found: Attribution, choices: Sequence[NodeChoice], slots: dict[int, Times]
) -> Iterator[EdgeTime]:
    """A change of form is the edge's; of layout alone, part of what the writer costs."""
    for i, edge in enumerate(graph.edges):
        changed = change(edge, choices)
        if changed is not None:
            yield EdgeTime(i, *changed, _spread(found.edges.get(i, _NOTHING)))
        elif i in found.edges:
            owner = edge.producer if edge.producer >= 0 else edge.consumers[0]
            slots[owner] = slots[owner] + found.edges[i]


def _rides(
    graph: SlotGraph, choices: Sequence[NodeChoice], slots: dict[int, Times]
) -> Iterator[SlotTime]:
    """A fused kernel is its matrix product's; what runs alone beside that costs extra."""
    index = {slot.name: i for i, slot in enumerate(graph.slots)}
    for i, slot in enumerate(graph.slots):
        if not slot.rides:
            continue
        carrier = index[slot.rides]
        if choices[carrier] != choices[i]:
            yield SlotTime(i, choices[i], _spread(slots[i]))
        else:
            slots[carrier] = slots[carrier] + slots[i]
        slots[i] = _NOTHING


def _spread(us: Times) -> Spread:
    """The typical time with percentiles that hold it between them."""
    middle, low, high = (float(value) for value in us)
    return Spread(middle, min(low, middle), max(high, middle))
