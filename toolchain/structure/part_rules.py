"""Operators that put tensors together, and take parts of them."""

import numpy as np
import onnx_ir as ir

from .. import kernels
from .channel_ids import ChannelIds, Ids, dims, rank
from .pointwise_rules import combine
from .shape_entries import numbers


def concat(node: ir.Node, ids: ChannelIds) -> str:
    """Concat: one after the other along its axis, one channel along the others."""
    axis = node.attributes.get_int("axis", 0) % rank(node.outputs[0])
    grids = []
    for value in filter(None, node.inputs):
        grid = ids.grid(value)
        if kernels.constant(value) is not None and isinstance(length := dims(value)[axis], int):
            grid = _constant(node, value, axis, ids) if length > 1 else grid
        grids.append(grid)
    shapes = [dims(value) for value in filter(None, node.inputs)]
    if all(grid.shape[axis] == 1 for grid in grids):
        ids.hold(node.outputs[0], combine(ids, grids, shapes, grids[0].ndim))
        return ""
    parts = []
    others = np.broadcast_shapes(*(_cut(grid.shape, axis, 1) for grid in grids))
    for grid, lengths in zip(grids, shapes, strict=True):
        length = lengths[axis]
        if not isinstance(length, int):
            return "how many channels it puts together is not known"
        parts.append(np.broadcast_to(grid, _cut(others, axis, length)))
    ids.hold(node.outputs[0], np.concatenate(parts, axis))
    return ""


def _constant(node: ir.Node, value: ir.Value, axis: int, ids: ChannelIds) -> Ids:
    """The channels of a constant part, such as the zeros of a shortcut."""
    written = ids.constant(value, axis, node)
    return written.reshape(_cut((1,) * rank(value), axis, len(written)))


def _cut(lengths: tuple[int, ...], axis: int, length: int) -> tuple[int, ...]:
    return (*lengths[:axis], length, *lengths[axis + 1 :])


def split(node: ir.Node, ids: ChannelIds) -> str:
    """Split: channels along its axis are dealt out."""
    x = node.inputs[0]
    if x is None:
        return "it has no input"
    grid = ids.grid(x)
    axis = node.attributes.get_int("axis", 0) % rank(x)
    if grid.shape[axis] == 1:
        for out in node.outputs:
            ids.hold(out, grid)
        return ""
    sizes = [dims(out)[axis] for out in node.outputs]
    ends = np.cumsum([size for size in sizes if isinstance(size, int)])
    if len(ends) != len(sizes) or ends[-1] != grid.shape[axis]:
        return "where it cuts is not known"
    for out, part in zip(node.outputs, np.split(grid, ends[:-1], axis), strict=True):
        ids.hold(out, part)
    return ""


def slices(node: ir.Node, ids: ChannelIds) -> str:
    """Slice with constant bounds."""
    x = node.inputs[0]
    bounds = slice_bounds(node)
    if x is None or bounds is None:
        return "its bounds are computed"
    grid = ids.grid(x)
    for axis, cut in bounds.items():
        if grid.shape[axis] == 1:
            continue
        grid = np.moveaxis(np.moveaxis(grid, axis, 0)[cut], 0, axis)
        if cut.step != 1:
            why = "it takes every second channel, or turns them round"
            ids.demand(x, node, why, lambda at, axis=axis: at != axis)  # type: ignore[misc]  # bound now
    ids.hold(node.outputs[0], grid)
    return ""


def slice_bounds(node: ir.Node) -> dict[int, slice] | None:
    """What a Slice with constant bounds takes along each axis that it names."""
    x = node.inputs[0]
    starts, ends = numbers(node, 1, "starts"), numbers(node, 2, "ends")
    if x is None or starts is None or ends is None:
        return None
    given = len(node.inputs)
    has_axes = "axes" in node.attributes or (given > 3 and node.inputs[3] is not None)  # noqa: PLR2004 - ONNX: axes
    has_steps = given > 4 and node.inputs[4] is not None  # noqa: PLR2004 - ONNX: steps
    axes = numbers(node, 3, "axes") if has_axes else list(range(len(starts)))
    steps = numbers(node, 4) if has_steps else [1] * len(starts)
    if axes is None or steps is None:
        return None
    return {
        axis % rank(x): slice(*_bound(start, end, step))
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }


def _bound(start: int, end: int, step: int) -> tuple[int, int | None, int]:
    """Bounds as Python has them: ONNX writes the far end as the smallest number."""
    return start, None if step < 0 and end < -(2**31) else end, step


def gather(node: ir.Node, ids: ChannelIds) -> str:
    """Gather: of a table (embeddings), or at constant places."""
    data, places = node.inputs
    if data is None or places is None:
        return "it has no input"
    axis = node.attributes.get_int("axis", 0) % rank(data)
    if kernels.constant(data) is not None:
        return _lookup(node, data, places, ids) if axis == 0 else "it reads columns of a table"
    grid = ids.grid(data)
    tensor = kernels.constant(places)
    if grid.shape[axis] == 1:
        shape = (*grid.shape[:axis], *(1,) * rank(places), *grid.shape[axis + 1 :])
        ids.hold(node.outputs[0], grid.reshape(shape))
        return ""
    if tensor is None or len(tensor.shape) > 1:
        return "which channels it takes is computed"
    ids.hold(node.outputs[0], np.take(grid, tensor.numpy() % grid.shape[axis], axis))
    if not tensor.shape:
        ids.demand(data, node, "it takes one channel by itself", lambda at: at != axis)
    return ""


def _lookup(node: ir.Node, table: ir.Value, places: ir.Value, ids: ChannelIds) -> str:
    size = rank(table)
    if size < 2 or not kernels.is_float(table):  # noqa: PLR2004 - rows of numbers
        return ""
    written = ids.constant(table, size - 1, node)
    shape = (1,) * (rank(places) + size - 2)
    ids.hold(node.outputs[0], written.reshape((*shape, len(written))))
    return ""


def pad(node: ir.Node, ids: ChannelIds) -> str:
    """Pad: zero channels that it adds are channels like the others (shortcuts of ResNets)."""
    x = node.inputs[0]
    if x is None or not ids.is_held(x):
        return ""
    amounts = pad_amounts(node)
    if amounts is None:
        return "how much it adds is computed"
    grid = ids.grid(x)
    constant = node.attributes.get_string("mode", "constant") == "constant"
    for axis, (before, after) in amounts.items():
        if grid.shape[axis] == 1 or (before, after) == (0, 0):
            continue
        if not constant or min(before, after) < 0 or grid.size != grid.shape[axis]:
            ids.pin(grid, node, "it adds channels that are not constant")
            return ""
        added = [ids.fresh(count + 1)[:count] for count in (before, after)]
        row = np.concatenate([added[0], grid.reshape(-1), added[1]])
        grid = row.reshape(_cut(grid.shape, axis, len(row)))
    ids.hold(node.outputs[0], grid)
    return ""


def pad_amounts(node: ir.Node) -> dict[int, tuple[int, int]] | None:
    """What a Pad adds before and after each axis that it names; None where that is computed."""
    x = node.inputs[0]
    pads = numbers(node, 1, "pads")
    has_axes = len(node.inputs) > 3 and node.inputs[3] is not None  # noqa: PLR2004 - ONNX: axes
    if x is None or pads is None:
        return None
    axes = numbers(node, 3) if has_axes else list(range(rank(x)))
    if axes is None:
        return None
    half = len(axes)
    return {axis % rank(x): (pads[k], pads[half + k]) for k, axis in enumerate(axes)}
