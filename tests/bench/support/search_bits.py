"""ResNet-20 with the weights of each layer in 2 to 8 bits: a search within a size."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from hwc.backends.ort_session import VERSION
from hwc.toolchain import kernels
from hwc.toolchain.accuracy.store import LossStore
from hwc.toolchain.device import HOST
from hwc.toolchain.engine import Array
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.wiring import FORMATS
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.progress import Silent
from hwc.toolchain.search.problem import Problem
from hwc.toolchain.slots import SlotGraph
from hwc.tools.request import Request
from hwc.tools.stages.decide import find_space
from hwc.tools.stages.prepare import prepare
from hwc.tools.stages.target import find_target

from .calibration import arguments
from .devkit import Case
from .search_ground import Ground, Judging, Parts

# A precision stands for a number of bits here: no runtime computes in most of these.
BITS = {
    Precision.FP32: 8,
    Precision.FP16: 6,
    Precision.BF16: 4,
    Precision.INT8: 3,
    Precision.INT4: 2,
}
AVERAGE = 4  # bits of a weight


@dataclass(slots=True)
class BitsWriter:
    """Writes plans that round weights, each output channel on a scale of its own.

    Attributes:
        model: The graph after the graph passes.
        slots: Its slots.
    """

    model: ir.Model
    slots: SlotGraph
    _known: dict[tuple[str, int], ir.TensorProtocol] = field(default_factory=dict)

    def write(self, plan: Plan) -> ir.Model:
        """A graph with rounded weights and fp32 activations."""
        model, choices = self.model.clone(), plan.as_dict()
        bits = {
            name: BITS[choices[slot.name].precision]
            for slot in self.slots.slots
            if len(slot.choices) > 1
            for name in slot.nodes
        }
        for node in list(model.graph):
            if str(node.name) in bits and (weight := _weight(node)) is not None:
                weight.const_value = self._rounded(node, weight, bits[str(node.name)])
        return model

    def within(self, model: ir.Model, slots: SlotGraph) -> "BitsWriter":
        """A writer of a part of the model."""
        return BitsWriter(model, slots, self._known)

    def _rounded(self, node: ir.Node, weight: ir.Value, bits: int) -> ir.TensorProtocol:
        key = str(weight.name), bits
        if key not in self._known:
            tensor = weight.const_value
            assert tensor is not None  # `_weight` found it
            array = rounded(tensor.numpy(), bits, _channels(node))
            self._known[key] = ir.tensor(array, name=str(weight.name))
        return self._known[key]


def _channels(node: ir.Node) -> int:
    """The axis of a weight's output channels."""
    transposed = node.attributes.get_int("transB", 0)
    return 0 if node.op_type == "Conv" or transposed else 1


def rounded(array: Array, bits: int, axis: int) -> Array:
    """Symmetric integers of so many bits, the largest magnitude of each channel being exact."""
    most = 2 ** (bits - 1) - 1
    others = tuple(i for i in range(array.ndim) if i != axis)
    scale = np.abs(array).max(axis=others, keepdims=True) / most
    scale = np.where(scale > 0.0, scale, 1.0)
    near: Array = (np.rint(array / scale) * scale).astype(np.float32)
    return near


def bits_ground(case: Case, *, cache: Path, store: LossStore) -> Ground:
    """The least loss is sought; sizes are those of the weights alone, and times play no part."""
    data = arguments(case, cache / "data", labelled=False)[1]
    request = Request(str(case.path), data=data, device=HOST)
    target = find_target(request)
    prepared = prepare(request, target, Silent())
    space = find_space(request, target, prepared, Silent())
    slots = _with_bits(space.slots, prepared.model)
    writer = BitsWriter(prepared.model, slots)
    words = ("weights in bits", VERSION, str(BITS))
    parts = Parts.of(case)
    judging = Judging(prepared.original, writer, parts, store, words, integers=False)
    return judging.ground(_problem(slots), cache)


def at_average(ground: Ground, bits: int = AVERAGE) -> Problem:
    """Its problem, with so many bits a weight in the mean."""
    weights = sum(slot.work.weights for slot in ground.problem.graph.slots if slot.choices[1:])
    return ground.problem.within(size=weights * bits / 8)


def _with_bits(graph: SlotGraph, model: ir.Model) -> SlotGraph:
    """The slots, those with weights in every number of bits, the others as they are."""
    nodes = {str(node.name): node for node in model.graph}
    free, every = (NodeChoice(),), tuple(map(NodeChoice, BITS))
    return SlotGraph(
        tuple(
            replace(slot, choices=every if _weighted(slot.nodes, nodes) else free, kept="")
            for slot in graph.slots
        ),
        graph.edges,
    )


def _weighted(names: tuple[str, ...], nodes: dict[str, ir.Node]) -> bool:
    return any(_weight(nodes[name]) is not None for name in names)


def _weight(node: ir.Node) -> ir.Value | None:
    """The weight of a Conv or Gemm; None where it has none."""
    if node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return None
    weight = node.inputs[1]
    return weight if weight is not None and kernels.constant(weight) is not None else None


def _problem(slots: SlotGraph) -> Problem:
    shape = len(slots.slots), len(BITS)
    exists = np.array([[k < len(slot.choices) for k in range(shape[1])] for slot in slots.slots])
    sizes = np.zeros(shape, np.int64)
    for row, slot in zip(sizes, slots.slots, strict=True):
        if slot.choices[1:]:
            row[:] = [slot.work.weights * bits // 8 for bits in BITS.values()]
    between = len(slots.edges), len(FORMATS), len(FORMATS)
    cost = CostModel(
        slots,
        np.where(exists, 1.0, np.inf),
        np.zeros(between),
        np.full(shape, Origin.ESTIMATED),
        np.full(between, Origin.ESTIMATED),
    )
    return Problem(cost, sizes)
