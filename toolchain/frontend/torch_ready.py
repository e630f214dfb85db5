"""What onnx2fx 0.0.1 reads wrongly, said in another way before it reads it."""

import numpy as np
import onnx_ir as ir

from ..kernels import constant

_RECURRENT = {"GRU", "LSTM", "RNN"}


def make_ready(model: ir.Model) -> None:
    """Change a graph in place; it stays the same function.

    A Gather's index from the end is counted from the start, where the length is known. A recurrent
    node whose first outputs nobody wants has them all the same: they are told apart by position.
    """
    for node in list(model.graph):
        if node.op_type == "Gather":
            _count_from_start(node, model.graph)
        if node.op_type in _RECURRENT:
            _name_outputs(node)


def _count_from_start(node: ir.Node, graph: ir.Graph) -> None:
    """Replace constant indices of which some are negative."""
    data, held = node.inputs[0], constant(node.inputs[1])
    axis = node.attributes.get_int("axis", 0)
    length = data.shape[axis] if data is not None and data.shape is not None else None
    if held is None or not isinstance(length, int):
        return
    indices = held.numpy()
    if (indices >= 0).all():
        return
    counted = np.where(indices < 0, indices + length, indices).astype(indices.dtype)
    name = f"{node.outputs[0].name}.index"
    value = ir.Value(name=name, const_value=ir.tensor(counted, name=name))
    graph.register_initializer(value)
    node.replace_input_with(1, value)


def _name_outputs(node: ir.Node) -> None:
    """Give every output a name."""
    for index, out in enumerate(node.outputs):
        if not out.name:
            out.name = f"{node.name}.output{index}"
