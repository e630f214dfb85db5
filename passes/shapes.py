"""Shape inference, and the shape arithmetic that it makes unnecessary."""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ..toolchain.dialect import Dialect
from .dimension import Dimensions, Entry, Vector
from .edit import Editor
from .journal import Note, Noted, done
from .match import dims, is_op, operand, tensor

_INT32 = 2**31


class InferShapes(ir.passes.InPlacePass):
    """ONNX shape inference with data propagation; weights stay where they are."""

    name = "infer-shapes"

    def call(self, model: ir.Model) -> Noted:
        """Fill in types and shapes; what cannot be inferred stays as it is."""
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
        return Noted(model, modified=False)


class ComputeShapes(ir.passes.InPlacePass):
    """Replaces shape arithmetic by constants, as far as the dimensions are known.

    Where one dimension of a Reshape is free it becomes -1, and where it is the same as the
    input's at that place, 0: the arithmetic before it then has no reader.
    """

    name = "compute-shapes"

    def __init__(self, dialect: Dialect) -> None:
        self._opset_max = dialect.opset_max

    def call(self, model: ir.Model) -> Noted:
        """Evaluate all shape arithmetic in one walk."""
        editor = Editor(model, self._opset_max)
        known = Dimensions()
        notes = []
        for node in model.graph:
            note = _reshape(node, known, editor) if is_op(node, "Reshape") else None
            vector = known.visit(node)
            if vector is not None and vector.numbers is not None:
                note = _replace(node, vector, editor) or note
            if note is not None:
                notes.append(note)
        return Noted.of(model, notes)


def _replace(node: ir.Node, vector: Vector, editor: Editor) -> Note | None:
    """Replace a node whose output is known by a constant."""
    output = node.outputs[0]
    numbers = vector.numbers
    if output.is_graph_output() or output.dtype is None or numbers is None or not output.uses():
        return None
    if output.dtype is not ir.DataType.INT64 and any(abs(n) >= _INT32 for n in numbers):
        return None
    array = np.array(numbers, dtype=output.dtype.numpy())
    array = array.reshape(()) if vector.is_scalar else array
    name, output.name = output.name or "shape", None
    output.replace_all_uses_with(editor.lift(ir.tensor(array), name))
    editor.drop(node)
    return done(node, f"{node.op_type} is {array.tolist()}")


def _reshape(node: ir.Node, known: Dimensions, editor: Editor) -> Note | None:
    """Give a Reshape a constant shape, with -1 and 0 for what is free."""
    shape = known.of(operand(node, 1))
    if shape is None or tensor(operand(node, 1)) is not None or shape.is_scalar:
        return None
    if shape.numbers is None and node.attributes.get_int("allowzero", 0) == 1:
        return None
    target = _target(shape.entries, dims(operand(node, 0)) or ())
    if target is None:
        return None
    value = editor.initializer(np.array(target, dtype=np.int64), f"{node.outputs[0].name}.shape")
    editor.reroute(node, 1, value)
    return done(node, f"its shape is {target}")


def _target(entries: tuple[Entry, ...], source: tuple[int | str, ...]) -> list[int] | None:
    """The constant shape that means the same, or None where two dimensions stay free."""
    free = [
        axis
        for axis, entry in enumerate(entries)
        if not isinstance(entry, int)
        and not (isinstance(entry, str) and axis < len(source) and source[axis] == entry)
    ]
    inferred = sum(entry == -1 for entry in entries)
    if len(free) + inferred > 1:
        return None
    return [
        entry if isinstance(entry, int) else -1 if axis in free else 0
        for axis, entry in enumerate(entries)
    ]
