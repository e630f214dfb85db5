"""Which nodes a sparse kernel can run, and along which axis of their weight 2:4 lies."""

import onnx_ir as ir

from .. import kernels
from ..operators import DEFAULT_DOMAINS

_MATRIX = 2


def reduction(node: ir.Node) -> int | None:
    """The axis of a node's constant weight along which its kernel adds up.

    Input channels of an ungrouped Conv, for each kernel position by itself, and K of a Gemm or
    MatMul (TensorRT developer guide, "Structured sparsity").

    Returns:
        None where no sparse kernel is known for the node.
    """
    weight = kernels.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None or not kernels.is_float(node.inputs[1]):
        return None
    if node.domain not in DEFAULT_DOMAINS or not kernels.is_activation(node.inputs[0]):
        return None
    match node.op_type:
        case "Conv" if node.attributes.get_int("group", 1) == 1:
            return 1
        case "Gemm":
            return 1 if node.attributes.get_int("transB", 0) else 0
        case "MatMul" if len(weight.shape) == _MATRIX:
            return 0
    return None


def has_sparse_kernel(node: ir.Node, multiple: int) -> bool:
    """Whether a node's input and output channels are both multiples of what the kernels take."""
    if reduction(node) is None or (weight := node.inputs[1]) is None:
        return False
    return all(size and size % multiple == 0 for size in kernels.dims(weight)[:_MATRIX])
