"""Convert a model to another opset of the default domain."""

import re

import onnx
import onnx.defs
import onnx.helper
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter
import onnx_ir as ir

from ..errors import InputError
from ..operators import DEFAULT_DOMAINS
from .check import check_proto
from .messages import one_line
from .normalise import name_nodes, normalise
from .protos import label, nodes
from .shapes import infer_shapes
from .skeleton import skeleton

_AXIS_OPSET = 13  # where Softmax, LogSoftmax and Hardmax stopped to flatten
_MASK = "hwc.unchanged"  # the converter leaves nodes of other domains as they are


def convert_opset(model: ir.Model, version: int) -> ir.Model:
    """The model in another opset, by the converter of the onnx project.

    An operator that the target does not have is replaced by the function that ONNX defines it as
    (Gelu becomes Erf); one whose schemas differ in element types only is kept as it is. Weights do
    not pass through the converter: they are shared with the given model, which stays unchanged.

    Raises:
        InputError: A node cannot be written in the target; the message names it.
    """
    current = model.opset_imports.get("")
    if current is None or current == version:
        return model
    newest = onnx.defs.onnx_opset_version()
    if not 0 < version <= newest:
        raise InputError(f"there is no opset {version}", f"this onnx knows 1 to {newest}")
    _check_convertible(model, current, version)
    proto = _convert(skeleton(model), current, version)
    converted = ir.from_proto(proto)
    _restore(converted, model)
    check_proto(skeleton(converted), f"the model in opset {version}")
    normalise(converted)
    infer_shapes(converted)
    return converted


def _check_convertible(model: ir.Model, current: int, version: int) -> None:
    """Refuse what the converter changes the meaning of without a word.

    Hardmax works on a flattened tensor before opset 13 and on one axis from then on; onnx 1.23
    treats the two as one (it does convert Softmax and LogSoftmax, which changed in the same way).
    """
    if (current < _AXIS_OPSET) == (version < _AXIS_OPSET):
        return
    for node in model.graph.all_nodes():
        if node.op_type == "Hardmax" and not node.domain:
            raise InputError(
                f"node {node.name!r} (Hardmax) cannot be written in opset {version}",
                f"export the model with opset {version}",
            )


def _convert(proto: onnx.ModelProto, current: int, version: int) -> onnx.ModelProto:
    """Convert; when the converter blames an op, help it around that op and try again."""
    helped: set[str] = set()
    while True:
        try:
            return onnx.version_converter.convert_version(proto, version)
        except (RuntimeError, onnx.shape_inference.InferenceError) as cause:
            node = _blamed(proto, str(cause))
            if node is None or node.op_type in helped:
                raise _refused(node, version, str(cause)) from cause
            helped.add(node.op_type)
            if _differs_in_types_only(node.op_type, current, version):
                _mask(proto, node.op_type)
            elif _is_function(node.op_type, current):
                chosen = [("", node.op_type)]
                proto = onnx.inliner.inline_selected_functions(
                    proto, chosen, inline_schema_functions=True
                )
            else:
                raise _refused(node, version, "ONNX has no rule for it") from cause


def _blamed(proto: onnx.ModelProto, message: str) -> onnx.NodeProto | None:
    """The first node of the op type that a message of the converter mentions."""
    words = set(re.findall(r"\w+", message))
    ops = (node for node in nodes(proto.graph) if node.domain in DEFAULT_DOMAINS)
    return next((node for node in ops if node.op_type in words), None)


def _refused(node: onnx.NodeProto | None, version: int, reason: str) -> InputError:
    where = f"{label(node)} ({node.op_type})" if node is not None else "the model"
    reason = reason.rpartition("failed: ")[2]  # without file, line and assertion of the converter
    return InputError(
        f"{where} cannot be written in opset {version}: {one_line(reason)}",
        f"export the model with opset {version}, or without this operator",
    )


def _differs_in_types_only(op: str, current: int, version: int) -> bool:
    """Whether both opsets have the op with equal inputs, outputs, attributes and defaults."""
    if not onnx.defs.has(op, max_inclusive_version=version):
        return False
    return _signature(op, current) == _signature(op, version)


def _signature(op: str, opset: int) -> tuple[object, ...]:
    schema = onnx.defs.get_schema(op, opset)
    attributes = sorted(
        (name, str(attribute.type), attribute.required, str(attribute.default_value))
        for name, attribute in schema.attributes.items()
    )
    formals = [(formal.name, str(formal.option)) for formal in (*schema.inputs, *schema.outputs)]
    return schema.deprecated, attributes, formals


def _is_function(op: str, opset: int) -> bool:
    versions = onnx.defs.get_schema(op, opset).all_function_opset_versions  # type: ignore[attr-defined]  # missing in the stub
    return bool(versions)


def _mask(proto: onnx.ModelProto, op: str) -> None:
    for node in nodes(proto.graph):
        if node.op_type == op and node.domain in DEFAULT_DOMAINS:
            node.domain = _MASK
    if _MASK not in {entry.domain for entry in proto.opset_import}:
        proto.opset_import.add(domain=_MASK, version=1)


def _restore(converted: ir.Model, model: ir.Model) -> None:
    """Give a converted skeleton its weights back, and what the converter does not carry along."""
    graph = converted.graph
    for value in list(graph.inputs):
        if old := model.graph.initializers.get(str(value.name)):
            value.const_value = old.const_value
            graph.inputs.remove(value)
            graph.register_initializer(value)
    _restore_types(graph, model.graph)
    before = {node.name: node for node in model.graph.all_nodes()}
    for node in graph.all_nodes():
        if node.domain == _MASK:
            node.domain = ""
        if old_node := before.get(node.name):
            node.metadata_props.update(old_node.metadata_props)
            for name, body in _bodies(node).items():
                _restore_types(body, _bodies(old_node)[name])
    graph.opset_imports.pop(_MASK, None)
    imports = [onnx.helper.make_opsetid(*entry) for entry in graph.opset_imports.items()]
    converted.ir_version = onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True)
    converted.metadata_props.update(model.metadata_props)
    name_nodes(converted)


def _bodies(node: ir.Node) -> dict[str, ir.Graph]:
    attributes = node.attributes.items()
    return {key: value.as_graph() for key, value in attributes if _is_body(value)}


def _is_body(attribute: ir.Attr) -> bool:
    return attribute.type is ir.AttributeType.GRAPH


def _restore_types(graph: ir.Graph, old: ir.Graph) -> None:
    """The converter forgets the shape of scalars and every type that is not a tensor."""
    for new_values, old_values in ((graph.inputs, old.inputs), (graph.outputs, old.outputs)):
        for value, before in zip(new_values, old_values, strict=True):
            value.type, value.shape = before.type, before.shape
