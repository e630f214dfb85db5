"""Bring a checked model into the one form that passes and backends expect."""

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, RemoveUnusedFunctionsPass

from ..errors import InputError
from ..operators import DEFAULT_DOMAINS
from .messages import one_line

PLUGIN_DOMAIN = "trt.plugins"  # where ONNX Runtime, too, keeps TensorRT plugins
_UNKNOWN_DIMS = frozenset({"?", "", "*"})  # what exporters write for "no idea"; not one symbol


def adopt_plugins(proto: onnx.ModelProto) -> None:
    """Move TensorRT plugins (`EfficientNMS_TRT` and so on) out of the default domain.

    By custom they are written there, where ONNX forbids operators that it does not know;
    TensorRT finds a plugin by its op type in any domain.
    """
    plugins = [
        node
        for node in proto.graph.node
        if node.domain in DEFAULT_DOMAINS and node.op_type.endswith("_TRT")
    ]
    for node in plugins:
        node.domain = PLUGIN_DOMAIN
    if plugins and PLUGIN_DOMAIN not in {entry.domain for entry in proto.opset_import}:
        proto.opset_import.add(domain=PLUGIN_DOMAIN, version=1)


def normalise(model: ir.Model) -> None:
    """Change a model in place: one form for functions, constants, inputs, order and names.

    Model-local functions are inlined; tensors of `Constant` nodes become initialisers; initialisers
    are no inputs; nodes are in topological order and each has a name of its own.

    Raises:
        InputError: A function calls itself, or is written in another opset.
    """
    if model.functions:
        _inline_functions(model)
    if "ai.onnx" in model.opset_imports:
        model.opset_imports[""] = model.opset_imports.pop("ai.onnx")
    _drop_initialiser_inputs(model)
    _lift_constants(model.graph)
    _forget_unknown_dims(model.graph)
    model.graph.sort()
    name_nodes(model)


def _inline_functions(model: ir.Model) -> None:
    try:
        InlinePass()(model)
    except (ir.passes.PreconditionError, ValueError) as cause:  # a recursion; another opset
        hint = "export the model without functions"
        raise InputError(f"functions cannot be inlined: {one_line(cause)}", hint) from cause
    RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]  # onnx_ir's


def name_nodes(model: ir.Model) -> None:
    """Give every node a name that no other node has, the same one each time.

    The first node of a name keeps it, further ones get `_1`, `_2` and so on; a node without a name
    is called after the value that it writes.
    """
    every = list(model.graph.all_nodes())
    used = {node.name for node in every}
    kept: set[str] = set()
    for node in every:
        if node.name and node.name not in kept:
            kept.add(node.name)
            continue
        wanted = node.name or next((out.name for out in node.outputs if out.name), node.op_type)
        node.name = _free_name(wanted, used)
        used.add(node.name)
        kept.add(node.name)


def _free_name(wanted: str, used: set[str | None]) -> str:
    name, count = wanted, 0
    while name in used:
        count += 1
        name = f"{wanted}_{count}"
    return name


def _drop_initialiser_inputs(model: ir.Model) -> None:
    """Before IR version 4 every initialiser had to be listed as an input, too."""
    graph = model.graph
    model.ir_version = max(model.ir_version, 4)
    kept = [value for value in graph.inputs if value.name not in graph.initializers]
    if len(kept) < len(graph.inputs):
        graph.inputs.clear()
        graph.inputs.extend(kept)


def _lift_constants(graph: ir.Graph) -> None:
    """Turn the tensors of `Constant` nodes of the main graph into initialisers."""
    for node in list(graph):
        if node.op_type != "Constant" or node.domain or "value" not in node.attributes:
            continue
        output = node.outputs[0]
        if output.is_graph_output() or not output.name:
            continue
        tensor = node.attributes["value"].as_tensor()
        tensor.name = output.name
        weight = ir.Value(
            name=output.name,
            shape=ir.Shape(tensor.shape.numpy()),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        output.replace_all_uses_with(weight)
        graph.remove(node, safe=True)
        graph.register_initializer(weight)


def _forget_unknown_dims(graph: ir.Graph) -> None:
    """Two dimensions that are both called `?` are not equal: take the name away."""
    for value in (*graph.inputs, *graph.outputs):
        if value.shape is not None and not value.shape.is_static():
            dims = [size if isinstance(size, int) else size.value for size in value.shape]
            value.shape = ir.Shape([None if size in _UNKNOWN_DIMS else size for size in dims])
