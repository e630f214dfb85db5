"""Transposes that cancel, and chains of nodes that only rename the axes."""

import numpy as np
import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Note, done, kept
from .match import (
    Dims,
    called,
    constant,
    dims,
    ints,
    made_by,
    operand,
    rank,
    same_shape,
    seen_by,
    sole_user,
)
from .rule import RulePass

# They compute each element from the same element of one input, so a transpose commutes with them.
UNARY = frozenset(
    {
        *("Abs", "Cast", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"),
        *("HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu"),
        *("Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh"),
    }
)
_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_SOFTMAX_ON_ONE_AXIS = 13
"""The opset since which Softmax has one axis; before, it flattened to a matrix."""


def simplify_layout(dialect: Dialect) -> RulePass:
    """The pass that merges consecutive transposes and consecutive reshapes."""
    rules = {"Transpose": _transpose, "Reshape": _reshape, "Squeeze": _squeeze}
    return RulePass("simplify-layout", rules, dialect)


def _transpose(node: ir.Node, editor: Editor) -> Note | None:
    """Merge a transpose into the one before it, past element-wise nodes with no other reader."""
    between, first = _transpose_before(node)
    x = operand(first, 0) if first is not None else None
    inner, outer = _perm(first), _perm(node)
    if first is None or x is None or inner is None or outer is None or len(inner) != len(outer):
        return None
    merged = [inner[axis] for axis in outer]
    cancels = merged == sorted(merged)
    if sole_user(first.outputs[0]) is None and (between or not cancels):
        return kept(node, f"not merged with {called(first)}: {seen_by(first.outputs[0])}")
    if between:
        editor.reroute(between[-1], 0, x)
        for moved in between:
            moved.outputs[0].shape = x.shape
            moved.outputs[0].name = editor.unique(f"{moved.outputs[0].name}.moved")
        editor.become(node, "Transpose", [node.inputs[0]], {"perm": merged})
        return done(node, f"merged with {called(first)} over {len(between)} element-wise nodes")
    if not cancels:
        editor.become(node, "Transpose", [x], {"perm": merged})
    elif editor.can_forward(node.outputs[0], x):
        editor.forward(node.outputs[0], x)
    else:
        return kept(node, f"cancels with {called(first)}, but gives an output of the graph")
    return done(node, f"{'cancels' if cancels else 'merged'} with {called(first)}")


def _transpose_before(node: ir.Node) -> tuple[list[ir.Node], ir.Node | None]:
    """The transpose that feeds a node, and the element-wise nodes between them, last first."""
    between: list[ir.Node] = []
    value = operand(node, 0)
    while value is not None and (inner := made_by(value, *UNARY)) is not None:
        if sole_user(value) is None:
            return between, None
        between.append(inner)
        value = operand(inner, 0)
    return between, made_by(value, "Transpose")


def _perm(node: ir.Node | None) -> list[int] | None:
    if node is None:
        return None
    if "perm" in node.attributes:
        return list(node.attributes["perm"].as_ints())
    known = rank(operand(node, 0))
    return None if known is None else list(reversed(range(known)))


def _reshape(node: ir.Node, editor: Editor) -> Note | None:
    return _past_softmax(node, editor) or _merge_reshape(node, editor)


def _merge_reshape(node: ir.Node, editor: Editor) -> Note | None:
    """Let a Reshape with a constant shape read what the reshape before it read."""
    middle, shape = operand(node, 0), constant(operand(node, 1))
    before = made_by(middle, *_RESHAPES)
    x = operand(before, 0) if before is not None else None
    if before is None or x is None or middle is None or shape is None or sole_user(middle) is None:
        return None
    if node.attributes.get_int("allowzero", 0) == 1:
        return None
    target = _target(shape.tolist(), dims(middle) or (), dims(x) or ())
    if target is None:
        return kept(node, f"not merged with {called(before)}: a size that it copies is not known")
    value = operand(node, 1)
    if target != shape.tolist():
        value = editor.initializer(
            np.array(target, dtype=np.int64), f"{node.outputs[0].name}.shape"
        )
    editor.become(node, "Reshape", [x, value])
    return done(node, f"merged with {called(before)}")


def _target(shape: list[int], middle: Dims, x: Dims) -> list[int] | None:
    """The same target for an input of shape `x`: there, 0 copies another size."""
    target = list(shape)
    for axis, size in enumerate(shape):
        dim = middle[axis] if axis < len(middle) else None
        if size != 0 or (axis < len(x) and x[axis] == dim):
            continue
        if isinstance(dim, int) and dim != 0:
            target[axis] = dim
        elif -1 in target:
            return None
        else:
            target[axis] = -1
    return target


def _past_softmax(node: ir.Node, editor: Editor) -> Note | None:
    """Flatten, Softmax over the last axis, Reshape back: the Softmax alone."""
    middle = operand(node, 0)
    softmax = made_by(middle, "Softmax", "LogSoftmax")
    flat = operand(softmax, 0) if softmax is not None else None
    before = made_by(flat, "Flatten", "Reshape")
    if softmax is None or before is None or middle is None or flat is None:
        return None
    x, axis = operand(before, 0), softmax.attributes.get_int("axis", -1)
    on_rows = axis in (-1, (rank(flat) or 0) - 1) and _keeps_rows(before, x, flat)
    if x is None or editor.opset < _SOFTMAX_ON_ONE_AXIS or not on_rows or not _restores(node, x):
        return None
    if sole_user(middle) is None or sole_user(flat) is None:
        return kept(node, f"{called(before)} stays: {seen_by(flat)}")
    what = f"{called(before)} and {called(node)}"
    softmax.attributes.add(ir.AttrInt64("axis", -1))
    editor.reroute(softmax, 0, x)
    editor.absorb(node, into=softmax)
    return done(softmax, f"{what} around it removed")


def _keeps_rows(before: ir.Node, x: ir.Value | None, flat: ir.Value) -> bool:
    """Whether the last axis comes through a Flatten or Reshape as it was."""
    known = rank(x)
    axis = before.attributes.get_int("axis", 1)
    if before.op_type == "Flatten" and known is not None and axis in (-1, known - 1):
        return True
    return bool(known) and (dims(x) or ("",))[-1] == (dims(flat) or (None,))[-1]


def _restores(node: ir.Node, x: ir.Value) -> bool:
    """Whether a Reshape gives back the shape of `x`."""
    shape_of = made_by(operand(node, 1), "Shape")
    if shape_of is not None and operand(shape_of, 0) is x and not shape_of.attributes:
        return True
    return same_shape(x, node.outputs[0])


def _squeeze(node: ir.Node, editor: Editor) -> Note | None:
    """Squeeze of the axes that an Unsqueeze has just added."""
    middle = operand(node, 0)
    before = made_by(middle, "Unsqueeze")
    if before is None or middle is None:
        return None
    axes, added = ints(node, "axes", 1), ints(before, "axes", 1)
    x = operand(before, 0)
    if axes is None or x is None or axes != added or not editor.can_forward(node.outputs[0], x):
        return None
    editor.forward(node.outputs[0], x)
    return done(node, f"cancels with {called(before)}")
