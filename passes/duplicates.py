"""Nodes that compute the same from the same are merged into the first of them."""

from collections.abc import Hashable

import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Noted, done, kept
from .match import OPAQUE, tensor

_SMALL = 256
"""Constants up to this many bytes are compared by value, larger ones by identity."""


class MergeDuplicates(ir.passes.InPlacePass):
    """Value numbering over the main graph, in one walk.

    Constants are compared by value but never merged: a bias that two kernels share would need one
    scale for both. Ops of other domains may have state, so they are left alone.
    """

    name = "merge-duplicates"

    def __init__(self, dialect: Dialect) -> None:
        self._opset_max = dialect.opset_max

    def call(self, model: ir.Model) -> Noted:
        """Merge each duplicate into the first node that computes the same."""
        editor = Editor(model, self._opset_max)
        first: dict[Hashable, ir.Node] = {}
        notes = []
        for node in model.graph:
            key = _key(node)
            if key is None:
                continue
            same = first.setdefault(key, node)
            if same is node:
                continue
            pairs = list(zip(node.outputs, same.outputs, strict=True))
            if all(editor.can_forward(old, new) for old, new in pairs):
                for old, new in pairs:
                    if old.is_graph_output():
                        editor.rename(new, old)
                    old.replace_all_uses_with(new, replace_graph_outputs=True)
                editor.drop(node)
                notes.append(done(node, f"same as {same.name}: merged"))
            else:
                notes.append(kept(node, f"same as {same.name}, but both are graph outputs"))
        return Noted.of(model, notes)


def _key(node: ir.Node) -> Hashable | None:
    """What the node computes; None where it must not be merged."""
    if node.domain != "" or node.op_type in OPAQUE or not node.inputs:
        return None
    attributes = []
    for name, attribute in sorted(node.attributes.items()):
        value = _attribute(attribute)
        if value is None:
            return None
        attributes.append((name, value))
    shown = tuple(bool(output.name) for output in node.outputs)
    return node.op_type, shown, tuple(map(_operand, node.inputs)), tuple(attributes)


def _operand(value: ir.Value | None) -> Hashable:
    found = tensor(value)
    if found is None or found.nbytes > _SMALL or found.dtype is ir.DataType.STRING:
        return id(value) if value is not None else None
    return found.dtype, tuple(found.shape), found.tobytes()


def _attribute(attribute: ir.Attr) -> Hashable | None:
    """The attribute's value as a key; None where it is a graph, a reference or large."""
    kinds = ir.AttributeType
    if attribute.is_ref():
        return None
    if attribute.type in (kinds.INT, kinds.STRING):
        return repr(attribute.value)
    if attribute.type is kinds.FLOAT:
        return repr(attribute.value)  # tells -0.0 from 0.0
    if attribute.type in (kinds.INTS, kinds.FLOATS, kinds.STRINGS):
        return repr(tuple(attribute.value))
    if attribute.type is kinds.TENSOR:
        found = attribute.as_tensor()
        if found.nbytes <= _SMALL and found.dtype is not ir.DataType.STRING:
            return found.dtype, tuple(found.shape), found.tobytes()
    return None
