"""Check an ONNX model before it becomes a graph: values, order, operators, tensors."""

from collections.abc import Iterable

import onnx
import onnx.checker
import onnx.defs

from ..errors import InputError
from ..operators import DEFAULT_DOMAINS
from .messages import nearest, one_line
from .protos import all_tensors, is_external, label, nodes, subgraphs
from .tensors import check_payload

_HINT = "export the model again"


def check_proto(proto: onnx.ModelProto, source: str) -> None:
    """Check what the rest of the compiler relies on; the work is linear in the nodes.

    Operators of custom domains are taken as they are.

    Args:
        proto: The model; external tensors are not opened (see `check_external`).
        source: What messages call it.

    Raises:
        InputError: The first fault that was found, with the node or tensor it lies in.
    """
    if not proto.graph.output:
        raise InputError(f"{source} has no outputs", _HINT)
    functions = {(function.domain, function.name) for function in proto.functions}
    scopes = [(proto.graph, proto.opset_import, source)]
    for function in proto.functions:
        imports = function.opset_import or proto.opset_import
        scopes.append((_as_graph(function), imports, f"function {function.name} of {source}"))
    for graph, imports, name in scopes:
        _check_dense(graph, name)
        _check_values(graph, name)
        _check_ops(nodes(graph), imports, functions, name)
    for tensor in all_tensors(proto):
        if not is_external(tensor):
            check_payload(tensor)


def _as_graph(function: onnx.FunctionProto) -> onnx.GraphProto:
    """A function's body in the form that graphs are checked in."""
    return onnx.GraphProto(
        node=function.node,
        input=[onnx.ValueInfoProto(name=name) for name in function.input],
        output=[onnx.ValueInfoProto(name=name) for name in function.output],
    )


def _check_dense(graph: onnx.GraphProto, source: str) -> None:
    bodies = (body for node in nodes(graph) for body in subgraphs(node))
    if any(part.sparse_initializer for part in (graph, *bodies)):
        raise InputError(f"{source} has sparse initialisers", "export it with dense weights")


def _check_values(graph: onnx.GraphProto, source: str) -> None:
    """Every value defined once, every value that is read defined, no cycle."""
    missing = _captured(graph, source)
    if missing:
        name, reader = next(iter(missing.items()))
        where = f"{reader} of {source}" if reader else source
        raise InputError(f"{where} reads {name!r}, which nothing produces", _HINT)


def _captured(graph: onnx.GraphProto, source: str) -> dict[str, str]:
    """Check one graph; return what it reads but does not define, and who reads it."""
    producers = _producers(graph, source)
    captured: dict[str, str] = {}
    sources: list[set[int]] = []  # of each node: the nodes of this graph that it reads from
    for node in graph.node:
        reads = {name: label(node) for name in node.input if name}
        for body in subgraphs(node):
            reads |= _captured(body, source)
        captured |= {name: who for name, who in reads.items() if name not in producers}
        sources.append({producers[name] for name in reads if producers.get(name, -1) >= 0})
    if any(max(before, default=-1) >= index for index, before in enumerate(sources)):
        _check_acyclic(graph, sources, source)
    captured |= {out.name: "" for out in graph.output if out.name not in producers}
    return captured


def _producers(graph: onnx.GraphProto, source: str) -> dict[str, int]:
    """Index of the node that defines each value of one graph; -1 for inputs and initialisers."""
    producers: dict[str, int] = {}
    for group in (graph.input, graph.initializer):
        names = [entry.name for entry in group]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{source} declares {twice!r} twice", _HINT)
        producers |= dict.fromkeys(names, -1)
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in producers:
                raise InputError(f"{label(node)} of {source} defines {name!r} again", _HINT)
            producers[name] = index
    return producers


def _check_acyclic(graph: onnx.GraphProto, sources: list[set[int]], source: str) -> None:
    """Check that the nodes can be put in order; `sources` are the nodes that each one reads."""
    readers: list[list[int]] = [[] for _ in sources]
    for index, before in enumerate(sources):
        for producer in before:
            readers[producer].append(index)
    waiting = [len(before) for before in sources]
    ready = [index for index, count in enumerate(waiting) if not count]
    while ready:
        for reader in readers[ready.pop()]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if any(waiting):
        cycle = _a_cycle(sources, waiting)
        path = " <- ".join(label(graph.node[index]) for index in cycle[:4])
        more = " <- …" if len(cycle) > 4 else ""  # noqa: PLR2004 - enough to find it
        raise InputError(f"{source} has a cycle: {path}{more}", _HINT)


def _a_cycle(sources: list[set[int]], waiting: list[int]) -> list[int]:
    """One cycle: among nodes that were never ready, each has a source that was not either."""
    index = next(index for index, count in enumerate(waiting) if count)
    seen: dict[int, int] = {}
    while index not in seen:
        seen[index] = len(seen)
        index = min(before for before in sources[index] if waiting[before])
    return [*list(seen)[seen[index] :], index]


def _check_ops(
    scope: Iterable[onnx.NodeProto],
    imports: Iterable[onnx.OperatorSetIdProto],
    functions: set[tuple[str, str]],
    source: str,
) -> None:
    """Check the nodes of the default domain in one scope against their schemas."""
    opsets = {entry.domain: entry.version for entry in imports}
    opset = opsets.get("", opsets.get("ai.onnx"))
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and not 0 < opset <= newest:
        hint = f"export it with opset {newest} or lower"
        raise InputError(f"{source} has opset {opset}, this onnx knows 1 to {newest}", hint)
    context = onnx.checker.C.CheckerContext()
    context.ir_version = onnx.IR_VERSION
    context.opset_imports = opsets
    for node in scope:
        for attribute in node.attribute:
            if not attribute.type and not attribute.ref_attr_name:
                where = f"attribute {attribute.name!r} of {label(node)} of {source}"
                raise InputError(f"{where} has no type", _HINT)
        if node.domain not in DEFAULT_DOMAINS or (node.domain, node.op_type) in functions:
            continue
        if opset is None:
            raise InputError(f"{source} does not declare its opset", _HINT)
        _check_node(node, context, opset, source)


def _check_node(
    node: onnx.NodeProto, context: onnx.checker.C.CheckerContext, opset: int, source: str
) -> None:
    if not onnx.defs.has(node.op_type, max_inclusive_version=opset):
        known = {schema.name for schema in onnx.defs.get_all_schemas()}
        hint = nearest(node.op_type, known) or "give a custom operator a domain of its own"
        raise InputError(
            f"unknown op {one_line(node.op_type)} (opset {opset}) at {label(node)} of {source}",
            hint,
        )
    has_body = any(True for _ in subgraphs(node))  # the checker would miss the outer values
    if has_body or onnx.defs.get_schema(node.op_type, opset).deprecated:
        return
    try:
        onnx.checker.check_node(node, context)
    except onnx.checker.ValidationError as cause:
        reason = one_line(str(cause).partition("==>")[0])
        raise InputError(f"{label(node)} ({node.op_type}) of {source}: {reason}", _HINT) from cause
