"""The LayerNormalization that an exporter wrote as means, squares and a root."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Note, done, kept
from .match import (
    close,
    dims,
    ints,
    is_op,
    made_by,
    operand,
    rank,
    scalar,
    sole_user,
    split_constant,
    static,
    tensor,
)
from .rule import RulePass

_LAYER_NORM = 17
"""The opset that brought the op."""


def name_layer_norms(dialect: Dialect) -> RulePass:
    """The pass that writes (x - mean) / sqrt(variance + epsilon) * scale + bias as one op."""
    return RulePass("name-layer-norms", {"Div": _layer_norm, "Mul": _layer_norm}, dialect)


@dataclass(frozen=True, slots=True)
class _Norm:
    x: ir.Value
    axis: int
    epsilon: float


def _layer_norm(node: ir.Node, editor: Editor) -> Note | None:
    norm = _normalised(node)
    if norm is None:
        return None
    if not editor.allows(_LAYER_NORM):
        return kept(node, f"no LayerNormalization before opset {_LAYER_NORM}")
    length = (dims(norm.x) or ("?",))[-1]
    if not isinstance(length, int):
        return kept(node, "no LayerNormalization: the length of its last axis is not known")
    last, scale = _affine(node, "Mul", length)
    last, bias = _affine(last, "Add", length)
    if scale is None:
        dtype = norm.x.dtype or ir.DataType.FLOAT
        scale = editor.initializer(np.ones(length, dtype.numpy()), f"{last.outputs[0].name}.scale")
    inputs = [norm.x, scale] if bias is None else [norm.x, scale, bias]
    editor.become(last, "LayerNormalization", inputs, {"axis": -1, "epsilon": norm.epsilon})
    return done(last, "means, squares and root are LayerNormalization")


def ends_layer_norm(node: ir.Node) -> bool:
    """Whether a node is the scale or the bias of a LayerNormalization that is still in pieces."""
    found = split_constant(node) if is_op(node, "Add", "Mul") else None
    inner = made_by(found[0], "Mul", "Div") if found is not None else None
    if found is None or inner is None:
        return False
    return _normalised(inner) is not None or (is_op(node, "Add") and ends_layer_norm(inner))


def _affine(node: ir.Node, op: str, length: int) -> tuple[ir.Node, ir.Value | None]:
    """The sole reader that multiplies by (adds) one number a channel, and these numbers."""
    user = sole_user(node.outputs[0])
    found = split_constant(user) if user is not None and is_op(user, op) else None
    array = tensor(found[1]) if found is not None else None
    if user is None or found is None or array is None or static(array) != (length,):
        return node, None
    return user, found[1]


def _normalised(node: ir.Node) -> _Norm | None:
    """Read d / sqrt(mean(d * d) + epsilon), with d = x - mean(x), over the last axis."""
    centred, root = operand(node, 0), _root(node)
    sub = made_by(centred, "Sub")
    if sub is None or root is None or centred is None:
        return None
    x, mean = operand(sub, 0), made_by(operand(sub, 1), "ReduceMean")
    if x is None or mean is None or operand(mean, 0) is not x or not _last_axis(mean):
        return None
    add = made_by(operand(root, 0), "Add")
    found = split_constant(add) if add is not None else None
    epsilon = scalar(found[1]) if found is not None else None
    variance = made_by(found[0], "ReduceMean") if found is not None else None
    if epsilon is None or variance is None or not _last_axis(variance):
        return None
    return _Norm(x, -1, epsilon) if _square_of(operand(variance, 0)) is centred else None


def _root(node: ir.Node) -> ir.Node | None:
    """The Sqrt of `d / sqrt(v)` or of `d * (1 / sqrt(v))`."""
    if is_op(node, "Div"):
        return made_by(operand(node, 1), "Sqrt")
    inverse = made_by(operand(node, 1), "Reciprocal")
    return made_by(operand(inverse, 0), "Sqrt") if inverse is not None else None


def _square_of(value: ir.Value | None) -> ir.Value | None:
    """The d of d * d or d ** 2."""
    power = made_by(value, "Pow")
    if power is not None:
        return operand(power, 0) if close(scalar(operand(power, 1)), 2) else None
    product = made_by(value, "Mul")
    if product is None or operand(product, 0) is not operand(product, 1):
        return None
    return operand(product, 0)


def _last_axis(node: ir.Node) -> bool:
    axes, known = ints(node, "axes", 1), rank(operand(node, 0))
    last = (-1,) if known is None else (-1, known - 1)
    return (
        axes is not None
        and len(axes) == 1
        and axes[0] in last
        and node.attributes.get_int("keepdims", 1) == 1
    )
