"""The numbers by which nodes say how many channels they read and write."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.structure.channel_ids import dims, rank
from ..toolchain.structure.groups import Indices
from ..toolchain.structure.part_rules import pad_amounts, slice_bounds
from ..toolchain.structure.shape_entries import find_entry, numbers
from .edit import Editor

Removed = Mapping[tuple[str, int], Indices]
"""By name of a tensor and axis: the places that go, ascending."""

_GROUP_AXES = 2


def shorten(node: ir.Node, removed: Removed, editor: Editor) -> None:
    """Write the new numbers into a node; shapes and constants are still those of before."""
    rule = _RULES.get(node.op_type)
    if rule is not None:
        rule(node, removed, editor)


def _along(value: ir.Value | None, removed: Removed) -> dict[int, Indices]:
    """What goes of a value, by axis."""
    if value is None:
        return {}
    pairs = ((axis, removed.get((str(value.name), axis))) for axis in range(rank(value)))
    return {axis: places for axis, places in pairs if places is not None}


def _conv(node: ir.Node, removed: Removed, _: Editor) -> None:
    """The groups of a convolution that are left: those whose inputs are."""
    groups = node.attributes.get_int("group", 1)
    out = _along(node.inputs[0], removed).get(1)
    weight = node.inputs[1]
    if groups == 1 or out is None or weight is None:
        return
    rows, columns = kernels.dims(weight)[:_GROUP_AXES]
    inputs = rows // groups if node.op_type == "ConvTranspose" else columns
    node.attributes["group"] = ir.AttrInt64("group", groups - len(out) // inputs)


def _target(node: ir.Node, removed: Removed, editor: Editor) -> None:
    """The shape that Reshape and Expand have as an input, and the sizes of Resize."""
    index = 3 if node.op_type == "Resize" else 1
    for axis, places in _along(node.outputs[0], removed).items():
        _own(node, index, editor)
        entry = find_entry(node, index, axis)
        if entry is None or entry.number <= 1:  # copied, what remains, or not expanded
            continue
        tensor = kernels.constant(entry.node.inputs[entry.index])
        if tensor is not None:
            array = np.atleast_1d(tensor.numpy()).copy()
            array[entry.place] -= len(places)
            wanted = f"{node.outputs[0].name}.shape"
            editor.set_constant(entry.node, entry.index, array, wanted)


def _own(node: ir.Node, index: int, editor: Editor) -> None:
    """Let a node alone read its computed shape: another one may want the old."""
    shape = node.inputs[index] if index < len(node.inputs) else None
    producer = None if shape is None else shape.producer()
    if shape is None or producer is None or len(shape.uses()) == 1:
        return
    twin = ir.node(producer.op_type, list(producer.inputs), dict(producer.attributes.items()))
    twin.name = f"{producer.name}.{node.name}"
    twin.outputs[0].name = f"{shape.name}.{node.name}"
    twin.outputs[0].type, twin.outputs[0].shape = shape.type, shape.shape
    editor.insert_before(node, twin)
    node.replace_input_with(index, twin.outputs[0])


def _split(node: ir.Node, removed: Removed, editor: Editor) -> None:
    """The lengths of the parts."""
    x = node.inputs[0]
    if x is None:
        return
    axis = node.attributes.get_int("axis", 0) % rank(x)
    if axis not in _along(x, removed):
        return
    left = [_left(out, axis, removed) for out in node.outputs]
    node.attributes.pop("num_outputs", None)
    if "split" in node.attributes:
        node.attributes["split"] = ir.AttrInt64s("split", left)
    else:
        editor.set_constant(node, 1, np.array(left, np.int64), f"{node.name}.split")


def _left(value: ir.Value, axis: int, removed: Removed) -> int:
    length = dims(value)[axis]
    assert isinstance(length, int)  # noqa: S101 - channels are counted
    return length - len(_along(value, removed).get(axis, ()))


def _slice(node: ir.Node, removed: Removed, editor: Editor) -> None:
    """The bounds, among what is left."""
    x, bounds = node.inputs[0], slice_bounds(node)
    if x is None or bounds is None:
        return
    starts, ends = numbers(node, 1, "starts"), numbers(node, 2, "ends")
    changed = _along(x, removed)
    if starts is None or ends is None or not changed.keys() & bounds.keys():
        return
    for position, (axis, cut) in enumerate(bounds.items()):
        length = dims(x)[axis]
        if axis in changed and isinstance(length, int):
            start, end, _ = cut.indices(length)
            starts[position], ends[position] = (
                bound - int(np.searchsorted(changed[axis], bound)) for bound in (start, end)
            )
    for index, name, values in ((1, "starts", starts), (2, "ends", ends)):
        if name in node.attributes:
            node.attributes[name] = ir.AttrInt64s(name, values)
        else:
            editor.set_constant(node, index, np.array(values, np.int64), f"{node.name}.{name}")


def _gather(node: ir.Node, removed: Removed, editor: Editor) -> None:
    """The places that are taken, among what is left."""
    data = node.inputs[0]
    tensor = kernels.constant(node.inputs[1])
    if data is None or tensor is None or kernels.constant(data) is not None:
        return
    axis = node.attributes.get_int("axis", 0) % rank(data)
    out, length = _along(data, removed).get(axis), dims(data)[axis]
    if out is None or not isinstance(length, int):
        return
    places = tensor.numpy() % length
    left = places[~np.isin(places, out)]
    now = (left - np.searchsorted(out, left)).astype(tensor.numpy().dtype)
    editor.set_constant(node, 1, now, f"{node.name}.places")


def _pad(node: ir.Node, removed: Removed, editor: Editor) -> None:
    """How many channels are added before and after."""
    x, amounts, pads = node.inputs[0], pad_amounts(node), numbers(node, 1, "pads")
    changed = _along(node.outputs[0], removed)
    if x is None or amounts is None or pads is None or not changed.keys() & amounts.keys():
        return
    for position, (axis, (before, _)) in enumerate(amounts.items()):
        length = dims(x)[axis]
        if axis in changed and isinstance(length, int):
            pads[position] -= int((changed[axis] < before).sum())
            pads[len(amounts) + position] -= int((changed[axis] >= before + length).sum())
    if "pads" in node.attributes:
        node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    else:
        editor.set_constant(node, 1, np.array(pads, np.int64), f"{node.name}.pads")


_RULES: Mapping[str, Callable[[ir.Node, Removed, Editor], None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Expand": _target,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _target,
    "Resize": _target,
    "Slice": _slice,
    "Split": _split,
}
