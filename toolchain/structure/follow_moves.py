"""How channels pass operators that only move numbers."""

import math

import numpy as np
import onnx_ir as ir

from .. import kernels
from .channels import Axes, Ids
from .trace import Rule, Trace, axes_of, constant_of, integers_of

_LAST = np.iinfo(np.int64).max


def _concat(trace: Trace, node: ir.Node) -> list[Axes]:
    parts = [trace.of(value) for value in node.inputs]
    axis = node.attributes.get_int("axis", 0) % len(parts[0])
    made: Axes = []
    for a, columns in enumerate(zip(*parts, strict=True)):
        if a == axis:
            sizes = [kernels.dims(value)[a] for value in node.inputs if value is not None]
            made.append(_joined(trace, node, columns, sizes))
        else:
            first = columns[0]
            for other in columns[1:]:
                first = trace.met(first, other, node)
            made.append(first)
    return [made]


def _joined(
    trace: Trace, node: ir.Node, columns: tuple[Ids | None, ...], sizes: list[int]
) -> Ids | None:
    """The identities of parts one after the other; parts that stay get pinned ones."""
    if all(ids is None for ids in columns):
        return None
    found = []
    for ids, size in zip(columns, sizes, strict=True):
        own = trace.channels.fresh(size) if ids is None else ids
        if ids is None:
            trace.pin([own], node, "it comes from an axis that stays as it is")
        found.append(own)
    return np.concatenate(found)


def _split(trace: Trace, node: ir.Node) -> list[Axes]:
    axes = trace.of(node.inputs[0])
    axis = node.attributes.get_int("axis", 0) % len(axes)
    made: list[Axes] = []
    start = 0
    for out in node.outputs:
        stop = start + kernels.dims(out)[axis]
        ids = axes[axis]
        own = None if ids is None else ids[start:stop]
        made.append([*axes[:axis], own, *axes[axis + 1 :]])
        start = stop
    return made


def _slice(trace: Trace, node: ir.Node) -> list[Axes] | None:
    starts, ends = integers_of(node, 1), integers_of(node, 2)
    axes = list(trace.of(node.inputs[0]))
    given = integers_of(node, 3) if len(node.inputs) > 3 else list(range(len(axes)))  # noqa: PLR2004
    steps = integers_of(node, 4) if len(node.inputs) > 4 else [1] * len(given or ())  # noqa: PLR2004
    if starts is None or ends is None or given is None or steps is None:
        return None
    for start, end, axis, step in zip(starts, ends, given, steps, strict=False):
        ids = axes[axis]
        if ids is not None:
            if step != 1:
                return None
            axes[axis] = ids[slice(start, None if end >= _LAST else end)]
    return [axes]


def _pad(trace: Trace, node: ir.Node) -> list[Axes] | None:
    pads = integers_of(node, 1)
    axes = list(trace.of(node.inputs[0]))
    constant = node.attributes.get_string("mode", "constant") == "constant"
    if pads is None or (len(node.inputs) > 3 and node.inputs[3] is not None):  # noqa: PLR2004
        return None
    for axis, ids in enumerate(axes):
        before, after = pads[axis], pads[axis + len(axes)]
        if ids is None or not (before or after):
            continue
        if not constant or before < 0 or after < 0:
            return None
        new = trace.channels.fresh(before), trace.channels.fresh(after)
        axes[axis] = np.concatenate([new[0], ids, new[1]])
    return [axes]


def _transpose(trace: Trace, node: ir.Node) -> list[Axes]:
    axes = trace.of(node.inputs[0])
    order = node.attributes.get_ints("perm", None) or list(reversed(range(len(axes))))
    return [[axes[axis] for axis in order]]


def _gather(trace: Trace, node: ir.Node) -> list[Axes] | None:
    """Picks along an axis that stays; the rank of the indices takes its place."""
    axes = trace.of(node.inputs[0])
    if constant_of(node, 0) is not None or node.inputs[1] is None:
        return None
    axis = node.attributes.get_int("axis", 0) % len(axes)
    if axes[axis] is not None:
        return None
    picked: Axes = [None] * len(kernels.dims(node.inputs[1]))
    return [[*axes[:axis], *picked, *axes[axis + 1 :]]]


def _squeeze(trace: Trace, node: ir.Node) -> list[Axes]:
    axes, over = trace.of(node.inputs[0]), axes_of(node, 1)
    value = node.inputs[0]
    dims = kernels.dims(value) if value is not None else ()
    gone = {a % len(axes) for a in over} if over else {a for a, d in enumerate(dims) if d == 1}
    trace.pin([axes[axis] for axis in sorted(gone)], node, "the axis goes")
    return [[ids for axis, ids in enumerate(axes) if axis not in gone]]


def _unsqueeze(trace: Trace, node: ir.Node) -> list[Axes] | None:
    axes, over = trace.of(node.inputs[0]), axes_of(node, 1)
    if over is None:
        return None
    rank = len(axes) + len(over)
    new, rest = {axis % rank for axis in over}, iter(axes)
    return [[None if axis in new else next(rest) for axis in range(rank)]]


def _reshape(trace: Trace, node: ir.Node) -> list[Axes] | None:
    """Axes that are split or joined: see `_regrouped`."""
    value = node.inputs[0]
    if value is None:
        return None
    before, after = kernels.dims(value), kernels.dims(node.outputs[0])
    blocks = _blocks(before, after)
    if blocks is None:
        return None
    axes, made = trace.of(value), []
    for old, new in blocks:
        made += _regrouped(
            trace, node, [(before[a], axes[a]) for a in old], [after[a] for a in new]
        )
    return [made]


def _blocks(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[range, range]] | None:
    """The shortest runs of axes with as many elements before as after."""
    blocks, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        start, end = (i, j), (i + 1, j + 1)
        while math.prod(before[i : end[0]]) != math.prod(after[j : end[1]]):
            less = math.prod(before[i : end[0]]) < math.prod(after[j : end[1]])
            end = (end[0] + less, end[1] + (not less))
            if end[0] > len(before) or end[1] > len(after):
                return None
        i, j = min(end[0], len(before)), min(end[1], len(after))
        blocks.append((range(start[0], i), range(start[1], j)))
    return blocks


def _regrouped(
    trace: Trace, node: ir.Node, old: list[tuple[int, Ids | None]], sizes: list[int]
) -> Axes:
    """The identities of a run of axes after they were joined, split, or left as they are.

    Where one axis of channels is split in several, the last but one counts them: of (heads, depth)
    or (3, heads, depth) a head is what can go, and it goes in all three.
    """
    wide = [(size, ids) for size, ids in old if size > 1]
    places = [index for index, size in enumerate(sizes) if size > 1]
    made: Axes = [None] * len(sizes)
    tracked = [index for index, (_, ids) in enumerate(wide) if ids is not None]
    if len(tracked) != 1:
        trace.pin([ids for _, ids in wide], node, "it is reshaped with other channels")
        return made
    ids = wide[tracked[0]][1]
    if ids is None or not places:
        return made
    if len(wide) == len(places) == 1:
        made[places[0]] = ids
    elif len(places) == 1:
        outer = math.prod(size for size, _ in wide[: tracked[0]])
        inner = math.prod(size for size, _ in wide[tracked[0] + 1 :])
        made[places[0]] = np.tile(np.repeat(ids, inner), outer)
    elif len(wide) == 1:
        last = [sizes[index] for index in places]
        table = np.moveaxis(ids.reshape(last), -2, 0).reshape(last[-2], -1)
        made[places[-2]] = trace.channels.unite_rows(table)
    else:
        trace.pin([ids], node, "it is reshaped with other axes")
    return made


def _expand(trace: Trace, node: ir.Node) -> list[Axes]:
    axes = trace.of(node.inputs[0])
    rank = len(kernels.dims(node.outputs[0]))
    return [[*([None] * (rank - len(axes))), *axes]]


def _resize(trace: Trace, node: ir.Node) -> list[Axes]:
    batch, channels, *spatial = trace.of(node.inputs[0])
    trace.pin([batch, *spatial], node, "it is resized")
    return [[None, channels, *([None] * len(spatial))]]


MOVES: dict[str, Rule] = {
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Transpose": _transpose,
    "Gather": _gather,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Expand": _expand,
    "Resize": _resize,
    "Upsample": _resize,
}
