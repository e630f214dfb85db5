"""Kernels timed alone, each in a graph of its own: what most latency tables hold."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from hwc.backends import ort
from hwc.passes.apply import PlanWriter
from hwc.toolchain import kernels
from hwc.toolchain.engine import Feeds
from hwc.toolchain.errors import BackendError
from hwc.toolchain.latency.measure import measurement
from hwc.toolchain.observe import annotate
from hwc.toolchain.plan import NodeChoice, Plan
from hwc.toolchain.slots import Slot, SlotGraph
from hwc.tools.stages.decide import reference

from .plans import Subject

RUNS = 12


def isolated_costs(it: Subject) -> npt.NDArray[np.float64]:
    """Time of each slot alone in each of its choices, in microseconds; shape (slots, choices).

    Equal kernels are timed once. A slot is cut out with what it reads as inputs, written for one
    choice, and only its own kernel counts, not the conversions before and after it. What cannot be
    cut out counts nothing.
    """
    graph = annotate(it.prepared.model, reference, it.prepared.feeds)
    most = max(len(slot.choices) for slot in it.space.slots.slots)
    costs = np.full((len(it.space.slots.slots), most), np.inf)
    known: dict[tuple[str, NodeChoice], float] = {}
    for row, slot in enumerate(it.space.slots.slots):
        for column, choice in enumerate(slot.choices):
            key = slot.key, choice
            if key not in known:
                known[key] = _alone(it, graph, slot, choice)
            costs[row, column] = known[key]
    return costs


def _alone(it: Subject, model: ir.Model, slot: Slot, choice: NodeChoice) -> float:
    names = set(slot.nodes)
    nodes = [node for node in model.graph if node.name in names]
    reads = list(_reads(nodes))
    if not slot.outputs or any(value.shape is None for value in reads):
        return 0.0
    try:
        part = ir.convenience.extract(model.graph, [str(v.name) for v in reads], list(slot.outputs))
    except ValueError:  # a branch reads values from around it
        return 0.0
    cut = ir.Model(part, ir_version=model.ir_version)
    single = SlotGraph((replace(slot, rides=""),), ())  # alone, it rides on nothing
    writer = PlanWriter(cut, single, dialect=it.space.writer.dialect, ranges=it.space.writer.ranges)
    plan = Plan.of({slot.name: choice})
    try:
        (build,) = ort.time_builds([writer.write(plan)], _feeds(reads), runs=RUNS, threads=1)
    except BackendError:  # a shape that is computed elsewhere does not fit
        return 0.0
    return measurement(single, plan, build).slots[0].us.median


def _reads(nodes: list[ir.Node]) -> Iterator[ir.Value]:
    """What the nodes read that is computed elsewhere."""
    inside = {out for node in nodes for out in node.outputs}
    values = dict.fromkeys(value for node in nodes for value in node.inputs if value is not None)
    for value in values:
        if value not in inside and kernels.constant(value) is None:
            yield value


def _feeds(values: list[ir.Value]) -> Feeds:
    rng = np.random.default_rng(0)
    feeds = {}
    for value in values:
        assert value.dtype is not None
        shape, dtype = kernels.dims(value), value.dtype.numpy()
        floats = np.issubdtype(dtype, np.floating)
        feeds[str(value.name)] = (
            rng.standard_normal(shape).astype(dtype) if floats else np.zeros(shape, dtype)
        )
    return feeds
