"""Where the scale of a channel can be moved: from what writes it to the linear nodes that read it.

A positive factor on a channel passes unchanged through ReLU, pooling and additions whose other
operand has the same factor. So the tensors that such nodes tie together share one factor a channel:
it is divided out where they are written, and multiplied back where linear nodes read them.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .affine import Vector
from .edit import Editor
from .linear import CONVS, Linear
from .match import constant, is_op, operand, split_constant

LINEAR = (*CONVS, "Gemm", "MatMul")
_NORM_CONSTANTS = (1, 2)  # ONNX LayerNormalization: X, scale, B


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """Tensors that share one factor a channel.

    Attributes:
        axis: Their channel axis, counted from the end.
        channels: How many channels they have.
        writers: The nodes that their values come from: linear, LayerNormalization or a Mul by a
            constant.
        shifts: Additions of constants, which are divided, too.
        readers: The linear nodes that read them.
    """

    axis: int
    channels: int
    writers: tuple[ir.Node, ...]
    shifts: tuple[ir.Node, ...]
    readers: tuple[Linear, ...]

    @property
    def name(self) -> str:
        """The first tensor that is read."""
        return self.tensors[0]

    @property
    def tensors(self) -> tuple[str, ...]:
        """What each of the readers reads."""
        return tuple(
            str(reader.node.inputs[0].name) for reader in self.readers if reader.node.inputs[0]
        )

    def read_magnitude(self) -> Vector:
        """The largest weight of each channel in any reader; shape (channels,)."""
        largest: Vector = np.max([_by_input(reader) for reader in self.readers], axis=0)
        return largest

    def written_magnitude(self) -> Vector | None:
        """The largest weight of each channel in any writer; None where one is not linear."""
        found = [Linear.of(writer) for writer in self.writers if is_op(writer, *LINEAR)]
        linear = [writer for writer in found if isinstance(writer, Linear)]
        if len(linear) < len(self.writers):
            return None
        largest: Vector = np.max([_by_output(writer) for writer in linear], axis=0)
        return largest

    def rescale(self, factors: Vector, editor: Editor) -> None:
        """Divide each channel by its factor, and let the readers multiply it back.

        Args:
            factors: Positive; shape (channels,).
            editor: Of the graph that the link was found in.
        """
        none = np.zeros(self.channels)
        for writer in self.writers:
            linear = Linear.of(writer) if is_op(writer, *LINEAR) else ""
            if isinstance(linear, Linear):
                linear.then(1 / factors, none, editor)
            else:
                _divide(writer, factors, self.axis, editor)
        for shift in self.shifts:
            _divide(shift, factors, self.axis, editor)
        for reader in self.readers:
            reader.after(factors, none, editor)


def _input(linear: Linear) -> str:
    """The name of what a linear node reads."""
    value = linear.node.inputs[0]
    return str(value.name) if value is not None else ""


def _by_input(linear: Linear) -> Vector:
    largest: Vector = np.abs(linear.grouped()).max(axis=(2, 3), initial=0.0).reshape(-1)
    return largest


def _by_output(linear: Linear) -> Vector:
    largest: Vector = np.abs(linear.grouped()).max(axis=(1, 3), initial=0.0).reshape(-1)
    return largest


def _divide(node: ir.Node, factors: Vector, axis: int, editor: Editor) -> None:
    """Divide the constants of a LayerNormalization, Mul, Add or Sub."""
    found = split_constant(node) if is_op(node, "Mul", "Add", "Sub") else None
    indices = (found[2],) if found is not None else _NORM_CONSTANTS
    spread = factors.reshape(-1, *[1] * (-axis - 1))
    for index in indices:
        array = constant(operand(node, index))
        if array is not None:
            divided = (array / spread).astype(array.dtype)
            editor.set_constant(node, index, divided, f"{node.outputs[0].name}.scaled")
