"""Removes channels from a graph: smaller constants, and what is left of branches that have none."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.errors import InputError
from ..toolchain.frontend.shapes import infer_shapes
from ..toolchain.structure.groups import ChannelGroup, Indices
from ..toolchain.structure.vanish import remains, without_channels
from .edit import Editor
from .lengths import Removed, shorten
from .vanished import replace_branches

_HINT = "keep a unit of each group that does not vanish"


def prune(model: ir.Model, groups: Sequence[ChannelGroup], kept: Mapping[str, Indices]) -> ir.Model:
    """A copy of a model without the channels that are not kept.

    Where a group has no unit left, the branch is replaced by the constant that it adds.

    Args:
        model: The graph; its constants are shared with the copy where they are not changed.
        groups: Its groups (`find_groups`), or those of a copy of it with other shapes.
        kept: By a group's name, the indices of the units that are left, ascending; a group that is
            not named keeps all.

    Raises:
        InputError: Units that a group does not have, or a group that must keep one has none left,
            or what is left is no valid graph; the message names the node.
    """
    copy = model.clone()
    removed = _removed(groups, kept)
    values = {str(value.name): value for node in copy.graph for value in node.outputs}
    counts = {where: len(places) for where, places in removed.items()}
    gone = without_channels(copy.graph, counts)
    left = remains(copy.graph, gone)
    if left.blocked is not None:
        node, why = left.blocked
        raise InputError(f"{node.name}: {why}, and none of its channels is left", _HINT)
    editor = Editor(copy, copy.graph.opset_imports.get("", 1))
    for node in list(copy.graph):
        shorten(node, removed, editor)
    _cut_constants(copy.graph, removed)
    _cut_shapes(values, removed)
    replace_branches(editor, left.ends, gone)
    infer_shapes(copy, "the pruned model")
    return copy


def _removed(groups: Sequence[ChannelGroup], kept: Mapping[str, Indices]) -> Removed:
    """The places that go along each axis of each tensor, ascending."""
    by_name = {group.name: group for group in groups}
    places: dict[tuple[str, int], list[Indices]] = {}
    for name, units in kept.items():
        if name not in by_name:
            raise InputError(f"no channel group is called {name}", "use the names of find_groups")
        group = by_name[name]
        out = _others(group, np.asarray(units, np.intp))
        lies = [(member.constant, member.axis, member.indices) for member in group.members]
        axes = {(tensor, axis): indices for tensor, axis, indices in (*lies, *group.tensors)}
        for where, indices in axes.items():
            if out.size:
                places.setdefault(where, []).append(indices[out].reshape(-1))
    return {where: np.sort(np.concatenate(parts)) for where, parts in places.items()}


def _others(group: ChannelGroup, units: Indices) -> Indices:
    """The units of a group that are not kept."""
    ascending = units.ndim == 1 and bool((np.diff(units) > 0).all())
    if not ascending or not np.isin(units, np.arange(group.units)).all():
        raise InputError(
            f"{group.name}: the units to keep are not ascending numbers below {group.units}",
            "give each unit once",
        )
    if not units.size and not group.vanishes:
        raise InputError(f"{group.name}: none of its {group.units} units is left", _HINT)
    return np.setdiff1d(np.arange(group.units), units)


def _cut_constants(graph: ir.Graph, removed: Removed) -> None:
    """Leave rows out of the constants that hold them."""
    for (name, axis), places in removed.items():
        value = graph.initializers.get(name)
        if value is None:
            continue
        tensor = kernels.constant(value)
        if tensor is None:
            raise InputError(f"{name} has no numbers", "give the model with its weights")
        array = np.ascontiguousarray(np.delete(tensor.numpy(), places, axis))
        value.const_value = ir.tensor(array, dtype=tensor.dtype, name=name)
        value.shape = ir.Shape(array.shape)


def _cut_shapes(values: Mapping[str, ir.Value], removed: Removed) -> None:
    """Let activations be as long as they are now."""
    for (name, axis), places in removed.items():
        value = values.get(name)
        if value is None or value.shape is None:
            continue
        lengths = list(value.shape)
        length = lengths[axis]
        if isinstance(length, int):
            lengths[axis] = length - len(places)
        value.shape = ir.Shape(lengths)
