"""What is left of a branch when all its channels are gone: a constant, or nothing that works."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
    if not gone:
        return Remains(())
    gone = frozenset(gone)
    constants: set[ir.Value] = set()
    ends: list[ir.Node] = []
    for node in graph:
        read = {value for value in node.inputs if value is not None}
        if node.outputs[0] in gone:
            continue
        if read & gone and node.op_type != "Concat":
            if node.op_type not in LINEAR or gone & set(node.inputs[1:]):
                return Remains((), (node, f"{node.op_type} cannot do without them"))
            ends.append(node)
            constants.add(node.outputs[0])
        elif read & constants:
            live = [v for v in read - constants if kernels.constant(v) is None]
            if not _broadcasts(node, live):
                return Remains((), (node, f"{node.op_type} needs more than a constant"))
            constants.update(() if live else node.outputs)
    for value in graph.outputs:
        if value in constants or value in gone:
            node = value.producer() or graph[0]
            return Remains((), (node, f"the output {value.name} would be a constant"))
    return Remains(tuple(ends))


def _broadcasts(node: ir.Node, live: Sequence[ir.Value]) -> bool:
    """Whether a node that reads constants computes each element, and what it writes is as large."""
    full = any(_is_full(value, node.outputs[0]) for value in live)
    return node.op_type in UNARY | BROADCAST and (full or not live)


def _is_full(value: ir.Value, out: ir.Value) -> bool:
    """Whether nothing of a result is repeated from a tensor; free axes of both are the same."""
    pairs = zip(dims(value), dims(out), strict=False)
    same = all(a == b or not (isinstance(a, int) or isinstance(b, int)) for a, b in pairs)
    return same and rank(value) == rank(out)


def without_channels(
    graph: ir.Graph, removed: Mapping[tuple[str, int], int]
) -> tuple[ir.Value, ...]:
    """The activations that have none left.

    Args:
        graph: As it was before.
        removed: How many go, by name of the tensor and axis.
    """
    axes: dict[str, list[int]] = {}
    for name, axis in removed:
        axes.setdefault(name, []).append(axis)
    return tuple(
        value
        for node in graph
        for value in node.outputs
        for axis in axes.get(str(value.name), ())
        if dims(value)[axis] == removed[str(value.name), axis]
    )


def with_vanishing(graph: ir.Graph, groups: Sequence[ChannelGroup]) -> tuple[ChannelGroup, ...]:
    """The groups, each with whether all its units may go, alone and with all before that may.

    Of two branches that only one can do without, the first may go: what is said of each group then
    holds for all of them at once.
    """
    chosen: list[ChannelGroup] = []
    marked = []
    for group in groups:
        may = _can_go(graph, [group]) and _can_go(graph, [*chosen, group])
        marked.append(replace(group, vanishes=may))
        chosen += [group] if may else []
    return tuple(marked)


def _can_go(graph: ir.Graph, groups: Sequence[ChannelGroup]) -> bool:
    removed: Counter[tuple[str, int]] = Counter()
    for group in groups:
        for name, axis, indices in group.tensors:
            removed[name, axis] += indices.size
    return remains(graph, without_channels(graph, removed)).blocked is None
