"""What graphs of another structure take: each kernel in the precision it is likely to end in."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from ...passes.apply import PlanWriter
from ...toolchain.calibration import Range
from ...toolchain.find_slots import find_slots, merge_slots
from ...toolchain.latency.attribute import own_kernels
from ...toolchain.latency.cost import Breakdown, CostModel
from ...toolchain.latency.probes import uniform
from ...toolchain.latency.table import LatencyTable, Mode
from ...toolchain.observe import annotate
from ...toolchain.origin import Origin
from ...toolchain.plan import Plan, Precision
from ...toolchain.progress import Progress
from ...toolchain.slots import SlotGraph
from ...toolchain.structure.site import Bill, Part
from ..request import Request
from .compilation import Compilation
from .decide import find_meter, find_space, plan_fp32, prices_elsewhere, reference
from .prepare import Prepared
from .target import Target


@dataclass(frozen=True, slots=True, eq=False)
class Biller:
    """Says what a graph takes when every kernel runs in one precision, or in fp32 where it cannot.

    Attributes:
        request: What is asked.
        target: The device.
        prepared: The model that the graphs are made from.
        ranges: Of its tensors. Others get the widest of them: times do not depend on it.
        precision: What kernels run in.
        progress: Told of each build.
    """

    request: Request
    target: Target
    prepared: Prepared
    ranges: Mapping[str, Range]
    precision: Precision
    progress: Progress

    @classmethod
    def fastest(cls, begun: Compilation, progress: Progress) -> "Biller":
        """A biller in the precision in which the model as it is takes the least."""
        request, target, prepared = begun.request, begun.target, begun.prepared
        space = find_space(request, target, prepared, progress)
        seen = {choice.precision for slot in space.slots.slots for choice in slot.choices}
        found = [
            cls(request, target, prepared, space.writer.ranges, precision, progress)
            for precision in sorted(seen)
        ]
        return min(found, key=lambda biller: biller.bill(prepared.model).us)

    def bill(self, model: ir.Model) -> Bill:
        """What a graph takes: measured where the device is here, else by its tables or profile."""
        slots = self._slots(model)
        plan = uniform(slots, self.precision)
        cost = self._cost(model, slots, plan)
        columns = [slot.choices.index(plan.as_dict()[slot.name]) for slot in slots.slots]
        return _billed(slots, cost, cost.explain(np.array(columns, np.intp)))

    def _slots(self, model: ir.Model) -> SlotGraph:
        seen = annotate(model, reference, self.prepared.feeds)
        slots = find_slots(seen, self.target.dialect, (Precision.FP32, self.precision))
        if self.target.runtime is None:
            return slots
        ran = self.target.runtime.running_graph(model, self.prepared.feeds)
        return merge_slots(slots, own_kernels(ran, slots))

    def _cost(self, model: ir.Model, slots: SlotGraph, plan: Plan) -> CostModel:
        ranges = self._ranges_of({tensor for slot in slots.slots for tensor in slot.tensors})
        writer = PlanWriter(model, slots, dialect=self.target.dialect, ranges=ranges)
        prepared = replace(self.prepared, model=model)
        meter = find_meter(self.request, self.target, prepared, writer)
        if meter is None:
            return prices_elsewhere(self.request, self.target, slots).cost
        with LatencyTable.open(meter.path, Mode.WRITE) as table:
            meter.measure(table, list(dict.fromkeys([plan_fp32(slots), plan])), self.progress)
            return meter.priced(table)

    def _ranges_of(self, tensors: Collection[str]) -> dict[str, Range]:
        known = self.ranges.values()
        widest = Range(
            min((r.low for r in known), default=-1.0), max((r.high for r in known), default=1.0)
        )
        return {tensor: self.ranges.get(tensor, widest) for tensor in tensors}


def _billed(slots: SlotGraph, cost: CostModel, breakdown: Breakdown) -> Bill:
    """Kernels with the changes of form that they cause: those of what they write, or else read."""
    us = {paid.slot: paid.us for paid in breakdown.slots}
    writers = {tensor: slot.name for slot in slots.slots for tensor in slot.outputs}
    readers = {tensor: slot.name for slot in slots.slots for tensor in slot.inputs}
    for change in breakdown.boundaries:
        us[writers.get(change.tensor) or readers[change.tensor]] += change.us
    estimated = (cost.node_source == Origin.ESTIMATED).any()
    return Bill(
        tuple(Part(frozenset(s.nodes), us[s.name], s.work.weights) for s in slots.slots),
        breakdown.fixed_us,
        Origin.ESTIMATED if estimated else Origin.MEASURED,
    )
