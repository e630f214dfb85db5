"""Operators that change shapes, and compute nothing."""

import math
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from .channel_ids import ChannelIds, Dims, Ids, dims, rank
from .shape_entries import COPIED, find_entry, numbers


def transpose(node: ir.Node, ids: ChannelIds) -> str:
    """Transpose."""
    (x,) = node.inputs
    if x is not None:
        perm = numbers(node, 1, "perm") or list(range(rank(x)))[::-1]
        ids.hold(node.outputs[0], ids.grid(x).transpose(perm))
    return ""


def reshape(node: ir.Node, ids: ChannelIds) -> str:
    """Reshape and Flatten: channels keep their places in memory."""
    x, out = node.inputs[0], node.outputs[0]
    if x is None:
        return "it has no input"
    before, after = dims(x), _target(node, dims(x))
    grid = regrouped(ids.grid(x), before, after)
    if grid is None:
        return f"which axes of {list(before)} become which of {list(after)} is not known"
    ids.hold(out, grid)
    if node.op_type == "Reshape":
        why = "its shape is computed, so that it cannot be changed"
        ids.demand(out, node, why, lambda axis: find_entry(node, 1, axis) is not None)
    else:
        ids.demand(out, node, "it merges channels with the batch", lambda axis: axis > 0)
    return ""


def _target(node: ir.Node, before: Dims) -> Dims:
    """The shape that a node writes, with what is copied from its input."""
    after = list(dims(node.outputs[0]))
    if node.op_type == "Reshape" and not node.attributes.get_int("allowzero", 0):
        for axis in range(min(len(after), len(before))):
            entry = find_entry(node, 1, axis)
            if entry is not None and entry.number == COPIED:
                after[axis] = before[axis]
    if node.op_type == "Flatten" and before and node.attributes.get_int("axis", 1) == 1:
        after[0] = before[0]
    return tuple(after)


def regrouped(grid: Ids, before: Dims, after: Dims) -> Ids | None:
    """The channels of a tensor in another shape; None where lengths that matter are not known."""
    source: list[int] = []
    target: list[int] = []
    for old, new in _runs(before, after):
        if all(grid.shape[axis] == 1 for axis in old):
            source += [1] * len(old)
            target += [1] * len(new)
            continue
        lengths = [n for n in before[old.start : old.stop] if isinstance(n, int)]
        wanted = [n for n in after[new.start : new.stop] if isinstance(n, int)]
        whole = len(lengths) == len(old) and len(wanted) == len(new)
        if len(old) == len(new) == 1:
            source.append(grid.shape[old.start])
            target.append(grid.shape[old.start])
        elif whole and math.prod(lengths) == math.prod(wanted):
            source += lengths
            target += wanted
        else:
            return None
    return np.broadcast_to(grid, source).reshape(target)


def _runs(before: Dims, after: Dims) -> Iterator[tuple[range, range]]:
    """Axes that become axes: as small as their lengths say, from the left and from the right."""
    left = list(_from_left(before, after))
    i, j = (left[-1][0].stop, left[-1][1].stop) if left else (0, 0)
    yield from left
    right = list(_from_left(before[i:][::-1], after[j:][::-1]))
    k, m = (right[-1][0].stop, right[-1][1].stop) if right else (0, 0)
    if (i, j) != (len(before) - k, len(after) - m):
        yield range(i, len(before) - k), range(j, len(after) - m)
    for old, new in reversed(right):
        yield (
            range(len(before) - old.stop, len(before) - old.start),
            range(len(after) - new.stop, len(after) - new.start),
        )


def _from_left(before: Dims, after: Dims) -> Iterator[tuple[range, range]]:
    """The runs of axes with equal products, until a length is not known."""
    i = j = 0
    while i < len(before) and j < len(after):
        k, m = i + 1, j + 1
        a, b = before[i], after[j]
        while a != b:
            if not isinstance(a, int) or not isinstance(b, int):
                return
            more = before[k : k + 1] if a < b else after[m : m + 1]
            if not more or not isinstance(more[0], int):
                return
            a, k, b, m = (a * more[0], k + 1, b, m) if a < b else (a, k, b * more[0], m + 1)
        if a is None:
            return
        yield range(i, k), range(j, m)
        i, j = k, m


def squeeze(node: ir.Node, ids: ChannelIds) -> str:
    """Squeeze and Unsqueeze of axes that are named."""
    x, out = node.inputs[0], node.outputs[0]
    axes = numbers(node, 1, "axes")
    if x is None or axes is None:
        return "its axes are not known"
    grid = ids.grid(x)
    removed = node.op_type == "Squeeze"
    size = grid.ndim if removed else grid.ndim + len(axes)
    places = tuple(axis % size for axis in axes)
    if removed and any(grid.shape[axis] > 1 for axis in places):
        return "it removes an axis of channels"
    ids.hold(out, np.squeeze(grid, places) if removed else np.expand_dims(grid, places))
    return ""


def expand(node: ir.Node, ids: ChannelIds) -> str:
    """Expand: axes of length 1 grow, the others stay."""
    x, out = node.inputs[0], node.outputs[0]
    if x is None or rank(out) < rank(x):
        return "its shape is not known"
    grid = ids.grid(x)
    ids.hold(out, grid.reshape((1,) * (rank(out) - grid.ndim) + grid.shape))

    def allows(axis: int) -> bool:
        entry = find_entry(node, 1, axis)
        return entry is not None

    ids.demand(out, node, "its shape is computed, so that it cannot be changed", allows)
    return ""


def resize(node: ir.Node, ids: ChannelIds) -> str:
    """Resize along axes that hold no channels."""
    x = node.inputs[0]
    scales, sizes = numbers(node, 2), numbers(node, 3)
    if x is None or "axes" in node.attributes:
        return "the axes that it resizes are chosen"
    grid = ids.grid(x)
    for axis, length in enumerate(grid.shape):
        fixed = scales[axis] == 1 if scales else sizes is not None and sizes[axis] == length
        if length > 1 and not fixed:
            ids.pin(grid, node, "it resizes the axis of the channels")
    ids.hold(node.outputs[0], grid)
    return ""


def shape(node: ir.Node, ids: ChannelIds) -> str:
    """Shape: channels that nothing asks the number of may change it."""
    x, out = node.inputs[0], node.outputs[0]
    if x is None or not ids.is_held(x):
        return ""
    start = node.attributes.get_int("start", 0) % rank(x)
    asked: set[int] = set()
    for reader, _ in out.uses():
        picked = numbers(reader, 1) if reader.op_type == "Gather" else None
        if picked is None or out.is_graph_output():
            picked = list(range(rank(x)))
        asked.update((start + n if n >= 0 else n) % rank(x) for n in picked)
    ids.demand(x, node, "the number of channels is computed with", lambda axis: axis not in asked)
    return ""
