"""The times of a TensorRT engine's layers, shared out over the slots of the model."""

from collections.abc import Callable, Iterator

import numpy as np

from ..errors import InputError
from ..naming import base
from ..plan import NodeChoice, Plan, Precision
from ..slots import Slot, SlotGraph
from .attribute import Attribution
from .measure import Measurement, shared_out
from .trt_inspector import Layer
from .trt_owners import NOBODY, Owner, find_owners
from .trtexec import EngineTimes

Weigh = Callable[[Slot, NodeChoice], float]
_FLOATS = frozenset({Precision.FP32, Precision.FP16, Precision.BF16})
_MOST_UNKNOWN = 0.5  # of an engine's time; where more belongs to no slot, the model is another
_NOTHING = np.zeros(3)  # typical time, tenth and ninetieth percentile, in microseconds


def to_measurement(
    engine: EngineTimes, graph: SlotGraph, weigh: Weigh, plan: Plan | None = None
) -> Measurement:
    """Share out the times of an engine's layers; all parts together are the engine's total.

    A layer that runs several slots as one kernel has one time: each gets a part by its estimated
    work. `find_slots.merge_slots` with `own_kernels` makes one slot of them, and nothing is split.

    Args:
        engine: The engine's times.
        graph: The slots of the model that the engine was built from.
        weigh: What a slot should take by estimate, in any unit.
        plan: What the engine was built with; None: it is read from the layers' types.

    Raises:
        InputError: The layers are mostly of another model.
    """
    owners = _owners(engine, graph)
    plan = plan or _plan(engine, graph, owners)
    choices = [plan.as_dict()[slot.name] for slot in graph.slots]
    found = Attribution(_NOTHING)
    for timed, owner in zip(engine.layers, owners, strict=True):
        us = np.array([timed.us.median, timed.us.p10, timed.us.p90])
        if owner.edge is not None:
            found.edges[owner.edge] = found.edges.get(owner.edge, _NOTHING) + us
        elif owner.slots:
            for slot, part in _parts(graph, owner.slots, choices, weigh):
                found.slots[slot] = found.slots.get(slot, _NOTHING) + us * part
        else:
            found.rest = found.rest + us
    layers_us = float(found.total[0])
    _check_model(engine, owners, float(found.rest[0]) / layers_us if layers_us else 0.0)
    total = layers_us if engine.total_us is None else engine.total_us
    return shared_out(graph, plan, found, total_us=total, runs=engine.runs)


def own_kernels(engine: EngineTimes, graph: SlotGraph) -> frozenset[int]:
    """The slots that have a kernel of their own, or are the last ones in one of several.

    Any other is fused into what reads it: what `find_slots.merge_slots` wants to know.
    """
    return frozenset(
        slot
        for owner in _owners(engine, graph)
        for slot in owner.slots
        if not any(set(graph.slots[slot].outputs) & set(graph.slots[i].inputs) for i in owner.slots)
    )


def _owners(engine: EngineTimes, graph: SlotGraph) -> list[Owner]:
    return find_owners([timed.layer for timed in engine.layers], graph)


def _parts(
    graph: SlotGraph, slots: frozenset[int], choices: list[NodeChoice], weigh: Weigh
) -> Iterator[tuple[int, float]]:
    """What part of a layer's time is whose."""
    weights = {i: weigh(graph.slots[i], choices[i]) for i in sorted(slots)}
    whole = sum(weights.values())
    for i, weight in weights.items():
        yield i, weight / whole if whole > 0 else 1 / len(weights)


def _plan(engine: EngineTimes, graph: SlotGraph, owners: list[Owner]) -> Plan:
    """What each slot ran in, by the types of the layer that takes most of its time."""
    ran: dict[int, NodeChoice] = {}
    order = sorted(range(len(owners)), key=lambda i: -engine.layers[i].us.median)
    for i in order:
        precisions = _precisions(engine.layers[i].layer)
        if not precisions and engine.precision is not None:
            precisions = [engine.precision, Precision.FP32]
        for slot in owners[i].slots:
            if precisions and slot not in ran:
                choices = map(NodeChoice, precisions)
                offered = (c for c in choices if c in graph.slots[slot].choices)
                ran[slot] = next(offered, NodeChoice(precisions[0]))
    _inherit(graph, ran)
    rest = NodeChoice(engine.precision or Precision.FP32)
    return Plan.of((slot.name, ran.get(i, rest)) for i, slot in enumerate(graph.slots))


def _precisions(layer: Layer) -> list[Precision]:
    """What a layer may be said to compute in, the likeliest first: what it reads decides.

    A kernel that reads int8 and float is an int8 kernel with a residual; one that reads float and
    writes int8 computes in float.
    """
    read = [t.precision for t in layer.inputs if t.precision is not None]
    written = [t.precision for t in layer.outputs if t.precision is not None]
    small = [p for p in (Precision.INT4, Precision.INT8) if p in read]
    if any("q4" in name.removeprefix(base(name)).split("__") for name in layer.nodes):
        small.insert(0, Precision.INT4)
    floats = [p for p in (*read, *written) if p in _FLOATS]
    return list(dict.fromkeys((*small, *floats)))


def _inherit(graph: SlotGraph, ran: dict[int, NodeChoice]) -> None:
    """Give slots without a layer, such as a Flatten, what a neighbour ran in: no conversion."""
    links = [(edge.producer, i) for edge in graph.edges for i in edge.consumers]
    for before, after in sorted(links, key=lambda link: link[1]):
        if before in ran:
            ran.setdefault(after, ran[before])
    for before, after in sorted(links, reverse=True):
        if before >= 0 and after in ran:
            ran.setdefault(before, ran[after])


def _check_model(engine: EngineTimes, owners: list[Owner], unknown: float) -> None:
    """Refuse an engine most of whose time belongs to no slot."""
    if unknown <= _MOST_UNKNOWN:
        return
    names = [
        timed.layer.name for timed, o in zip(engine.layers, owners, strict=True) if o == NOBODY
    ]
    raise InputError(
        f"{len(names)} of {len(owners)} layers with {unknown:.0%} of the time name no node of the "
        f"model, such as '{names[0]:.60}'",
        "give the model that the engine was built from; export with --profilingVerbosity=detailed",
    )
