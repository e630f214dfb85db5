"""Operators that make new channels of the ones they read: convolutions and matrix products."""

import numpy as np
import onnx_ir as ir

from .. import kernels
from .channel_ids import ChannelIds, Ids, dims, lying, rank
from .groups import Role
from .pointwise_rules import combine

_MATRIX = 2
_ONE_AXIS = 13  # the opset since which Softmax computes over one axis, not over all from it on


def conv(node: ir.Node, ids: ChannelIds) -> str:
    """Conv, ConvTranspose: of weights in groups, a group of inputs and its outputs go together."""
    x, weight, *rest = node.inputs
    if x is None or weight is None or kernels.constant(weight) is None:
        return "its weight is not a constant"
    if any(bias is not None and kernels.constant(bias) is None for bias in rest):
        return "its bias is not a constant"
    transposed = node.op_type == "ConvTranspose"
    groups = node.attributes.get_int("group", 1)
    read = ids.along(x, 1)
    if groups == 1:
        ids.unite(ids.constant(weight, int(not transposed), node, Role.READS), read)
        written = ids.constant(weight, int(transposed), node)
    else:
        written = _grouped(node, read, groups, ids)
    for bias in rest:
        if bias is not None:
            ids.unite(ids.constant(bias, 0, node), written)
    ids.hold(node.outputs[0], lying(written, rank(node.outputs[0]), 1))
    return ""


def _grouped(node: ir.Node, read: Ids, groups: int, ids: ChannelIds) -> Ids:
    """The output channels of a convolution in groups: whole groups go."""
    weight = node.inputs[1]
    assert weight is not None  # noqa: S101 - looked at by the caller
    rows, columns = kernels.dims(weight)[:2]
    inputs = rows if node.op_type == "ConvTranspose" else columns * groups
    by_group = np.broadcast_to(read, (inputs,)).reshape(groups, -1)
    ids.unite(by_group, by_group[:, :1])
    ids.unite(ids.constant(weight, 0, node).reshape(groups, -1), by_group[:, :1])
    outputs = columns * groups if node.op_type == "ConvTranspose" else rows
    return np.repeat(by_group[:, 0], outputs // groups)


def gemm(node: ir.Node, ids: ChannelIds) -> str:
    """Gemm with a constant weight."""
    x, weight, *rest = node.inputs
    if x is None or weight is None or kernels.constant(weight) is None:
        return "its weight is not a constant"
    if node.attributes.get_int("transA", 0):
        return "its input is transposed"
    flipped = node.attributes.get_int("transB", 0)
    ids.unite(ids.constant(weight, flipped, node, Role.READS), ids.along(x, 1))
    written = ids.constant(weight, 1 - flipped, node)
    for bias in filter(None, rest):
        if kernels.constant(bias) is None:
            ids.unite(ids.along(bias, rank(bias) - 1), written)
        elif rank(bias) and dims(bias)[-1] == len(written):
            ids.unite(ids.constant(bias, -1, node), written)
    ids.hold(node.outputs[0], lying(written, _MATRIX, 1))
    return ""


def matmul(node: ir.Node, ids: ChannelIds) -> str:
    """MatMul with a constant matrix at its right, or of two activations."""
    x, weight = node.inputs
    if x is None or weight is None or kernels.constant(x) is not None:
        return "its left side is a constant"
    if kernels.constant(weight) is None:
        return _product(node, x, weight, ids)
    if rank(weight) != _MATRIX:
        return "its weight is not a matrix"
    last = rank(x) - 1
    grid = ids.grid(x)
    if grid.shape[last] == 1 and grid.size > 1:  # channels along an axis that only passes
        ids.hold(node.outputs[0], grid)
        return ""
    ids.unite(ids.constant(weight, 0, node, Role.READS), ids.along(x, last))
    written = ids.constant(weight, 1, node)
    ids.hold(node.outputs[0], lying(written, rank(node.outputs[0]), last))
    return ""


def _product(node: ir.Node, a: ir.Value, b: ir.Value, ids: ChannelIds) -> str:
    """MatMul of two activations: channels along the batch (attention heads), or along the sum."""
    if min(rank(a), rank(b)) < _MATRIX:
        return "one of its sides is a vector"
    left, right = ids.grid(a), ids.grid(b)
    if max(left.size // _matrices(left), right.size // _matrices(right)) > 1:
        return _batch(node, (a, left), (b, right), ids)
    summed_a, summed_b = left.shape[-1] > 1, right.shape[-2] > 1
    if summed_a or summed_b:
        ids.unite(ids.along(a, rank(a) - 1), ids.along(b, rank(b) - 2))
    elif left.size > 1 and right.size > 1:
        ids.pin(left, node, "the rows and the columns of a product hold channels")
    size = rank(node.outputs[0])
    if not summed_a and left.size > 1:
        ids.hold(node.outputs[0], lying(left.reshape(-1), size, size - 2))
    elif not summed_b and right.size > 1:
        ids.hold(node.outputs[0], lying(right.reshape(-1), size, size - 1))
    return ""


def _batch(node: ir.Node, a: tuple[ir.Value, Ids], b: tuple[ir.Value, Ids], ids: ChannelIds) -> str:
    """A product for each head: heads go whole."""
    heads, shapes = [], []
    for value, grid in (a, b):
        whole = grid[..., :1, :1]
        ids.unite(grid, whole)
        heads.append(whole)
        shapes.append((*dims(value)[:-2], 1, 1))
    ids.hold(node.outputs[0], combine(ids, heads, shapes, rank(node.outputs[0])))
    return ""


def _matrices(grid: Ids) -> int:
    return int(grid.shape[-1]) * int(grid.shape[-2])


def norm(node: ir.Node, ids: ChannelIds) -> str:
    """BatchNormalization, InstanceNormalization: each channel by itself."""
    x, *constants = node.inputs
    if x is None:
        return "it has no input"
    written = ids.along(x, 1)
    for value in filter(None, constants):
        if kernels.constant(value) is None:
            return "its parameters are not constants"
        ids.unite(ids.constant(value, 0, node), written)
    if len(written) > 1:
        ids.hold(node.outputs[0], lying(written, rank(x), 1))
    return ""


def layer_norm(node: ir.Node, ids: ChannelIds) -> str:
    """LayerNormalization, Softmax, ...: what they compute over stays whole."""
    x = node.inputs[0]
    if x is None:
        return "it has no input"
    softmax = node.op_type in {"Softmax", "LogSoftmax"}
    opset = _ONE_AXIS if node.graph is None else node.graph.opset_imports.get("", _ONE_AXIS)
    old = softmax and opset < _ONE_AXIS
    first = node.attributes.get_int("axis", 1 if old else -1) % rank(x)
    end = first + 1 if softmax and not old else rank(x)
    return over_axes(node, range(first, end), ids)


def over_axes(node: ir.Node, axes: range | list[int], ids: ChannelIds) -> str:
    """Pass channels on; those along the axes that a node computes over stay."""
    x = node.inputs[0]
    if x is None:
        return "it has no input"
    grid = ids.grid(x)
    if any(grid.shape[axis] > 1 for axis in axes):
        ids.pin(grid, node, f"{node.op_type} computes over the axis of the channels")
        return ""
    if rank(node.outputs[0]) == rank(x):
        ids.hold(node.outputs[0], grid)
    else:
        kept = [n for axis, n in enumerate(grid.shape) if axis not in axes]
        ids.hold(node.outputs[0], grid.reshape(kept))
    return ""
