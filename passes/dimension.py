"""Arithmetic on shapes that are known in part: `[batch, 64, -1]` with a batch that is free."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from .match import constant, dims, ints, is_op, operand, tensor

Entry = int | str | None
"""A number, a free dimension (which is never negative), or something unknown."""

_LIMIT = 64
"""Longer vectors are not shapes."""


@dataclass(frozen=True, slots=True)
class Vector:
    """What is known of an integer (or Boolean) tensor of rank 0 or 1."""

    entries: tuple[Entry, ...]
    is_scalar: bool = False

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The entries, where all are numbers."""
        found = tuple(entry for entry in self.entries if isinstance(entry, int))
        return found if len(found) == len(self.entries) else None


class Dimensions:
    """Evaluates nodes on partly known shapes; ask it about nodes in topological order."""

    def __init__(self) -> None:
        self._known: dict[ir.Value, Vector] = {}

    def of(self, value: ir.Value | None) -> Vector | None:
        """What is known of a value."""
        if value is None:
            return None
        if value not in self._known and (vector := _constant(value)) is not None:
            self._known[value] = vector
        return self._known.get(value)

    def visit(self, node: ir.Node) -> Vector | None:
        """What is known of a node's first output."""
        rule = _RULES.get(node.op_type) if node.domain == "" else None
        vector = rule(node, self) if rule is not None else None
        if vector is None or len(vector.entries) > _LIMIT:
            return None
        self._known[node.outputs[0]] = vector
        return vector


def _constant(value: ir.Value) -> Vector | None:
    found = tensor(value)
    if found is None or len(found.shape) > 1 or found.size > _LIMIT:
        return None
    if not (found.dtype.is_integer() or found.dtype is ir.DataType.BOOL):
        return None
    return Vector(tuple(int(n) for n in found.numpy().reshape(-1)), is_scalar=not found.shape)


def _shape(node: ir.Node, _: Dimensions) -> Vector | None:
    known = dims(operand(node, 0))
    if known is None:
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", None)
    return Vector(known[start:end])


def _size(node: ir.Node, _: Dimensions) -> Vector | None:
    known = dims(operand(node, 0))
    numbers = [dim for dim in known or () if isinstance(dim, int)]
    if known is None or len(numbers) != len(known):
        return None
    return Vector((math.prod(numbers),), is_scalar=True)


def _gather(node: ir.Node, known: Dimensions) -> Vector | None:
    data, indices = known.of(operand(node, 0)), constant(operand(node, 1))
    if data is None or data.is_scalar or indices is None or indices.ndim > 1:
        return None
    wanted = [int(i) for i in indices.reshape(-1)]
    if not all(-len(data.entries) <= i < len(data.entries) for i in wanted):
        return None
    return Vector(tuple(data.entries[i] for i in wanted), is_scalar=indices.ndim == 0)


def _slice(node: ir.Node, known: Dimensions) -> Vector | None:
    data = known.of(operand(node, 0))
    starts, ends = ints(node, "starts", 1), ints(node, "ends", 2)
    steps = ints(node, "steps", 4) if operand(node, 4) is not None else (1,)
    if data is None or data.is_scalar or not starts or not ends or not steps or steps[0] < 1:
        return None
    return Vector(data.entries[starts[0] : ends[0] : steps[0]])


def _concat(node: ir.Node, known: Dimensions) -> Vector | None:
    parts = [known.of(value) or _unknown(value) for value in node.inputs]
    if any(part is None or part.is_scalar for part in parts):
        return None
    return Vector(tuple(entry for part in parts if part is not None for entry in part.entries))


def _unknown(value: ir.Value | None) -> Vector | None:
    """A vector of known length whose numbers are not known."""
    length = dims(value)
    if length is None or len(length) != 1 or not isinstance(length[0], int):
        return None
    return Vector((None,) * min(length[0], _LIMIT + 1))


def _same(node: ir.Node, known: Dimensions) -> Vector | None:
    """Identity and Cast between integers."""
    to = node.outputs[0].dtype
    integer = to is not None and (to.is_integer() or to is ir.DataType.BOOL)
    found = known.of(operand(node, 0))
    if to is ir.DataType.BOOL and found is not None:
        truth = None if found.numbers is None else tuple(int(n != 0) for n in found.numbers)
        return None if truth is None else Vector(truth, is_scalar=found.is_scalar)
    return found if integer else None


def _vector(node: ir.Node, known: Dimensions) -> Vector | None:
    """Unsqueeze of a scalar, Reshape to one axis."""
    found = known.of(operand(node, 0))
    if found is None:
        return None
    if is_op(node, "Unsqueeze"):
        return Vector(found.entries) if found.is_scalar else None
    shape = known.of(operand(node, 1))
    if shape is None or shape.numbers is None or len(shape.numbers) > 1:
        return None
    return Vector(found.entries, is_scalar=len(shape.numbers) == 0)


def _squeeze(node: ir.Node, known: Dimensions) -> Vector | None:
    found = known.of(operand(node, 0))
    return Vector(found.entries, is_scalar=True) if found and len(found.entries) == 1 else None


def _fill(node: ir.Node, known: Dimensions) -> Vector | None:
    """ConstantOfShape of one axis."""
    shape = known.of(operand(node, 0))
    if shape is None or shape.numbers is None or len(shape.numbers) != 1:
        return None
    if not 0 <= shape.numbers[0] <= _LIMIT:
        return None
    fill = node.attributes.get_tensor("value")
    if fill is None or not fill.dtype.is_integer():
        return None
    return Vector((int(fill.numpy().reshape(-1)[0]),) * shape.numbers[0])


def _where(node: ir.Node, known: Dimensions) -> Vector | None:
    parts = _aligned(node, known)
    if parts is None:
        return None
    picked = [b if c else a for c, b, a in zip(*parts.columns, strict=True) if c is not None]
    if len(picked) != len(parts.columns[0]) or any(isinstance(c, str) for c in parts.columns[0]):
        return None
    return Vector(tuple(picked), is_scalar=parts.is_scalar)


def _elementwise(compute: Callable[[Entry, Entry], Entry]) -> "_Rule":
    def rule(node: ir.Node, known: Dimensions) -> Vector | None:
        parts = _aligned(node, known)
        if parts is None or len(parts.columns) != 2:  # noqa: PLR2004 - a binary op
            return None
        entries = (compute(a, b) for a, b in zip(*parts.columns, strict=True))
        return Vector(tuple(entries), is_scalar=parts.is_scalar)

    return rule


@dataclass(frozen=True, slots=True)
class _Aligned:
    columns: tuple[tuple[Entry, ...], ...]
    is_scalar: bool


def _aligned(node: ir.Node, known: Dimensions) -> _Aligned | None:
    """The inputs of an element-wise node, broadcast to one length."""
    vectors = [known.of(value) for value in node.inputs]
    present = [vector for vector in vectors if vector is not None]
    length = max((len(vector.entries) for vector in present), default=0)
    if len(present) != len(vectors) or any(len(v.entries) not in (1, length) for v in present):
        return None
    columns = tuple(
        v.entries * (length if len(v.entries) == 1 else 1) if length else () for v in present
    )
    return _Aligned(columns, is_scalar=all(vector.is_scalar for vector in present))


def _add(a: Entry, b: Entry) -> Entry:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return a if b == 0 else b if a == 0 else None


def _sub(a: Entry, b: Entry) -> Entry:
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    return a if b == 0 else None


def _mul(a: Entry, b: Entry) -> Entry:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    return a if b == 1 else b if a == 1 else None


def _div(a: Entry, b: Entry) -> Entry:
    """Integer division; ONNX rounds to zero, so only non-negative numbers are computed."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if a >= 0 and b > 0 else None
    return a if b == 1 else None


def _equal(a: Entry, b: Entry) -> Entry:
    if a is None or b is None:
        return None
    if isinstance(a, int) == isinstance(b, int):
        return int(a == b) if isinstance(a, int) or a == b else None
    number = a if isinstance(a, int) else b
    return 0 if isinstance(number, int) and number < 0 else None


_Rule = Callable[[ir.Node, Dimensions], Vector | None]
_RULES: dict[str, _Rule] = {
    "Add": _elementwise(_add),
    "Cast": _same,
    "Concat": _concat,
    "ConstantOfShape": _fill,
    "Div": _elementwise(_div),
    "Equal": _elementwise(_equal),
    "Gather": _gather,
    "Identity": _same,
    "Mul": _elementwise(_mul),
    "Reshape": _vector,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _elementwise(_sub),
    "Unsqueeze": _vector,
    "Where": _where,
}
