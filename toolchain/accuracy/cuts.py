"""Where a graph can be cut at one tensor through which everything flows, and which cuts pay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .. import kernels
from ..operators import DEFAULT_DOMAINS
from ..slots import Edge, Slot, SlotGraph

# Rough costs in multiply-accumulates, only to place the cuts: what a kernel pays for an element
# that it moves, and what a cut costs: one more call, and an element laid out anew on both sides.
_MOVED = 30.0
_CALL = 3.0e6
_CROSSING = 30.0
_LEAST = 2.0e7  # a model with less to do is built anew faster than it is cut

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cuts:
    """A graph cut into blocks, in topological order.

    Attributes:
        tensors: The tensor between each block and the next.
        writers: Index of the slot that writes each of them.
        elements: How many elements each of them has.
        block_of: The block of each slot.
        outputs: The graph's outputs that each block writes.
        work: What each block has to do, as a share of the whole.
    """

    tensors: tuple[str, ...]
    writers: tuple[int, ...]
    elements: tuple[int, ...]
    block_of: tuple[int, ...]
    outputs: tuple[tuple[str, ...], ...]
    work: tuple[float, ...]

    @classmethod
    def of(cls, graph: ir.Graph, slots: SlotGraph) -> Self:
        """Cut a graph where it pays; there may be no place for a cut."""
        order = {str(node.name): i for i, node in enumerate(graph)}
        starts = np.array([min(order[name] for name in slot.nodes) for slot in slots.slots])
        work = np.array([_work(slot) for slot in slots.slots])
        found = list(_candidates(graph, slots)) if work.sum() >= _LEAST else []
        chosen = _choose(found, slots, starts, work)
        ends = np.array([position for position, _ in chosen], np.intp)
        block_of = np.searchsorted(ends, starts) if len(starts) else np.zeros(0, np.intp)
        shares = np.bincount(block_of, work, len(ends) + 1) / max(work.sum(), 1.0)
        return cls(
            tuple(edge.tensor for _, edge in chosen),
            tuple(edge.producer for _, edge in chosen),
            tuple(edge.elements for _, edge in chosen),
            tuple(int(block) for block in block_of),
            _outputs(graph, order, ends),
            tuple(float(share) for share in shares),
        )

    def __len__(self) -> int:
        """How many blocks there are."""
        return len(self.tensors) + 1


def reads(node: ir.Node) -> Iterator[ir.Value]:
    """Every value of its graph that a node reads, by its bodies (If, Loop) too."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            for inner in ir.traversal.RecursiveGraphIterator(attribute.as_graph()):
                outer = (value for value in inner.inputs if value is not None)
                yield from (value for value in outer if value.graph is node.graph)


def _candidates(graph: ir.Graph, slots: SlotGraph) -> Iterator[tuple[int, Edge]]:
    """Each position after which one slot's output alone holds all the work done so far.

    What is cheap to compute from the inputs again, such as an attention mask, may be needed on
    both sides.
    """
    edges = {edge.tensor: edge for edge in slots.edges if edge.producer >= 0 and not edge.is_output}
    apart = {tensor for slot in slots.slots for tensor in _fused(slot, slots)}
    for position, value in _passages(graph):
        edge = edges.get(str(value.name))
        if edge is not None and edge.consumers and edge.tensor not in apart and value.type:
            yield position, edge


def _passages(graph: ir.Graph) -> Iterator[tuple[int, ir.Value]]:
    """Positions after which a single value that took work is still to be read, and that value."""
    last: dict[ir.Value, int] = {}
    taken: set[ir.Value] = set()
    for i, node in enumerate(graph):
        read = list(reads(node))
        last.update((value, i) for value in read if value in taken)
        if _works(node) or not taken.isdisjoint(read):
            taken.update(node.outputs)
    alive: set[ir.Value] = set()
    for i, node in enumerate(graph):
        alive.update(out for out in node.outputs if out in last)
        alive = {value for value in alive if last[value] > i}
        if len(alive) == 1:
            yield i, next(iter(alive))


def _works(node: ir.Node) -> bool:
    """Whether a node is too dear to be run once more."""
    ours = node.domain in DEFAULT_DOMAINS
    special = node.op_type in kernels.RECURRENT or node.op_type in kernels.CONTROL_FLOW
    return not ours or special or kernels.macs(node) > 0


def _fused(slot: Slot, slots: SlotGraph) -> set[str]:
    """The tensors between a slot and the one that its fp32 kernel rides on."""
    carrier = next((other for other in slots.slots if other.name == slot.rides), None)
    if carrier is None:
        return set()
    return set(slot.inputs) & set(carrier.outputs) | set(slot.outputs) & set(carrier.inputs)


def _work(slot: Slot) -> float:
    return slot.work.macs + _MOVED * (slot.work.reads + slot.work.writes)


def _choose(
    found: Sequence[tuple[int, Edge]], slots: SlotGraph, starts: npt.NDArray[np.intp], work: Floats
) -> list[tuple[int, Edge]]:
    """The cuts with which changing one slot costs least, in the mean of the slots.

    A change is paid from the start of its block to the end, and every cut from there on costs
    extra. Dynamic programming over the last cut.
    """
    if not found:
        return []
    ends = np.array([-1, *(position for position, _ in found), starts.max()])
    inside = starts[:, None] <= ends[None, :]
    changing = np.array([len(slot.choices) > 1 for slot in slots.slots])
    earlier = np.array([work[starts < start].sum() for start in starts])
    count = (inside * changing[:, None]).sum(0)
    ahead = (inside * (changing * earlier)[:, None]).sum(0)
    done = (inside * work[:, None]).sum(0)
    crossing = [0.0, *(_CALL + _CROSSING * edge.elements for _, edge in found), 0.0]
    best, origin = np.zeros(len(ends)), np.zeros(len(ends), np.intp)
    for j in range(1, len(ends)):
        # what is run again without need in a block from i to j: all before the slot that changes
        waste = ahead[j] - ahead[:j] - (count[j] - count[:j]) * done[:j]
        total = best[:j] + waste + count[j] * crossing[j]
        origin[j] = int(total.argmin())
        best[j] = total[origin[j]]
    chosen, j = [], int(origin[-1])
    while j > 0:
        chosen.append(found[j - 1])
        j = int(origin[j])
    return chosen[::-1]


def _outputs(
    graph: ir.Graph, order: dict[str, int], ends: npt.NDArray[np.intp]
) -> tuple[tuple[str, ...], ...]:
    """The graph's outputs by the block that writes them."""
    blocks: list[list[str]] = [[] for _ in range(len(ends) + 1)]
    for value in graph.outputs:
        node = value.producer()
        position = order[str(node.name)] if node is not None else 0
        blocks[int(np.searchsorted(ends, position))].append(str(value.name))
    return tuple(map(tuple, blocks))
