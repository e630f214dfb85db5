"""Constant folding: what can be computed now is computed now, unless the model would grow by it."""

import math
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Note, Noted, Outcome, done, kept
from .match import OPAQUE, Array, static, tensor

GROWTH: Final = 1 << 20
"""How many bytes one folded node may add to the model."""

# Their output's shape depends on the data, but it never has more elements a row than the input.
_SHRINKING = frozenset({"NonZero", "Compress", "Unique"})
# What an op of the reference implementation raises when it refuses its inputs.
_REFUSALS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


class FoldConstants(ir.passes.InPlacePass):
    """Turns Constant nodes, and nodes that read only constants, into initialisers."""

    name = "fold-constants"

    def __init__(self, dialect: Dialect) -> None:
        self._opset_max = dialect.opset_max

    def call(self, model: ir.Model) -> Noted:
        """Fold in topological order, so that a chain folds in one walk."""
        editor = Editor(model, self._opset_max)
        notes: list[Note] = []
        lifted = 0
        for node in model.graph:
            if node.domain != "" or any(output.is_graph_output() for output in node.outputs):
                continue
            if node.op_type == "Constant":
                lifted += _lift(node, editor)
            elif _reads_constants(node):
                notes.append(_fold(node, editor))
        if lifted:
            notes.append(Note("", f"{lifted} Constant nodes made initialisers", Outcome.DONE))
        return Noted.of(model, notes)


def _reads_constants(node: ir.Node) -> bool:
    """Whether all that a node reads is known, and it may be computed now."""
    if node.op_type in OPAQUE or not node.inputs:
        return False
    if any(value is not None and tensor(value) is None for value in node.inputs):
        return False
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return all(attribute.type not in graphs for attribute in node.attributes.values())


def _fold(node: ir.Node, editor: Editor) -> Note:
    why = _too_large(node, editor.opset)
    if why:
        return kept(node, why)
    arrays = evaluate(node, editor.opset)
    if arrays is None:
        return kept(node, f"the reference implementation does not compute this {node.op_type}")
    _replace(node, [ir.tensor(array) for array in arrays], editor)
    return done(node, f"{node.op_type} of constants computed")


def _lift(node: ir.Node, editor: Editor) -> bool:
    if "sparse_value" in node.attributes:
        return False
    found = ir.convenience.get_const_tensor(node.outputs[0])
    if found is None:
        return False
    _replace(node, [found], editor)
    return True


def _replace(node: ir.Node, tensors: list[ir.TensorProtocol], editor: Editor) -> None:
    for output, found in zip(node.outputs, tensors, strict=False):
        name, output.name = output.name or "constant", None
        if output.uses():
            output.replace_all_uses_with(editor.lift(found, name))
    editor.drop(node)


def _too_large(node: ir.Node, opset: int) -> str:
    """Why the outputs must not be computed: unknown in size, or too large; empty where they may."""
    freed = sum(
        found.nbytes
        for value in set(node.inputs)
        if value is not None and len(value.uses()) == 1 and (found := tensor(value)) is not None
    )
    if node.op_type in _SHRINKING:
        return ""
    size = _output_bytes(node, opset)
    if size is None:
        return "the size of its result is not known before it is computed"
    if size - freed > GROWTH:
        return f"its result would add {(size - freed) / 2**20:.1f} MiB to the model"
    return ""


def _output_bytes(node: ir.Node, opset: int) -> int | None:
    total = 0
    for output, proto in zip(node.outputs, _output_types(node, opset), strict=True):
        if proto is None or not proto.HasField("tensor_type"):
            return None
        dims = proto.tensor_type.shape.dim
        known = proto.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims)
        if not known:
            return None
        dtype = ir.DataType(proto.tensor_type.elem_type)
        output.dtype = dtype
        total += math.ceil(math.prod(d.dim_value for d in dims) * dtype.itemsize)
    return total


def _output_types(node: ir.Node, opset: int) -> list[onnx.TypeProto | None]:
    """The types that ONNX infers for one node, given the values of its small inputs."""
    small = 1024
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for value in node.inputs:
        found = tensor(value)
        if value is None or found is None or value.name is None:
            continue
        types[value.name] = onnx.helper.make_tensor_type_proto(int(found.dtype), static(found))
        if found.size <= small:
            data[value.name] = ir.serde.serialize_tensor(found)
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, opset, ""),
            ir.serde.serialize_node(node),
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid("", opset)],
        )
    except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        inferred = {}
    return [inferred.get(output.name or "") for output in node.outputs]


def evaluate(node: ir.Node, opset: int) -> list[Array] | None:
    """The node's outputs by ONNX's own reference implementation; None where it has none."""
    from onnx.reference.ops import load_op  # noqa: PLC0415 - slow to import, needed here only

    inputs = [None if value is None else _array(value) for value in node.inputs]
    attributes = {name: _plain(attribute) for name, attribute in node.attributes.items()}
    try:
        with np.errstate(all="ignore"):
            result = load_op("", node.op_type, opset).eval(*inputs, **attributes)
    except _REFUSALS:
        return None
    outputs = list(result) if isinstance(result, tuple) else [result]
    if len(outputs) < len(node.outputs):
        return None
    wanted = [output.dtype for output in node.outputs]
    outputs = outputs[: len(wanted)]
    fits = all(
        isinstance(array, np.ndarray | np.generic)
        and (dtype is None or np.asarray(array).dtype == dtype.numpy())
        for array, dtype in zip(outputs, wanted, strict=True)
    )
    return [np.asarray(array) for array in outputs] if fits else None


def _array(value: ir.Value) -> Array | None:
    found = tensor(value)
    return None if found is None else found.numpy()


def _plain(attribute: ir.Attr) -> object:
    if attribute.type is ir.AttributeType.TENSOR:
        return ir.serde.serialize_tensor(attribute.as_tensor())
    return attribute.value
