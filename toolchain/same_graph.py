"""Whether two graphs are the same but for the numbers of their constants."""

from collections.abc import Iterator
from itertools import zip_longest

import onnx_ir as ir

_Facts = Iterator[tuple[str, str]]  # what it is, and how it is


def first_difference(before: ir.Model, after: ir.Model) -> str:
    """Where a graph is another than before, in words; empty where only numbers are others.

    Nodes are compared by name, in their order, with operators, attributes, inputs and outputs;
    constants by name, type and shape.
    """
    for old, new in zip_longest(_facts(before.graph), _facts(after.graph)):
        if old == new:
            continue
        if old is None or new is None or old[0] != new[0]:
            return (
                f"{'nothing' if new is None else new[0]} where {old[0] if old else 'nothing'} was"
            )
        return f"{new[0]} is {new[1]}, and was {old[1]}"
    return ""


def _facts(graph: ir.Graph | ir.Function) -> _Facts:
    """All that two such graphs share, constants first: their shapes say most."""
    if isinstance(graph, ir.Graph):
        for name, value in sorted(graph.initializers.items()):
            yield f"constant '{name}'", _tensor(value.const_value)
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        yield from ((f"{kind} '{v.name}'", f"{v.dtype} {v.shape}") for v in values)
    for node in graph:
        yield from _node(node)


def _node(node: ir.Node) -> _Facts:
    what = f"node '{node.name}'"
    read = ", ".join("nothing" if value is None else str(value.name) for value in node.inputs)
    written = ", ".join(str(value.name) for value in node.outputs)
    yield what, f"{node.domain or 'ai.onnx'}.{node.op_type} of {read} to {written}"
    for name, attribute in sorted(node.attributes.items()):
        match attribute.type:
            case ir.AttributeType.GRAPH:
                yield from _facts(attribute.as_graph())
            case ir.AttributeType.GRAPHS:
                for graph in attribute.as_graphs():
                    yield from _facts(graph)
            case ir.AttributeType.TENSOR:
                yield f"{name} of {what}", _tensor(attribute.as_tensor())
            case _:
                yield f"{name} of {what}", " ".join(str(ir.to_proto(attribute)).split())


def _tensor(tensor: ir.TensorProtocol | None) -> str:
    return "no constant" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
