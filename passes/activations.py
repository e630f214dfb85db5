"""Activations that exporters write in pieces, as the one op that ONNX has for them."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .gelu import gelu_input
from .journal import Note, done, left
from .match import (
    FLOATS,
    by_scalar,
    close,
    is_op,
    made_by,
    operand,
    scalar,
    sole_user,
)
from .rule import RulePass

_HARD_SWISH = 14
_GELU = 20
"""The opsets that brought the ops."""


def name_activations(dialect: Dialect) -> RulePass:
    """The pass that writes HardSigmoid, HardSwish and, where the target wants it, Gelu as one op.

    Gelu stays an Erf chain, which the runtimes fuse, unless the dialect lists `Gelu` among the
    activations that a kernel absorbs. For x * Sigmoid(x) ONNX has no op before opset 24.
    """
    as_one_op = "Gelu" in dialect.fused_activations

    def product(node: ir.Node, editor: Editor) -> Note | None:
        if (x := gelu_input(node)) is not None:
            return _gelu(node, x, editor, as_one_op=as_one_op)
        return _hard_swish(node, editor) or _hard_sigmoid(node, editor)

    rules = {"Mul": product, "Div": product, "Clip": _hard_sigmoid}
    return RulePass("name-activations", rules, dialect)


@dataclass(frozen=True, slots=True)
class _Ramp:
    """`scale * clip(slope * x + offset, 0, top)`; the piecewise linear part of both."""

    x: ir.Value
    slope: float
    offset: float
    top: float

    def scaled(self, factor: float) -> "_Ramp":
        return _Ramp(self.x, self.slope * factor, self.offset * factor, self.top * factor)


def _ramp(value: ir.Value | None) -> _Ramp | None:
    """Read a ramp from a Clip between 0 and a constant, or from a HardSigmoid."""
    hard = made_by(value, "HardSigmoid")
    if hard is not None and (x := operand(hard, 0)) is not None:
        alpha = hard.attributes.get_float("alpha", 0.2)
        return _Ramp(x, alpha, hard.attributes.get_float("beta", 0.5), 1.0)
    clip = made_by(value, "Clip")
    if clip is None:
        return None
    low, top = (
        clip.attributes.get_float(name) if name in clip.attributes else scalar(operand(clip, i))
        for i, name in ((1, "min"), (2, "max"))
    )
    inner = operand(clip, 0)
    if low != 0 or top is None or inner is None or inner.dtype not in FLOATS:
        return None
    return _line(inner, top)


def _line(value: ir.Value, top: float) -> _Ramp | None:
    """Read `slope * x + offset` from the one or two nodes before a Clip."""
    slope, offset, x = 1.0, 0.0, value
    add = made_by(value, "Add", "Sub")
    if add is not None and (found := by_scalar(add)) is not None:
        x, number = found
        offset = number if add.op_type == "Add" else -number
    mul = made_by(x, "Mul", "Div")
    if mul is not None and sole_user(x) is not None and (found := by_scalar(mul)) is not None:
        x, number = found
        slope = number if mul.op_type == "Mul" else 1 / number
    return _Ramp(x, slope, offset, top)


def _hard_swish(node: ir.Node, editor: Editor) -> Note | None:
    """Write x * clip(x + 3, 0, 6) / 6, in any order, and x * HardSigmoid(x) as HardSwish."""
    value, factor = node.outputs[0], 1.0
    product: ir.Node | None = node
    found = by_scalar(node)
    if found is not None:
        value, factor = found[0], 1 / found[1] if node.op_type == "Div" else found[1]
        product = made_by(value, "Mul") if sole_user(value) is not None else None
    if product is None or not is_op(product, "Mul") or not editor.allows(_HARD_SWISH):
        return None
    for a, b in ((0, 1), (1, 0)):
        x, ramp = operand(product, a), _gate(operand(product, b))
        if ramp is None or ramp.x is not x:
            continue
        ramp = ramp.scaled(factor)
        if close(ramp.slope, 1 / 6) and close(ramp.offset, 0.5) and close(ramp.top, 1):
            editor.become(node, "HardSwish", [x])
            return done(node, "x * clip(x + 3, 0, 6) / 6 is HardSwish")
    return None


def _gate(value: ir.Value | None) -> _Ramp | None:
    """A ramp, perhaps times a constant."""
    scaled = made_by(value, "Mul", "Div")
    found = by_scalar(scaled) if scaled is not None else None
    if scaled is None or found is None:
        return _ramp(value)
    ramp = _ramp(found[0])
    factor = 1 / found[1] if scaled.op_type == "Div" else found[1]
    return None if ramp is None else ramp.scaled(factor)


def _hard_sigmoid(node: ir.Node, editor: Editor) -> Note | None:
    """Write clip(a x + b, 0, c) / c as HardSigmoid; a plain Clip between 0 and 1 stays one."""
    ramp = _gate(node.outputs[0])
    if ramp is None or not close(ramp.top, 1) or ramp.x is operand(node, 0):
        return None
    slope, offset = float(np.float32(ramp.slope)), float(np.float32(ramp.offset))
    editor.become(node, "HardSigmoid", [ramp.x], {"alpha": slope, "beta": offset})
    return done(node, f"clip({slope:.6g} x + {offset:.6g}, 0, 1) is HardSigmoid")


def _gelu(node: ir.Node, x: ir.Value, editor: Editor, *, as_one_op: bool) -> Note:
    if not (as_one_op and editor.allows(_GELU)):
        return left(node, "Gelu as an Erf chain")
    editor.become(node, "Gelu", [x])
    return done(node, "x * (1 + erf(x / sqrt 2)) / 2 is Gelu")
