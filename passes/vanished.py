"""Puts a constant in the place of a branch that has no channels left."""

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.structure.shape_entries import numbers
from .edit import Editor
from .fold import evaluate
from .match import Array

_BIAS = 2


def replace_branches(editor: Editor, ends: Sequence[ir.Node], gone: Collection[ir.Value]) -> None:
    """Let nodes that read nothing else write their bias, and remove what has no channels.

    Args:
        editor: Writes the graph.
        ends: The nodes, whose weights have no input channels any more.
        gone: The tensors without channels.
    """
    made = [_constant(node, editor) for node in ends]
    for node in list(editor.graph):
        if node.op_type == "Concat" and node.outputs[0] not in gone:
            _without(node, gone, editor)
        if node.op_type == "Split" and any(out in gone for out in node.outputs):
            _split_without(node, gone, editor)
    _drop_unread(editor, gone)
    while made:
        made = _folded(made, editor)


def _constant(node: ir.Node, editor: Editor) -> ir.Value:
    """What a convolution or matrix product of nothing writes, broadcast."""
    out, weight = node.outputs[0], kernels.constant(node.inputs[1])
    bias = kernels.constant(node.inputs[_BIAS]) if len(node.inputs) > _BIAS else None
    size = 1 if out.shape is None else len(out.shape)
    dtype = np.float32 if weight is None else weight.numpy().dtype
    if bias is None:
        array = np.zeros((1,) * size, dtype)
    elif node.op_type == "Gemm":
        scale = node.attributes.get_float("beta", 1.0)
        array = np.asarray(bias.numpy() * np.asarray(scale, dtype))
        array = array.reshape((1,) * (size - array.ndim) + array.shape)
    else:
        array = bias.numpy().reshape(1, -1, *(1,) * (size - 2))
    value = editor.initializer(array.astype(dtype), f"{out.name}.constant")
    out.replace_all_uses_with(value)
    editor.drop(node)
    return value


def _without(node: ir.Node, gone: Collection[ir.Value], editor: Editor) -> None:
    """A Concat of what is left."""
    left = [value for value in node.inputs if value not in gone]
    if len(left) < len(node.inputs):
        attributes = {"axis": node.attributes.get_int("axis", 0)}
        editor.become(node, "Concat", left, attributes)


def _split_without(node: ir.Node, gone: Collection[ir.Value], editor: Editor) -> None:
    """A Split into the parts that are left."""
    live = [out for out in node.outputs if out not in gone]
    sizes = numbers(node, 1, "split")
    if not live or sizes is None:
        return
    left = [size for out, size in zip(node.outputs, sizes, strict=True) if out not in gone]
    if "split" in node.attributes:
        node.attributes["split"] = ir.AttrInt64s("split", left)
    else:
        editor.set_constant(node, 1, np.array(left, np.int64), f"{node.name}.split")
    for place, out in enumerate(live):
        out.replace_all_uses_with(node.outputs[place], replace_graph_outputs=True)
        node.outputs[place].shape = out.shape
    node.resize_outputs(len(live))


def _drop_unread(editor: Editor, gone: Collection[ir.Value]) -> None:
    """Remove the nodes that wrote tensors without channels, from the last to the first."""
    for node in reversed(list(editor.graph)):
        if node.graph is not None and node.outputs[0] in gone:
            editor.prune(node.outputs)


def _folded(constants: Sequence[ir.Value], editor: Editor) -> list[ir.Value]:
    """Compute what reads constants only, and leave out sums with zero; returns new constants."""
    made = []
    for node in {reader: None for value in constants for reader, _ in value.uses()}:
        known = [value is None or kernels.constant(value) is not None for value in node.inputs]
        if all(known):
            arrays = evaluate(node, editor.opset)
            if arrays is not None:
                new = editor.initializer(arrays[0], f"{node.outputs[0].name}.constant")
                node.outputs[0].replace_all_uses_with(new)
                editor.drop(node)
                made.append(new)
        elif node.op_type == "Add" and not _number(node, known.index(True)).any():
            other = node.inputs[known.index(False)]
            if other is not None and editor.can_forward(node.outputs[0], other):
                editor.forward(node.outputs[0], other)
    return made


def _number(node: ir.Node, index: int) -> Array:
    tensor = kernels.constant(node.inputs[index])
    return np.ones(1) if tensor is None else tensor.numpy()
