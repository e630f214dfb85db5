"""Rewrites of a deploy graph that TensorRT needs; each leaves the numbers as they are.

All three are faults of TensorRT-RTX 1.7's compiler on legal graphs, found by building them. They
occur only after a plan was written into a graph, so this runs last, before the build.
"""

import numpy as np
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Note, done
from .match import is_op, made_by, operand, tensor
from .rule import RulePass

_INT4 = frozenset({ir.DataType.INT4, ir.DataType.UINT4})


def legalize_trt(dialect: Dialect) -> RulePass:
    """The pass that makes a deploy graph one that TensorRT compiles."""
    rules = {"DequantizeLinear": _widen_scalar, "MatMul": _fence_int4, "Gemm": _fence_int4}
    return RulePass("legalize-trt", rules | dict.fromkeys(kernels.RECURRENT, _fence), dialect)


def _widen_scalar(node: ir.Node, editor: Editor) -> Note | None:
    """Give an int8 constant of rank 0 rank 1: "Quantized constant is only allowed before DQ"."""
    found = tensor(operand(node, 0))
    if found is None or len(found.shape) > 0:
        return None
    editor.set_constant(node, 0, found.numpy().reshape(1), f"{node.outputs[0].name}.scalar")
    node.outputs[0].shape = ir.Shape((1,))
    return done(node, "its constant is a vector of one element now")


def _fence_int4(node: ir.Node, editor: Editor) -> Note | None:
    """Fence a kernel with 4-bit weights: "empty runtime-fusion" for a Cast in its input."""
    weight = made_by(operand(node, 1), "DequantizeLinear")
    stored = operand(weight, 0) if weight is not None else None
    return _fence(node, editor) if stored is not None and stored.dtype in _INT4 else None


def _fence(node: ir.Node, editor: Editor) -> Note | None:
    """Put `+ 0` between a kernel and a Cast that it reads, directly or past ops that move numbers.

    The compiler carries such a Cast into the loop of a recurrent layer and then counts its
    elements wrongly ("Mismatched number of elements in reshape op"). Nothing moves past an Add; it
    changes no number but the sign of a zero.
    """
    value = operand(node, 0)
    if value is None or value.dtype is None or not _reads_cast(value):
        return None
    zero = editor.initializer(np.zeros(1, value.dtype.numpy()), f"{node.name}.zero")
    fence = ir.node("Add", [value, zero], name=f"{node.name}.fence")
    fence.outputs[0].type, fence.outputs[0].shape = value.type, value.shape
    editor.insert_before(node, fence)
    node.replace_input_with(0, fence.outputs[0])
    return done(node, "a Cast before it is fenced with + 0")


def _reads_cast(value: ir.Value) -> bool:
    """Whether a Cast writes the numbers of `value`."""
    node = value.producer()
    while is_op(node, *kernels.MOVES) and node is not None and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return is_op(node, "Cast")
