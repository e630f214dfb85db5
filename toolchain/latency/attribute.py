"""Whose time is it: gives each measured kernel to a slot, or to a tensor whose form it changes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..engine import KernelTime
from ..naming import base
from ..slots import SlotGraph

# What runtimes insert to change type or layout; a model's own Transpose, Cast or Pad is a slot.
CONVERSIONS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "Pad", "ReorderInput"}
    | {"ReorderOutput"}
)
_PRODUCT = re.compile("MatMul|Gemm|Conv")  # in the name of a kernel, an op or a slot's key
# What ONNX Runtime appends to the name of a tensor that it splits or moves a conversion across.
_APPENDED = re.compile(r"(_token_\d+|_pre_q|_q|_dq|/duplicated)$")

Times = npt.NDArray[np.float64]  # statistics of one duration, in microseconds


@dataclass(slots=True)
class Attribution:
    """Where the time of one build went, in microseconds.

    Attributes:
        slots: By index of the slot; shape (statistics,), as the kernels' times have them.
        edges: By index of the edge whose tensor is converted.
        rest: What belongs to neither, such as shape arithmetic.
    """

    rest: Times
    slots: dict[int, Times] = field(default_factory=dict)
    edges: dict[int, Times] = field(default_factory=dict)

    @property
    def total(self) -> Times:
        """The sum over all kernels."""
        return sum([*self.slots.values(), *self.edges.values()], self.rest)


def attribute(
    times: Sequence[tuple[KernelTime, Times]], graph: ir.Graph, slots: SlotGraph
) -> Attribution:
    """Give every kernel's time to a slot, an edge or the rest.

    Args:
        times: Each kernel with statistics of its time in one run (typical, percentiles), in
            microseconds; shape (statistics,). Each statistic is shared out by itself.
        graph: The graph that really ran: its nodes bear the kernels' names.
        slots: The slots of the graph that the plan was written into.
    """
    owners = _Owners(graph, slots)
    nothing = np.zeros_like(times[0][1]) if times else np.zeros(1)
    result = Attribution(nothing)
    for kernel, us in times:
        slot, edge = owners.of(kernel)
        if edge is not None:
            result.edges[edge] = result.edges.get(edge, nothing) + us
        elif slot is not None:
            slot = owners.product(kernel.op, slot)
            result.slots[slot] = result.slots.get(slot, nothing) + us
        else:
            result.rest = result.rest + us
    return result


def own_kernels(graph: ir.Graph, slots: SlotGraph) -> frozenset[int]:
    """The slots that have a kernel of their own in a graph that really ran."""
    owners = _Owners(graph, slots)
    nodes = (KernelTime.of(node, np.zeros(0)) for node in graph)
    return frozenset(slot for slot, _ in map(owners.of, nodes) if slot is not None)


class _Owners:
    def __init__(self, graph: ir.Graph, slots: SlotGraph) -> None:
        self._slots = slots
        self._writer = {
            t: i
            for i, slot in enumerate(slots.slots)
            for t in (*slot.hidden, *slot.inner, *slot.outputs)
        }
        self._node = {name: i for i, slot in enumerate(slots.slots) for name in slot.nodes}
        self._edge = {edge.tensor: i for i, edge in enumerate(slots.edges)}
        for slot in slots.slots:
            written = next((self._edge[t] for t in slot.outputs if t in self._edge), None)
            if written is not None:
                self._edge |= dict.fromkeys(slot.hidden, written)
        self._nodes = {str(node.name): node for node in graph}
        self._names: dict[str, tuple[str, ...]] = {}

    def of(self, kernel: KernelTime) -> tuple[int | None, int | None]:
        """The slot or the edge that a kernel belongs to; neither where it is not known."""
        self._names[kernel.name] = kernel.tensors
        tensors = [origin for tensor in kernel.tensors for origin in _origins(tensor)]
        known = next((t for t in tensors if t in self._writer), None)
        if kernel.op not in CONVERSIONS:
            return (self._writer[known] if known else self._by_name(kernel.name)), None
        if known and self._slots.slots[self._writer[known]].op == kernel.op:
            return self._writer[known], None
        edge = self._edge_of(kernel)
        # A weight's DequantizeLinear bears the name of its node: it runs where none was fused.
        named = next((slot for slot in map(self._by_name, tensors) if slot is not None), None)
        return self._writer[known] if named is None and known else named, edge

    def product(self, op: str, slot: int) -> int:
        """The slot of the matrix product whose kernel writes what the slot after it would write.

        4-bit products take the bias Add that follows into their own kernel, an fp32 one does not.
        """
        own = self._slots.slots[slot]
        if not _PRODUCT.search(op) or _PRODUCT.search(f"{own.op} {own.key}"):
            return slot
        before = (edge.producer for edge in self._slots.edges if slot in edge.consumers)
        products = [i for i in before if i >= 0 and _PRODUCT.search(self._slots.slots[i].op)]
        return products[0] if products else slot

    def _by_name(self, name: str) -> int | None:
        """The slot of the node that a kernel is named after: `Mul_43/QuickGeluFusion/`."""
        stem = name.partition("_token_")[0]
        while stem and stem not in self._node:
            stem = stem.rpartition("/")[0]
        return self._node.get(stem)

    def _edge_of(self, kernel: KernelTime) -> int | None:
        """The tensor that a conversion reads, in whatever form: follow its first input up."""
        for name in (*kernel.tensors, *self._upstream(self._nodes[kernel.name])):
            for origin in _origins(name):
                if origin in self._edge:
                    return self._edge[origin]
        return None

    def _upstream(self, node: ir.Node) -> Iterator[str]:
        value = node.inputs[0]
        while value is not None:
            yield str(value.name)
            producer = value.producer()
            if producer is None:
                return
            yield from self._names.get(str(producer.name), ())
            value = producer.inputs[0] if producer.inputs else None


def _origins(name: str) -> Iterator[str]:
    """A name, and what it was before the runtime and the plan made another of it."""
    yield name
    shorter = _APPENDED.sub("", base(name))
    while shorter != name:
        yield shorter
        name, shorter = shorter, _APPENDED.sub("", base(shorter))
