"""Operators that compute each element, or each channel, by itself."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .. import kernels
from .channel_ids import ChannelIds, Dims, Ids, dims, lying, rank


def pointwise(node: ir.Node, ids: ChannelIds) -> str:
    """Any number of operands, broadcast: what meets is one channel."""
    out = node.outputs[0]
    size = rank(out)
    operands = [value for value in node.inputs if value is not None]
    computed = [value for value in operands if kernels.constant(value) is None]
    if not computed:
        return "it reads constants only"
    grid = combine(ids, [ids.grid(value) for value in computed], list(map(dims, computed)), size)
    for value in operands:
        if kernels.constant(value) is not None:
            _factor(node, value, grid, ids)
    ids.hold(out, grid)
    return ""


def combine(ids: ChannelIds, grids: Sequence[Ids], shapes: Sequence[Dims], size: int) -> Ids:
    """Broadcast activations, make one what meets, and return the channels of the result.

    Args:
        ids: Where channels are made one.
        grids: The channels of each.
        shapes: The shape of each, which says what is broadcast and what is whole.
        size: How many axes the result has.
    """
    result = np.zeros((1,) * size, np.intp)
    have: Dims = (1,) * size
    for grid, shape in zip(grids, shapes, strict=True):
        more = size - grid.ndim
        wide, long = grid.reshape((1,) * more + grid.shape), (1,) * more + tuple(shape)
        if result.size == 1 and _is_broadcast(have, wide):
            result = wide
        elif not (wide.size == 1 and _is_broadcast(long, result)):
            ids.unite(result, wide)
            result = np.broadcast_arrays(result, wide)[0]
        have = tuple(b if a == 1 else a for a, b in zip(have, long, strict=True))
    return result


def _is_broadcast(shape: Dims, grid: Ids) -> bool:
    """Whether a tensor is repeated along every axis that holds another one's channels."""
    return all(
        length == 1 for length, channels in zip(shape, grid.shape, strict=True) if channels > 1
    )


def _factor(node: ir.Node, value: ir.Value, grid: Ids, ids: ChannelIds) -> None:
    """Let the axes of a constant that meet channels hold them."""
    more = grid.ndim - rank(value)
    for axis, length in enumerate(dims(value)):
        if length != 1 and grid.shape[more + axis] > 1:
            ids.unite(ids.constant(value, axis, node), ids.rows(grid, more + axis))


def by_channel(node: ir.Node, ids: ChannelIds) -> str:
    """Pooling: axis 1 passes."""
    x = node.inputs[0]
    if x is None:
        return "it has no input"
    if ids.is_held(x):
        written = ids.along(x, 1)
        ids.hold(node.outputs[0], lying(written, rank(x), 1))
    return ""
