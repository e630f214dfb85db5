"""Finds where the scale of a channel can be moved, and says of the other linear nodes why not."""

from dataclasses import dataclass, field

import onnx_ir as ir

from .affine import Axis, per_channel
from .journal import Note, kept
from .linear import Linear
from .links import LINEAR, Link
from .match import (
    Array,
    by_scalar,
    called,
    constant,
    is_op,
    operand,
    scalar,
    split_constant,
    tensor,
)

_ELEMENTWISE = frozenset({"Relu", "LeakyRelu", "Identity", "Abs"})
_SPATIAL = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
_BIAS = 2


@dataclass(frozen=True, slots=True)
class Links:
    """What `find_links` found.

    Attributes:
        links: The links, in the order of their first reader.
        skipped: The linear nodes whose input cannot be scaled, and why.
    """

    links: tuple[Link, ...]
    skipped: tuple[Note, ...]


def find_links(model: ir.Model) -> Links:
    """Find every set of tensors of the main graph whose channels can be scaled."""
    links: list[Link] = []
    skipped: list[Note] = []
    seen: set[ir.Node] = set()
    for node in model.graph:
        if node in seen or not is_op(node, *LINEAR):
            continue
        reader = _linear(node)
        if isinstance(reader, str):
            skipped.append(kept(node, reader))
            continue
        tied = _Tied(_from_end(reader.into), reader.into.channels)
        why = tied.grow(node.inputs[0])
        seen.update(one.node for one in tied.readers)
        if why:
            skipped.append(kept(node, why))
        else:
            links.append(tied.link())
    return Links(tuple(links), tuple(skipped))


@dataclass(slots=True)
class _Tied:
    """Tensors that are tied together, as they are found."""

    axis: int
    channels: int
    writers: list[ir.Node] = field(default_factory=list)
    shifts: list[ir.Node] = field(default_factory=list)
    readers: list[Linear] = field(default_factory=list)
    _waiting: list[ir.Value] = field(default_factory=list)
    _passed: set[ir.Node] = field(default_factory=set)

    def link(self) -> Link:
        """What was found."""
        return Link(
            self.axis,
            self.channels,
            writers=tuple(dict.fromkeys(self.writers)),
            shifts=tuple(self.shifts),
            readers=tuple(self.readers),
        )

    def grow(self, value: ir.Value | None) -> str:
        """Follow `value` to all that writes and reads it; why the scale cannot move, or nothing.

        Even then all readers are found, so that each is looked at only once.
        """
        reasons: list[str] = []
        seen: set[ir.Value] = set()
        self._waiting = [value] if value is not None else []
        while self._waiting:
            value = self._waiting.pop()
            if value in seen:
                continue
            seen.add(value)
            reasons += [why for why in self._around(value) if why]
        return reasons[0] if reasons else ""

    def _around(self, value: ir.Value) -> list[str]:
        producer = value.producer()
        reasons = [f"{value.name} is an output of the graph"] if value.is_graph_output() else []
        if producer is None:
            return [*reasons, f"{value.name} is an input of the graph"]
        reasons.append(self._written(producer))
        for use in value.uses():
            if use.node.graph is not producer.graph:
                reasons.append(f"{value.name} is read in a subgraph")
            else:
                reasons.append(self._read(use.node, use.idx))
        return reasons

    def _written(self, node: ir.Node) -> str:
        if is_op(node, *LINEAR):
            linear = _linear(node)
            if isinstance(linear, str):
                return f"{called(node)}: {linear}"
            if not self._fits(linear.out):
                return f"{called(node)} has its channels on another axis"
        elif is_op(node, "LayerNormalization"):
            why = self._refused(node)
            if why:
                return f"{called(node)}: {why}"
        elif not (is_op(node, "Mul") and self._is_vector(node)):
            return self._passes(node)
        self.writers.append(node)
        return ""

    def _read(self, node: ir.Node, index: int) -> str:
        if is_op(node, *LINEAR):
            linear = _linear(node)
            if isinstance(linear, str):
                return f"{called(node)}: {linear}"
            if index or not self._fits(linear.into):
                return f"{called(node)} has its channels on another axis"
            self.readers.append(linear)
            return ""
        return self._passes(node)

    def _passes(self, node: ir.Node) -> str:
        """Go on through a node that keeps factors; why it does not, or nothing."""
        if node in self._passed:
            return ""
        self._passed.add(node)
        if is_op(node, *_ELEMENTWISE) or self._is_pool(node) or _is_homogeneous(node):
            if any(out.uses() for out in node.outputs[1:]):
                return f"{called(node)} has more than one output"
            self._waiting += [v for v in (node.inputs[0], node.outputs[0]) if v is not None]
            return ""
        if is_op(node, "Add", "Sub"):
            return self._adds(node)
        if is_op(node, "Clip"):
            return f"{called(node)} cuts all channels at the same number"
        return f"{called(node)} does not keep the scale of a channel"

    def _adds(self, node: ir.Node) -> str:
        found = split_constant(node)
        if found is not None:
            x, value, _ = found
            if not self._spreads(constant(value), x):
                return f"{called(node)} adds a constant of another shape"
            self.shifts.append(node)
            self._waiting += [x, node.outputs[0]]
            return ""
        both = [value for value in node.inputs if value is not None]
        if len(both) < 2 or not all(map(self._has_channels, both)):  # noqa: PLR2004 - a binary node
            return f"{called(node)} adds tensors whose channels are not known to agree"
        self._waiting += [*both, node.outputs[0]]
        return ""

    def _fits(self, axis: Axis) -> bool:
        return _from_end(axis) == self.axis and axis.channels == self.channels

    def _is_pool(self, node: ir.Node) -> bool:
        return is_op(node, *_SPATIAL) and self.axis < -1

    def _has_channels(self, value: ir.Value) -> bool:
        if value.shape is None or len(value.shape) < -self.axis:
            return False
        return value.shape[self.axis] == self.channels

    def _is_vector(self, node: ir.Node) -> bool:
        """Whether a Mul's constant is one number a channel.

        A Mul by one number stays so: it may be part of what the runtime fuses, such as a GELU.
        """
        found = split_constant(node)
        if found is None or scalar(found[1]) is not None:
            return False
        array, x = constant(found[1]), found[0]
        rank = None if x.shape is None else len(x.shape)
        axis = Axis(-1 if self.axis == -1 else 1, rank, self.channels)
        return array is not None and per_channel(array, axis) is not None

    def _spreads(self, array: Array | None, x: ir.Value) -> bool:
        """Whether a constant can be divided by one number a channel without widening `x`."""
        if array is None or not self._has_channels(x) or x.shape is None:
            return False
        if array.ndim > len(x.shape):
            return False
        return array.ndim < -self.axis or array.shape[self.axis] in (1, self.channels)

    def _refused(self, norm: ir.Node) -> str:
        """Why a LayerNormalization cannot write scaled channels."""
        scale, shift = operand(norm, 1), operand(norm, _BIAS)
        array = constant(scale)
        if self.axis != -1 or array is None or array.shape != (self.channels,):
            return "it does not scale each channel by a constant"
        if shift is not None and tensor(shift) is None:
            return "its shift is computed at run time"
        used = any(out.uses() for out in norm.outputs[1:])
        return "its statistics are read" if used else ""


def _linear(node: ir.Node) -> Linear | str:
    """A linear node whose weight is its own, in fp32."""
    found = Linear.of(node)
    if isinstance(found, str):
        return found
    if node.attributes.get_int("transA", 0):
        return "its input is transposed"
    weight, bias = node.inputs[1], operand(node, _BIAS)
    if weight is None or weight.dtype is not ir.DataType.FLOAT:
        return "its weight is not fp32"
    if len(weight.uses()) > 1 or (bias is not None and bias is weight):
        return "its weight is shared"
    return found


def _is_homogeneous(node: ir.Node) -> bool:
    """Whether a node multiplies by constants on either side of 0, or only cuts there."""
    if is_op(node, "PRelu"):
        return tensor(operand(node, 1)) is not None
    if is_op(node, "Mul", "Div"):
        return by_scalar(node) is not None and tensor(node.inputs[0]) is None
    lowest, highest = operand(node, 1), operand(node, 2)
    return is_op(node, "Clip") and highest is None and scalar(lowest) == 0.0


def _from_end(axis: Axis) -> int:
    if axis.position < 0 or axis.rank is None:
        return axis.position
    return axis.position - axis.rank
