"""Puts zeros into weights: two of each four along the reduction, as sparse kernels want them."""

import numpy as np
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.engine import Array
from ..toolchain.naming import derived
from ..toolchain.sparse.nodes import reduction
from ..toolchain.sparse.pattern import OF, two_four
from .forms import constant
from .quantize import Floats

SPARSE = "sparse"  # the form of a weight, in its name


def two_four_weight(node: ir.Node) -> Array | None:
    """A node's weight without the two smallest of each four; None where no sparse kernel is."""
    tensor = kernels.constant(node.inputs[1]) if reduction(node) is not None else None
    return None if tensor is None else with_zeros(node, tensor.numpy())


def with_zeros(node: ir.Node, array: Array, held: Floats | None = None) -> Array | None:
    """The weight of a node with zeros where the pattern wants them.

    Rounding per output channel does not change which they are: the largest weight of a channel,
    which its scale follows, is never among them.

    Args:
        node: Says along which axis.
        array: The weight.
        held: The same in another rounding, in which it is to be returned.

    Returns:
        `held` as it is where no sparse kernel is known for the node.
    """
    axis = reduction(node)
    if axis is None or array.shape[axis] % OF:
        return held
    rounded = array if held is None else held
    return np.where(two_four(array, axis), rounded, np.zeros((), rounded.dtype))


def read(node: ir.Node, array: Array, graph: ir.Graph) -> None:
    """Let a node read a sparse weight.

    It is named after the node: two may share a dense weight, and not the axis of their zeros.
    """
    node.replace_input_with(1, constant(graph, derived(str(node.name), SPARSE), array))
