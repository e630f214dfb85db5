"""How channels pass operators that multiply matrices: what they read is summed over."""

import numpy as np
import onnx_ir as ir

from .channels import Axes
from .groups import Role
from .trace import Rule, Trace, constant_of

_MATRIX = 2
_BIAS = 2  # the input: X, W, B


def _conv(trace: Trace, node: ir.Node) -> list[Axes] | None:
    weight = constant_of(node, 1)
    if weight is None:
        return None
    batch, read, *spatial = trace.of(node.inputs[0])
    group, transposed = node.attributes.get_int("group", 1), node.op_type == "ConvTranspose"
    shape = weight.shape.numpy()
    reads, writes = (0, 1) if transposed else (1, 0)
    if group == 1:
        written = trace.channels.fresh(shape[writes])
        trace.constant(node, 1, reads, Role.READS, read)
        trace.constant(node, 1, writes, Role.WRITES, written)
    elif not transposed and shape[1] == 1 and read is not None and len(read) == group:
        written = np.repeat(read, shape[0] // group)
        trace.constant(node, 1, 0, Role.WRITES, written)
    else:
        return None
    if not _bias(trace, node, written):
        return None
    trace.pin([batch, *spatial], node, "a convolution runs over it")
    return [[None, written, *(None for _ in spatial)]]


def _bias(trace: Trace, node: ir.Node, written: np.ndarray) -> bool:
    """Note the bias, if there is one; False where it is computed."""
    if len(node.inputs) <= _BIAS or node.inputs[_BIAS] is None:
        return True
    bias = constant_of(node, _BIAS)
    if bias is not None and bias.shape and bias.shape[-1] == len(written):
        trace.constant(node, _BIAS, -1, Role.WRITES, written)
    return bias is not None


def _gemm(trace: Trace, node: ir.Node) -> list[Axes] | None:
    weight = constant_of(node, 1)
    if weight is None or node.attributes.get_int("transA", 0) == 1:
        return None
    rows, read = trace.of(node.inputs[0])
    reads, writes = (1, 0) if node.attributes.get_int("transB", 0) == 1 else (0, 1)
    written = trace.channels.fresh(weight.shape.numpy()[writes])
    trace.constant(node, 1, reads, Role.READS, read)
    trace.constant(node, 1, writes, Role.WRITES, written)
    return [[rows, written]] if _bias(trace, node, written) else None


def _matmul(trace: Trace, node: ir.Node) -> list[Axes] | None:
    weight, left = constant_of(node, 1), constant_of(node, 0)
    if left is not None:
        return None
    if weight is None:
        return _product(trace, node)
    if len(weight.shape) != _MATRIX:
        return None
    *outer, read = trace.of(node.inputs[0])
    written = trace.channels.fresh(weight.shape.numpy()[1])
    trace.constant(node, 1, 0, Role.READS, read)
    trace.constant(node, 1, 1, Role.WRITES, written)
    return [[*outer, written]]


def _product(trace: Trace, node: ir.Node) -> list[Axes] | None:
    """The product of two activations, as in attention."""
    a, b = trace.of(node.inputs[0]), trace.of(node.inputs[1])
    if len(a) != len(b) or len(a) < _MATRIX:
        return None
    outer = [trace.met(x, y, node) for x, y in zip(a[:-2], b[:-2], strict=True)]
    trace.met(a[-1], b[-2], node)
    return [[*outer, a[-2], b[-1]]]


PRODUCTS: dict[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
