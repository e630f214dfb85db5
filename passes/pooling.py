"""A mean over all of the image becomes the pooling op that integer runtimes have."""

import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Note, done, kept
from .match import ints, operand, rank
from .rule import RulePass

_IMAGE = 4
"""The rank of a batch of images."""
_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})


def use_global_pooling(dialect: Dialect) -> RulePass:
    """The pass that writes ReduceMean over height and width as GlobalAveragePool.

    ONNX Runtime has an int8 kernel for the latter only.
    """
    return RulePass("use-global-pooling", {"ReduceMean": _reduce_mean}, dialect)


def _reduce_mean(node: ir.Node, editor: Editor) -> Note | None:
    x, axes = operand(node, 0), ints(node, "axes", 1)
    if x is None or axes is None or len(axes) != _IMAGE - 2 or x.dtype not in _TYPES:
        return None
    if rank(x) is None:
        return kept(node, "no GlobalAveragePool: the rank of its input is not known")
    if rank(x) != _IMAGE or {axis % _IMAGE for axis in axes} != {2, 3}:
        return None
    if node.attributes.get_int("keepdims", 1):
        editor.become(node, "GlobalAveragePool", [x])
        return done(node, "mean over the image is GlobalAveragePool")
    shape = ir.Shape([*(x.shape or ())[:2], 1, 1])
    pooled = ir.Value(name=f"{node.outputs[0].name}.pooled", type=x.type, shape=shape)
    pool = ir.node("GlobalAveragePool", [x], outputs=[pooled], name=node.name)
    editor.insert_before(node, pool)
    node.name = f"{node.name}.flat"
    editor.become(node, "Flatten", [pooled], {"axis": 1})
    return done(pool, "mean over the image is GlobalAveragePool and Flatten")
