"""BatchNormalization and constant arithmetic around a Conv or a Gemm move into its weights."""

import numpy as np
import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .affine import OPS, Affine, read
from .edit import Editor
from .gelu import gelu_input
from .journal import Note, Outcome, done, kept, left
from .layernorm import ends_layer_norm
from .linear import CONVS, Linear
from .match import called, is_op, operand, rank, seen_by, sole_user, split_constant, tensor
from .rule import RulePass

_MATRIX = 2


def fuse_affine(dialect: Dialect) -> RulePass:
    """The pass that makes Conv, ConvTranspose, Gemm and MatMul absorb their affine neighbours.

    The node keeps its name and takes the name of the last tensor. A shared weight is copied, a
    tensor that something else reads is not touched. Arithmetic is in float64.
    """
    return RulePass("fuse-affine", dict.fromkeys((*CONVS, "Gemm", "MatMul"), _fuse), dialect)


def _fuse(node: ir.Node, editor: Editor) -> Note | None:
    after = _after(node, editor)
    if after is not None and after.outcome is Outcome.DONE:
        return after
    before = _before(node, editor)
    return before if before is not None and before.outcome is Outcome.DONE else after or before


def _after(node: ir.Node, editor: Editor) -> Note | None:
    """Absorb the affine node that alone reads the output."""
    user = sole_user(node.outputs[0])
    if user is None:
        return _shared(node.outputs[0], node)
    if not _is_affine(user) or _is_attention(node):
        return None
    what = f"the {called(user)} after it"
    linear = Linear.of(node)
    affine = read(user, linear.out) if isinstance(linear, Linear) else linear
    if isinstance(affine, str) or isinstance(linear, str):
        return kept(node, f"{what} not absorbed: {affine}")
    if is_op(node, "MatMul") and affine.shift.any():
        if rank(operand(node, 0)) != _MATRIX:
            return left(node, f"{what}: a Gemm has two axes; the runtime adds the bias itself")
        editor.become(node, "Gemm", list(node.inputs))
    why = linear.then(affine.scale, affine.shift, editor)
    if why:
        return kept(node, f"{what} not absorbed: {why}")
    editor.absorb(user, into=node)
    return done(node, f"absorbed {what}")


def _shared(output: ir.Value, node: ir.Node) -> Note | None:
    """Say so where a BatchNormalization is not the only reader."""
    norms = [use.node for use in output.uses() if is_op(use.node, "BatchNormalization")]
    return kept(node, f"{called(norms[0])} not absorbed: {seen_by(output)}") if norms else None


def _before(node: ir.Node, editor: Editor) -> Note | None:
    """Absorb the affine node that alone feeds the input."""
    x = operand(node, 0)
    maker = x.producer() if x is not None else None
    if x is None or maker is None or not _is_affine(maker):
        return None
    linear = Linear.of(node)
    affine = read(maker, linear.into) if isinstance(linear, Linear) else linear
    if isinstance(affine, str) or isinstance(linear, str):
        return None
    what = f"the {called(maker)} before it"
    why = _obstacle(node, x, affine) or linear.after(affine.scale, affine.shift, editor)
    if not why:
        editor.reroute(node, 0, affine.x)
        return done(node, f"absorbed {what}")
    return _swap(linear, maker, affine, editor) or kept(node, f"{what} not absorbed: {why}")


def _swap(linear: Linear, add: ir.Node, affine: Affine, editor: Editor) -> Note | None:
    """Before a padded Conv, write s x + b as s (x + b / s), of which the Conv absorbs s."""
    node, x = linear.node, operand(linear.node, 0)
    scaling = affine.x.producer()
    if (
        not is_op(node, "Conv")
        or x is None
        or sole_user(x) is None
        or not (affine.scale == 1).all()
    ):
        return None
    if scaling is None or not _is_affine(scaling) or sole_user(affine.x) is not add:
        return None
    inner = read(scaling, linear.into)
    if isinstance(inner, str) or not inner.scale.all() or not is_op(add, "Add"):
        return None
    found = split_constant(add)
    dtype = tensor(found[1]) if found is not None else None
    shift = (inner.shift + affine.shift) / inner.scale
    if dtype is None or not np.isfinite(narrow := shift.astype(dtype.dtype.numpy())).all():
        return None
    if linear.after(inner.scale, np.zeros_like(shift), editor):
        return None
    what = called(scaling)
    shape = (1, -1, *(1,) * (len(linear.shape) - 2))
    value = editor.initializer(narrow.reshape(shape), f"{x.name}.shift")
    editor.become(add, "Add", [inner.x, value])
    x.name = editor.unique(f"{x.name}.unscaled")
    return done(node, f"absorbed the scale of {what} before it, past {called(add)}")


def _is_affine(node: ir.Node) -> bool:
    """Whether a node maps one computed tensor with constants only."""
    return is_op(node, "BatchNormalization") or (
        is_op(node, *OPS) and split_constant(node) is not None
    )


def _is_attention(node: ir.Node) -> bool:
    """Whether a node multiplies two computed tensors, as attention does."""
    return is_op(node, "MatMul") and tensor(operand(node, 1)) is None


def _obstacle(node: ir.Node, x: ir.Value, affine: Affine) -> str:
    """Why an affine map must stay before a node; empty where it need not."""
    maker = x.producer()
    if sole_user(x) is None:
        return seen_by(x)
    if maker is not None and gelu_input(maker) is not None:
        return "it ends a Gelu, which the runtime fuses"
    if maker is not None and ends_layer_norm(maker):
        return "it ends a LayerNormalization, which the runtime fuses"
    if node.attributes.get_int("transA", 0):
        return "the Gemm transposes it"
    return _shift_obstacle(node) if affine.shift.any() else ""


def _shift_obstacle(node: ir.Node) -> str:
    if is_op(node, "ConvTranspose"):
        return "a shift does not reach all outputs of a ConvTranspose equally"
    if is_op(node, "MatMul"):
        return "a MatMul has no bias for the shift"
    pads = any(node.attributes.get_ints("pads", ()))
    padded = pads or node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return "the Conv pads with zeros, which the shift would not reach" if padded else ""
