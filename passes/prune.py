"""Removes channels: constants shrink, shapes with them, and branches without channels go."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ..toolchain import kernels
from ..toolchain.errors import InputError
from ..toolchain.structure.groups import ChannelGroup, Indices, Role

_LAST = np.iinfo(np.int64).max
_BIAS = 2  # the input of a Conv or Gemm: X, W, B
_SIZES = 3  # the input of a Resize: X, roi, scales, sizes

Axis = tuple[str, int]  # a constant's or an activation's name, and which of its axes


def prune(model: ir.Model, groups: Iterable[ChannelGroup], kept: Mapping[str, Indices]) -> ir.Model:
    """A graph without some channels.

    Args:
        model: The graph; it is not changed.
        groups: Its channel groups.
        kept: The units that stay, by the name of their group; a group that is not named stays.

    Raises:
        InputError: A group would lose all its units, but the graph hangs on them.
    """
    copy = model.clone()
    changed = [group for group in groups if group.name in kept]
    for group in changed:
        if not len(kept[group.name]):
            _vanish(copy, group)
    RemoveUnusedNodesPass()(copy)
    left = [group for group in changed if len(kept[group.name])]
    _Removal(copy, left, kept).run()
    RemoveUnusedNodesPass()(copy)
    return copy


def _vanish(model: ir.Model, group: ChannelGroup) -> None:
    """Put constants in the place of what reads the group: its biases, that nothing is added to."""
    if not group.vanishes:
        raise InputError(f"{group.name}: no channel is left", "keep one: the graph hangs on it")
    nodes = {node.name: node for node in model.graph}
    for member in group.members:
        if member.role is not Role.READS:
            continue
        node = nodes[member.node]
        out, add = node.outputs[0], next(iter(node.outputs[0].uses()))
        other = add.node.inputs[1 - add.idx]
        bias = node.inputs[_BIAS] if len(node.inputs) > _BIAS else None
        tensor = kernels.constant(bias)
        if tensor is None or other is None:
            _bypass(model, add.node, other)
            continue
        rank = len(kernels.dims(out)) or len(kernels.dims(other))
        shape = [1, -1, *[1] * (rank - 2)]
        name = f"{node.name}.bias"
        value = ir.val(name, const_value=ir.tensor(tensor.numpy().reshape(shape), name=name))
        model.graph.register_initializer(value)
        add.node.replace_input_with(add.idx, value)


def _bypass(model: ir.Model, add: ir.Node, other: ir.Value | None) -> None:
    """Take out an Add to which nothing is added any more."""
    if other is None:
        raise ValueError("an Add of one operand")
    out = add.outputs[0]
    ir.convenience.replace_all_uses_with(out, other)
    if out.is_graph_output():
        outputs = model.graph.outputs
        outputs[:] = [other if value is out else value for value in outputs]


class _Removal:
    """Units on their way out of a graph."""

    def __init__(
        self, model: ir.Model, groups: Iterable[ChannelGroup], kept: Mapping[str, Indices]
    ) -> None:
        self.graph = model.graph
        gone: dict[Axis, list[Indices]] = defaultdict(list)
        for group in groups:
            units = np.setdiff1d(np.arange(group.units), kept[group.name])
            for member in group.members:
                gone[member.constant, member.axis].append(member.indices[units].ravel())
            for name, axis, indices in group.tensors:
                gone[name, axis].append(indices[units].ravel())
        self.gone = {axis: np.unique(np.concatenate(parts)) for axis, parts in gone.items()}

    def run(self) -> None:
        """Shrink constants, what counts them, and shapes."""
        counted: dict[str, Callable[[ir.Node], None]] = {
            "Conv": self._depthwise,
            "Reshape": partial(self._shape, index=1),
            "Expand": partial(self._shape, index=1),
            "Resize": partial(self._shape, index=_SIZES),
            "Split": self._split,
            "Slice": self._slice,
            "Pad": self._pad,
        }
        for node in list(self.graph):
            if node.op_type in counted:
                counted[node.op_type](node)
        for (name, axis), indices in self.gone.items():
            value = self.graph.initializers.get(name)
            if value is not None and value.const_value is not None:
                array = np.delete(value.const_value.numpy(), indices, axis)
                value.const_value = ir.tensor(array, name=name)
                value.shape = ir.Shape(array.shape)
        for node in self.graph:
            for out in node.outputs:
                self._reshaped(out)

    def _reshaped(self, value: ir.Value) -> None:
        """The shape that is written at an activation."""
        if value.shape is None:
            return
        sizes = [
            size - self._lost(value, axis) if isinstance(size, int) else size
            for axis, size in enumerate(value.shape)
        ]
        value.shape = ir.Shape(sizes)

    def _lost(self, value: ir.Value | None, axis: int) -> int:
        """How many entries an axis loses."""
        return len(self._indices(value, axis))

    def _indices(self, value: ir.Value | None, axis: int) -> Indices:
        nothing = np.zeros(0, np.intp)
        return nothing if value is None else self.gone.get((str(value.name), axis), nothing)

    def _depthwise(self, node: ir.Node) -> None:
        group = node.attributes.get_int("group", 1)
        if group > 1:
            node.attributes["group"] = ir.AttrInt64("group", group - self._lost(node.inputs[0], 1))

    def _shape(self, node: ir.Node, index: int) -> None:
        """A shape that is written down as a constant; 0 and -1 in it follow by themselves."""
        out, sizes = node.outputs[0], self._numbers(node, index)
        if sizes is None:
            return
        copied = [
            size == 0 and self._lost(node.inputs[0], axis) != self._lost(out, axis)
            for axis, size in enumerate(sizes)
        ]
        dims = kernels.dims(out)
        first = len(dims) - len(sizes)
        new = [
            (dims[first + axis] if copied[axis] else size) - self._lost(out, first + axis)
            if size > 0 or copied[axis]
            else size
            for axis, size in enumerate(sizes)
        ]
        self._write(node, index, sizes, new)

    def _split(self, node: ir.Node) -> None:
        axis = self._axis(node)
        lost = [self._lost(out, axis) for out in node.outputs]
        if not any(lost):
            return
        sizes = self._numbers(node, 1) or [kernels.dims(out)[axis] for out in node.outputs]
        node.attributes.pop("num_outputs", None)
        new = [size - gone for size, gone in zip(sizes, lost, strict=True)]
        self._write(node, 1, [], new)

    def _slice(self, node: ir.Node) -> None:
        starts, ends = self._numbers(node, 1), self._numbers(node, 2)
        if starts is None or ends is None:
            return
        value = node.inputs[0]
        axes = self._numbers(node, 3) or list(range(len(starts)))  # input 3: axes
        size = kernels.dims(value) if value is not None else ()

        def moved(bound: int, axis: int) -> int:
            gone = self._indices(value, axis)
            if not len(gone) or bound >= _LAST:
                return bound
            bound = bound + size[axis] if bound < 0 else bound
            return bound - int((gone < bound).sum())

        pairs = list(zip(starts, ends, axes, strict=True))
        self._write(node, 1, starts, [moved(start, axis) for start, _, axis in pairs])
        self._write(node, 2, ends, [moved(end, axis) for _, end, axis in pairs])

    def _pad(self, node: ir.Node) -> None:
        pads, out = self._numbers(node, 1), node.outputs[0]
        if pads is None:
            return
        rank = len(pads) // 2
        new = list(pads)
        for axis in range(rank):
            gone, size = self._indices(out, axis), kernels.dims(out)
            if len(gone):
                new[axis] -= int((gone < pads[axis]).sum())
                new[axis + rank] -= int((gone >= size[axis] - pads[axis + rank]).sum())
        self._write(node, 1, pads, new)

    def _axis(self, node: ir.Node) -> int:
        return node.attributes.get_int("axis", 0) % len(kernels.dims(node.outputs[0]))

    def _numbers(self, node: ir.Node, index: int) -> list[int] | None:
        """A constant input of integers; None where it is missing or computed."""
        tensor = kernels.constant(node.inputs[index]) if len(node.inputs) > index else None
        return None if tensor is None else [int(number) for number in tensor.numpy().ravel()]

    def _write(self, node: ir.Node, index: int, old: list[int], new: list[int]) -> None:
        """Give a node its own constant of integers, where it is another."""
        if old == new:
            return
        name = f"{node.name}.pruned{index}"
        while name in self.graph.initializers:
            name += "_"
        value = ir.val(name, const_value=ir.tensor(np.array(new, np.int64), name=name))
        self.graph.register_initializer(value)
        if len(node.inputs) <= index:
            node.resize_inputs(index + 1)
        node.replace_input_with(index, value)
