"""Gives a block's input the layout that it has in the whole graph, so that the numbers stay equal.

ONNX Runtime runs float convolutions in a blocked layout (NCHWc), and adds a residual to one inside
of its kernel where the residual has that layout, too. A block's input has the plain layout: the sum
is then made by another kernel, which rounds differently in the last bit, and what is quantised
afterwards differs by whole steps (1e-2 of the largest output, measured). A convolution with the
identity in front brings the input into the layout again and changes no number.
"""

import numpy as np
import onnx_ir as ir

from .. import kernels

# What is computed in the layout of its inputs.
_KEEP_LAYOUT = frozenset(
    {
        *("Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "Concat"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization"),
    }
)
_BLOCK = 16  # channels of the widest layout; a depthwise kernel needs a multiple
_RANK = 4
_NAME = "hwc_anchor"


def needs_anchor(value: ir.Value) -> bool:
    """Whether a value from convolutions needs an anchor where a graph is cut at it.

    It does where others than convolutions read it, too.
    """
    readers = [use.node.op_type for use in value.uses()]
    plain = value.dtype is not ir.DataType.FLOAT or value.shape is None
    if plain or len(kernels.dims(value)) != _RANK or kernels.dims(value)[1] == 1:
        return False
    return any(op != "Conv" for op in readers) and len(readers) > 1


def anchor(graph: ir.Graph, value: ir.Value) -> None:
    """Put a convolution with the identity between an input of a graph and all of its readers."""
    channels = kernels.dims(value)[1]
    if channels % _BLOCK:
        weight, groups = np.eye(channels, dtype=np.float32)[:, :, None, None], 1
    else:
        weight, groups = np.ones((channels, 1, 1, 1), np.float32), channels
    tensor = ir.tensor(weight, name=_NAME)
    constant = ir.Value(
        name=_NAME,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(weight.shape),
        const_value=tensor,
    )
    graph.register_initializer(constant)
    same = ir.Value(name=f"{value.name}/{_NAME}", type=value.type, shape=value.shape)
    uses = list(value.uses())
    node = ir.node("Conv", [value, constant], {"group": groups}, outputs=[same], name=_NAME)
    for use in uses:
        use.node.replace_input_with(use.idx, same)
    graph.insert_before(graph[0], node)


def from_convolutions(value: ir.Value, before: ir.Value | None, *, known: bool) -> bool:
    """Whether floats came to a value from convolutions, and from what keeps their layout, alone.

    Args:
        value: The value.
        before: Where the search ends; all that `value` is made of passes there.
        known: What is known of it.
    """
    waiting, seen = [value], {value}
    while waiting:
        source = waiting.pop()
        node = source.producer()
        if source is before and known:
            continue
        if source is before or node is None:
            return False
        if node.op_type == "Conv":
            continue
        if node.op_type not in _KEEP_LAYOUT:
            return False
        new = {v for v in node.inputs if v is not None and kernels.is_activation(v)} - seen
        seen |= new
        waiting += new
    return True
