"""Replaces operators that a runtime lacks by the body that the ONNX specification gives."""

import onnx
import onnx_ir as ir
from onnx import inliner

from ..toolchain.dialect import Dialect
from ..toolchain.errors import InputError
from ..toolchain.operators import DEFAULT_DOMAINS
from .lower_opset import has_body, same_meaning


class ExpandFunctions(ir.passes.InPlacePass):
    """Replaces operators that the runtime lacks by the body that the ONNX specification gives."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Expand until nothing that has a body is missing from the runtime."""
        opset = model.opset_imports.get("", self.dialect.opset_max)
        target = min(opset, self.dialect.opset_max)
        count = 0
        while nodes := [n for n in model.graph.all_nodes() if self._expands(n, opset, target)]:
            for node in nodes:
                _expand(node, opset)
            count += len(nodes)
        return ir.passes.PassResult(model, modified=bool(count))

    def _expands(self, node: ir.Node, opset: int, target: int) -> bool:
        if node.domain not in DEFAULT_DOMAINS:
            return False
        if not has_body(node.op_type, opset):
            return False
        table = self.dialect.operators
        listed = table is None or table.supports(node.op_type, target)
        return not listed or not same_meaning(node.op_type, opset, target)


def _expand(node: ir.Node, opset: int) -> None:
    """Replace one node by its function body, taken from the specification for its types."""
    body = _body(node, opset)
    outside = {value.name: value for value in node.inputs if value is not None}
    made = list(body)
    results = list(body.outputs)
    body.outputs.clear()
    body.remove(made)
    for index, part in enumerate(made):
        part.name = f"{node.name}/{part.op_type}_{index}"
        for position, value in enumerate(part.inputs):
            if value is not None and value.is_graph_input():
                part.replace_input_with(position, outside[value.name])
        for out in part.outputs:
            out.name = f"{node.name}/{out.name}" if out not in results else out.name
    assert node.graph is not None  # noqa: S101 - it was found in a graph
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], made, node.outputs, results)


def _body(node: ir.Node, opset: int) -> ir.Graph:
    """The graph of a model that holds only the body of `node`."""
    inputs = {value.name: value for value in node.inputs if value is not None}
    untyped = [name for name, value in inputs.items() if value.type is None]
    if untyped:
        message = f"the type of {untyped[0]}, an input of {node.op_type} '{node.name}', is unknown"
        raise InputError(message, "export the model again with shape inference")
    graph = onnx.helper.make_graph(
        [ir.to_proto(node)],
        "body",
        [ir.to_proto(_free(value)) for value in inputs.values()],
        [ir.to_proto(_free(value)) for value in node.outputs if value.name],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    ids = [("", node.op_type)]
    inlined = inliner.inline_selected_functions(model, ids, inline_schema_functions=True)
    return ir.from_proto(inlined).graph


def _free(value: ir.Value) -> ir.Value:
    """The value's name, type and shape, without graph and constant."""
    return ir.Value(name=value.name, type=value.type, shape=value.shape)
