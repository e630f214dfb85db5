"""Puts into weights what storage leaves of them, before a kernel's own precision is written."""

import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.naming import derived
from ..toolchain.storage.encode import encode, stored
from ..toolchain.storage.formats import Format
from .forms import constant
from .quantize import WEIGHTED, Floats, channel_axis

STORED = "stored"  # the form of a weight, in its name


def has_weight(node: ir.Node) -> bool:
    """Whether a node has a constant weight that can be stored."""
    if node.op_type not in WEIGHTED or kernels.constant(node.inputs[1]) is None:
        return False
    return kernels.is_float(node.inputs[1])


def stored_name(node: ir.Node, form: Format) -> str:
    """The name of a node's weight after it was stored."""
    dense = node.inputs[1]
    return derived(f"{node.name}/{dense.name if dense else ''}/{form}", STORED)


def stored_weight(
    node: ir.Node, form: Format, array: Floats | None = None, *, like: Floats | None = None
) -> Floats:
    """What is left of a node's weight in a storage format.

    Args:
        node: Says along which axis its channels lie.
        form: The format.
        array: The weight, where it is another than the node reads.
        like: A stored weight whose scales and codebooks it takes; None: those that fit best.
    """
    if array is None:
        tensor = kernels.constant(node.inputs[1])
        if tensor is None:
            raise ValueError(f"{node.name}: no constant weight")
        array = tensor.numpy()
    axis = channel_axis(node, array.ndim)
    return stored(array, form, axis, like=None if like is None else encode(like, form, axis))


def read(node: ir.Node, form: Format, array: Floats, graph: ir.Graph) -> None:
    """Let a node read a stored weight, named after the node and the format."""
    node.replace_input_with(1, constant(graph, stored_name(node, form), array))


def twin(node: ir.Node, array: Floats) -> ir.Node:
    """A node of no graph with the same attributes and constants, and another weight."""
    inputs = [None, ir.Value(name="weight", const_value=ir.tensor(array, name="weight"))]
    for value in node.inputs[2:]:
        tensor = kernels.constant(value)
        inputs.append(None if tensor is None else ir.Value(name=tensor.name, const_value=tensor))
    return ir.node(node.op_type, inputs, node.attributes, name=node.name)
