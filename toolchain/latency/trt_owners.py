"""Whose a TensorRT layer is: the slots that it runs, or the tensor whose form it changes."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..naming import base
from ..slots import SlotGraph
from .trt_inspector import Kind, Layer
from .trt_names import UNNAMED, Reformat, nodes_in, range_of, reformat_of


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a layer belongs to.

    Attributes:
        slots: Indices of the slots that it runs as one kernel.
        edge: Index of the edge whose tensor it converts; None where it runs slots, or where it is
            not known what it does.
    """

    slots: frozenset[int] = frozenset()
    edge: int | None = None


NOBODY = Owner()


def find_owners(layers: Sequence[Layer], graph: SlotGraph) -> list[Owner]:
    """Who each layer belongs to; one whose name says nothing gets what no other claims."""
    finder = _Finder(graph)
    owners = [finder.named(layer) for layer in layers]
    claimed = {slot for owner in owners for slot in owner.slots}
    for i, layer in enumerate(layers):
        if owners[i] == NOBODY and reformat_of(layer.name) is None:
            owners[i] = Owner(finder.unnamed(layer, claimed))
            claimed |= owners[i].slots
    return owners


class _Finder:
    """Finds slots and edges by the names of nodes and tensors."""

    def __init__(self, graph: SlotGraph) -> None:
        self._slots = graph.slots
        self._writer = {
            tensor: i
            for i, slot in enumerate(graph.slots)
            for tensor in (*slot.hidden, *slot.inner, *slot.outputs)
        }
        self._node = {UNNAMED + tensor: i for tensor, i in self._writer.items()}
        self._node |= {name: i for i, slot in enumerate(graph.slots) for name in slot.nodes}
        self._edge = {edge.tensor: i for i, edge in enumerate(graph.edges)}

    def named(self, layer: Layer) -> Owner:
        """Who a layer's own words give it to."""
        moved = reformat_of(layer.name)
        if moved is not None:
            return self._converted(layer, moved)
        names = layer.nodes or nodes_in(layer.name, self._node)
        slots = frozenset(self._node[name] for name in names if name in self._node)
        if slots:
            return Owner(slots)
        return self._formed(layer)

    def unnamed(self, layer: Layer, claimed: set[int]) -> frozenset[int]:
        """The slots of a layer that names no node: those that it alone can have run."""
        ends = {i for t in layer.outputs if (i := self._writer.get(base(t.name))) is not None}
        if ends:
            read = {base(t.name) for t in layer.inputs}
            return self._upstream(ends - claimed, claimed, read) or frozenset(ends)
        names = range_of(layer.name)
        if names is None:
            return frozenset()
        first, last = (nodes_in(name, self._node) for name in names)
        start = self._node[first[0]] if first else 0
        end = self._node[last[0]] if last else len(self._slots) - 1
        return frozenset(i for i in range(start, end + 1) if i not in claimed)

    def _formed(self, layer: Layer) -> Owner:
        """The tensor whose form a layer changes: a QuantizeLinear or Cast that a plan brought in.

        What makes a weight is the slot's that reads it.
        """
        tensors = [t.name for t in layer.inputs] if layer.kind is Kind.REFORMAT else []
        names = [base(name) for name in (*sorted(layer.nodes), *_plain(layer.name), *tensors)]
        edge = next((self._edge[name] for name in names if name in self._edge), None)
        if edge is not None:
            return Owner(edge=edge)
        slots = (self._node.get(name, self._writer.get(name)) for name in names)
        slot = next((i for i in slots if i is not None), None)
        return NOBODY if slot is None else Owner(frozenset({slot}))

    def _converted(self, layer: Layer, moved: Reformat) -> Owner:
        """The tensor that TensorRT converts for a layer; within a slot, the slot."""
        tensors = [base(t.name) for t in (*layer.inputs, *layer.outputs)]
        ends = range_of(moved.layer)
        target = ends[moved.is_output] if ends else moved.layer
        slots = [self._node[name] for name in nodes_in(target, self._node)]
        tensors += self._ends(slots, moved)
        for tensor in tensors:
            if tensor in self._edge:
                return Owner(edge=self._edge[tensor])
        inside = next((self._writer[t] for t in tensors if t in self._writer), None)
        return Owner(frozenset(slots[:1] if inside is None else [inside]))

    def _ends(self, slots: list[int], moved: Reformat) -> list[str]:
        """Tensors that fused slots read from, or write to, outside of them; the likeliest first."""
        written = [t for i in slots for t in self._slots[i].outputs]
        read = dict.fromkeys(t for i in slots for t in self._slots[i].inputs)
        if moved.is_output:
            ends = [tensor for tensor in written if tensor not in read] or written
        else:
            ends = [tensor for tensor in read if tensor not in written]
        return ends[moved.index : moved.index + 1] or ends[:1]

    def _upstream(self, ends: set[int], claimed: set[int], read: set[str]) -> frozenset[int]:
        """Slots and all that they need, up to what is read or other layers claim."""
        found, left = set(ends), list(ends)
        while left:
            for tensor in self._slots[left.pop()].inputs:
                slot = None if tensor in read else self._writer.get(tensor)
                if slot is not None and slot not in claimed and slot not in found:
                    found.add(slot)
                    left.append(slot)
        return frozenset(found)


def _plain(name: str) -> tuple[str, ...]:
    """The name of a layer that is one node's, as long as nothing else is known of it."""
    return () if " " in name else (name,)
