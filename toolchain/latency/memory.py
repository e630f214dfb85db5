"""What a plan needs of a device's memory: its weights, and the activations that live at once."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import onnx_ir as ir

from ..find_slots import INT4_MIN_DEPTH
from ..plan import Precision
from ..slots import Edge, SlotGraph
from .wiring import format_of

_SCALE_BITS = 32 / INT4_MIN_DEPTH  # of a block's float scale, for each 4-bit weight
_INDEX_BITS = 1  # 2:4 keeps two of four weights, and two bits of position for each


@dataclass(frozen=True, slots=True)
class Weight:
    """One constant of a model.

    Attributes:
        elements: How many elements it has.
        bits: Of one element in the model.
        rank: How many dimensions it has: a bias (1) keeps its precision beside 8-bit weights.
        is_float: Whether it is fp32, and so follows the precision of the slots that read it.
        readers: Indices of those slots; empty where none of them is a slot.
    """

    elements: int
    bits: float
    rank: int
    is_float: bool
    readers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """An estimate, in bytes; what the runtime needs for itself comes on top.

    Attributes:
        weights: All weights, as they are stored.
        activations: The most that lives at once, inputs and outputs included.
        at: Name of the slot that runs then; empty where there is none.
    """

    weights: int
    activations: int
    at: str

    @property
    def total(self) -> int:
        """Both."""
        return self.weights + self.activations


def find_weights(model: ir.Model, graph: SlotGraph) -> tuple[Weight, ...]:
    """The constants of a model, bodies included, and the slots that read them."""
    slot_of = {name: i for i, slot in enumerate(graph.slots) for name in slot.nodes}
    found = []
    for body in model.graphs():
        for value in body.initializers.values():
            tensor = value.const_value
            if tensor is None:
                continue
            users = (slot_of.get(str(use.node.name)) for use in value.uses())
            weight = Weight(
                elements=tensor.size,
                bits=8 * tensor.nbytes / max(1, tensor.size),
                rank=len(tensor.shape),
                is_float=tensor.dtype is ir.DataType.FLOAT,
                readers=tuple(sorted({user for user in users if user is not None})),
            )
            found.append(weight)
    return tuple(found)


def memory(
    graph: SlotGraph,
    weights: Sequence[Weight],
    precisions: Sequence[Precision],
    *,
    sparse: Collection[int] = (),
) -> Memory:
    """The memory of a plan in which the slots run in topological order, none of them in place.

    Args:
        graph: The slots.
        weights: See `find_weights`.
        precisions: What each slot computes in.
        sparse: Indices of the slots that read 2:4 sparse weights.
    """
    live = [0] * (len(graph.slots) + 1)
    for first, last, size in _lives(graph, precisions):
        live[first] += size
        live[min(last, len(graph.slots) - 1) + 1] -= size
    held = list(accumulate(live))
    peak = max(range(len(held)), key=held.__getitem__)
    return Memory(
        weights=sum(_stored(weight, precisions, sparse) for weight in weights),
        activations=held[peak],
        at=graph.slots[peak].name if peak < len(graph.slots) else "",
    )


def _stored(weight: Weight, precisions: Sequence[Precision], sparse: Collection[int]) -> int:
    """Bytes of a constant: one copy for each form that its readers want."""
    forms = {weight.bits}
    if weight.is_float and weight.readers:
        forms = {_bits(weight, precisions[i], sparse=i in sparse) for i in weight.readers}
    return sum(round(weight.elements * bits / 8) for bits in forms)


def _bits(weight: Weight, precision: Precision, *, sparse: bool) -> float:
    """Bits of one element of an fp32 constant, as a kernel of a precision reads it."""
    is_matrix = weight.rank > 1
    if precision in {Precision.INT8, Precision.INT4} and not is_matrix:
        return weight.bits
    bits = precision.weight_bits + (_SCALE_BITS if precision is Precision.INT4 else 0)
    return bits / 2 + _INDEX_BITS if sparse and is_matrix else bits


def _lives(graph: SlotGraph, precisions: Sequence[Precision]) -> Iterator[tuple[int, int, int]]:
    """First slot, last slot and bytes of every tensor, and of every copy in another format.

    What enters or leaves the graph is the caller's, in fp32, and there all the time.
    """
    end = len(graph.slots) - 1
    for edge in graph.edges:
        made = format_of(precisions[edge.producer]) if edge.producer >= 0 else Precision.FP32
        readers = _readers(edge, precisions)
        own = readers.pop(made, [])
        if edge.is_output or edge.producer < 0:
            yield 0, end, _size(edge, Precision.FP32)
        if edge.producer >= 0 and not (edge.is_output and made is Precision.FP32):
            converted = [min(others) for others in readers.values()]
            yield edge.producer, max([edge.producer, *own, *converted]), _size(edge, made)
        for wanted, others in readers.items():
            if not (edge.is_output and wanted is Precision.FP32):
                yield min(others), max(others), _size(edge, wanted)


def _readers(edge: Edge, precisions: Sequence[Precision]) -> dict[Precision, list[int]]:
    """The slots that read a tensor, by the format they want it in."""
    readers: dict[Precision, list[int]] = {}
    for reader in edge.consumers:
        readers.setdefault(format_of(precisions[reader]), []).append(reader)
    return readers


def _size(edge: Edge, precision: Precision) -> int:
    return edge.elements * precision.activation_bits // 8
