"""Nodes that give back what they are given."""

import numpy as np
import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Note, done, kept
from .match import (
    FLOATS,
    broadcasts_into,
    constant,
    dims,
    given,
    ints,
    operand,
    rank,
    same_shape,
    scalar,
    split_constant,
    static,
    tensor,
)
from .rule import RulePass


def remove_noops(dialect: Dialect) -> RulePass:
    """The pass that bypasses every node that provably changes nothing."""
    return RulePass("remove-noops", dict.fromkeys(_CHECKS, _bypass), dialect)


def _bypass(node: ir.Node, editor: Editor) -> Note | None:
    value = _CHECKS[node.op_type](node)
    if value is None or any(output.uses() for output in node.outputs[1:]):
        return None
    if not editor.can_forward(node.outputs[0], value):
        return kept(node, f"does nothing, but gives the graph's output {node.outputs[0].name}")
    editor.forward(node.outputs[0], value)
    return done(node, f"{node.op_type} that changes nothing removed")


def _identity(node: ir.Node) -> ir.Value | None:
    return operand(node, 0)


def _dropout(node: ir.Node) -> ir.Value | None:
    training = operand(node, 2)
    return operand(node, 0) if training is None or scalar_bool(training) is False else None


def scalar_bool(value: ir.Value) -> bool | None:
    """The truth value of a constant of one element."""
    found = tensor(value)
    return bool(found.numpy().reshape(-1)[0]) if found is not None and found.size == 1 else None


def _cast(node: ir.Node) -> ir.Value | None:
    x = operand(node, 0)
    return x if x is not None and x.dtype == node.attributes.get_int("to", 0) else None


def _same_shape(node: ir.Node) -> ir.Value | None:
    """Reshape, Expand, Squeeze, Tile ...: the same elements in the same order, the same shape."""
    x = operand(node, 0)
    return x if same_shape(x, node.outputs[0]) else None


def _reshape(node: ir.Node) -> ir.Value | None:
    x, shape = operand(node, 0), constant(operand(node, 1))
    known = dims(x)
    if known is None or shape is None or len(known) != len(shape):
        return _same_shape(node)
    copies = node.attributes.get_int("allowzero", 0) != 1
    pairs = zip(shape.tolist(), known, strict=True)
    other = [size for size, dim in pairs if not (size == dim or (size == 0 and copies))]
    same = not other or other == [-1]
    return x if same else _same_shape(node)


def _transpose(node: ir.Node) -> ir.Value | None:
    perm = node.attributes.get_ints("perm")
    return operand(node, 0) if perm is not None and list(perm) == sorted(perm) else None


def _pad(node: ir.Node) -> ir.Value | None:
    pads = ints(node, "pads", 1)
    return operand(node, 0) if pads is not None and not any(pads) else None


def _slice(node: ir.Node) -> ir.Value | None:
    """The whole of each axis: from 0 to its end (or beyond), in steps of 1."""
    x = operand(node, 0)
    starts, ends = ints(node, "starts", 1), ints(node, "ends", 2)
    if starts is None or ends is None or (given(node, "axes", 3) and ints(node, "axes", 3) is None):
        return None
    steps = ints(node, "steps", 4) if given(node, "steps", 4) else (1,)
    if steps is None or any(starts) or any(step != 1 for step in steps):
        return None
    axes = ints(node, "axes", 3) or range(len(starts))
    known = dims(x) or ()
    unbounded = 2**31 - 1
    for axis, end in zip(axes, ends, strict=False):
        size = known[axis] if -len(known) <= axis < len(known) else None
        if end < unbounded and not (isinstance(size, int) and end >= size):
            return None
    return x


def _single(node: ir.Node) -> ir.Value | None:
    """Concat, Sum, Max ... of one tensor."""
    return operand(node, 0) if len(node.inputs) == 1 else None


def _clip(node: ir.Node) -> ir.Value | None:
    x = operand(node, 0)
    if x is None or x.dtype not in FLOATS:
        return None
    low, high = (_bound(node, name, i) for i, name in ((1, "min"), (2, "max")))
    limit = float(np.finfo(np.float32).max)
    return x if low is not None and low <= -limit and high is not None and high >= limit else None


def _bound(node: ir.Node, name: str, index: int) -> float | None:
    """A bound of a Clip: an infinity where it is absent, None where it is computed."""
    if name in node.attributes:
        return node.attributes.get_float(name)
    value = operand(node, index)
    return scalar(value) if value is not None else float("-inf" if name == "min" else "inf")


def _neutral(node: ir.Node) -> ir.Value | None:
    """Give x for x + 0, x - 0, x * 1, x / 1, x ** 1 where the constant does not widen it."""
    found = split_constant(node)
    if found is None:
        return None
    x, value, position = found
    commutes = node.op_type in {"Add", "Mul"}
    array = tensor(value)
    if array is None or not (commutes or position == 1) or not broadcasts_into(static(array), x):
        return None
    neutral = 0 if node.op_type in {"Add", "Sub"} else 1
    if node.op_type == "Pow" and array.dtype != x.dtype:
        return None
    first = array.numpy().reshape(-1)[:1]
    return x if (first == neutral).all() and (array.numpy() == neutral).all() else None


def _where(node: ir.Node) -> ir.Value | None:
    """One side of a Where whose condition is the same everywhere."""
    condition = constant(operand(node, 0))
    if condition is None or condition.size == 0 or condition.min() != condition.max():
        return None
    side = operand(node, 1 if condition.reshape(-1)[0] else 2)
    return side if same_shape(side, node.outputs[0]) else None


def _flatten(node: ir.Node) -> ir.Value | None:
    x = operand(node, 0)
    axis = node.attributes.get_int("axis", 1)
    return x if rank(x) == 2 and axis in (1, -1) else None  # noqa: PLR2004 - it makes a matrix


_CHECKS = {
    "Add": _neutral,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _single,
    "Div": _neutral,
    "Dropout": _dropout,
    "Expand": _same_shape,
    "Flatten": _flatten,
    "Identity": _identity,
    "Max": _single,
    "Mean": _single,
    "Min": _single,
    "Mul": _neutral,
    "Pad": _pad,
    "Pow": _neutral,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _same_shape,
    "Sub": _neutral,
    "Sum": _single,
    "Tile": _same_shape,
    "Transpose": _transpose,
    "Unsqueeze": _same_shape,
    "Where": _where,
}
