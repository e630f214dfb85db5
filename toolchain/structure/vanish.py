"""What is left of a branch when all its channels are gone: a constant, or nothing that works."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import onnx_ir as ir

from .. import kernels
from .channel_ids import dims, rank
from .groups import ChannelGroup
from .rules import BROADCAST, UNARY

LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, eq=False)
class Remains:
    """What is left of tensors that have no channels any more.

    Attributes:
        ends: Nodes that read nothing else, and so write their bias everywhere.
        blocked: The node that cannot do without, and why; None where all can.
    """

    ends: tuple[ir.Node, ...]
    blocked: tuple[ir.Node, str] | None = None


def remains(graph: ir.Graph, gone: Collection[ir.Value]) -> Remains:
    """Follow tensors without channels until they add a constant to something that is left.

    A convolution of nothing is its bias everywhere, at the borders, too; that constant may pass
    through what computes each element by itself, and end where it is broadcast to a tensor of the
    full shape.
    """
    constants: set[ir.Value] = set()
    ends: list[ir.Node] = []
    for node in graph:
        read = [value for value in node.inputs if value is not None]
        if node.outputs[0] in gone:
            continue
        if any(value in gone for value in read) and node.op_type != "Concat":
            if node.op_type not in LINEAR or any(value in gone for value in node.inputs[1:]):
                return Remains((), (node, f"{node.op_type} cannot do without them"))
            ends.append(node)
            constants.add(node.outputs[0])
        elif any(value in constants for value in read):
            live = [v for v in read if v not in constants and kernels.constant(v) is None]
            full = any(map(_is_full, live, [node.outputs[0]] * len(live)))
            if node.op_type not in UNARY | BROADCAST or (live and not full):
                return Remains((), (node, f"{node.op_type} needs more than a constant"))
            if not live:
                constants.add(node.outputs[0])
    for value in graph.outputs:
        if value in constants or value in gone:
            node = value.producer() or graph[0]
            return Remains((), (node, f"the output {value.name} would be a constant"))
    return Remains(tuple(ends))


def _is_full(value: ir.Value, out: ir.Value) -> bool:
    """Whether nothing of a result is repeated from a tensor; free axes of both are the same."""
    pairs = zip(dims(value), dims(out), strict=False)
    same = all(a == b or not (isinstance(a, int) or isinstance(b, int)) for a, b in pairs)
    return same and rank(value) == rank(out)


def vanishes(graph: ir.Graph, group: ChannelGroup) -> ChannelGroup:
    """The group, with whether all its units may go."""
    whole = {name: axis for name, axis, indices in group.tensors}
    sizes = {name: indices.size for name, _, indices in group.tensors}
    gone = {
        value
        for node in graph
        for value in node.outputs
        if value.name in whole
        and rank(value)
        and dims(value)[whole[value.name]] == sizes[value.name]
    }
    if not gone:
        return group
    return replace(group, vanishes=remains(graph, gone).blocked is None)
