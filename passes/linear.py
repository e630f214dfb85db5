"""The constant weight and bias of a Conv, ConvTranspose, Gemm or MatMul, by channel."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .affine import Axis, Vector
from .edit import Editor
from .fold import GROWTH
from .match import Array, constant, is_op, operand, rank, static, tensor

CONVS = ("Conv", "ConvTranspose")
_MATRIX = 2
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear node with a constant weight, which is loaded only when it is rewritten.

    Attributes:
        node: The node.
        shape: Of the weight: (out, in / groups, ...) of a Conv, (in, out / groups, ...) of a
            ConvTranspose, (in, out) of a MatMul or Gemm, (out, in) of a Gemm with `transB`.
        groups: Groups of a convolution.
    """

    node: ir.Node
    shape: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, node: ir.Node) -> "Linear | str":
        """Look at a node; the text says why its weight and bias cannot be rewritten."""
        weight, bias = tensor(operand(node, 1)), operand(node, 2)
        if weight is None:
            return "its weight is computed at run time"
        if weight.dtype not in _TYPES:
            return f"its weight is {weight.dtype.name.lower()}"
        if not is_op(node, *CONVS) and len(static(weight)) != _MATRIX:
            return "its weight is not a matrix"
        old = tensor(bias)
        if bias is not None and old is None:
            return "its bias is computed at run time"
        if old is not None and old.size not in (1, *static(old)[-1:]):
            return "its bias is not one number a channel"
        return cls(node, static(weight), node.attributes.get_int("group", 1))

    @property
    def into(self) -> Axis:
        """The channels of the input."""
        if is_op(self.node, "Conv"):
            return Axis(1, len(self.shape), self.shape[1] * self.groups)
        if is_op(self.node, "ConvTranspose"):
            return Axis(1, len(self.shape), self.shape[0])
        return Axis(-1, rank(operand(self.node, 0)), self.shape[self._in_axis])

    @property
    def out(self) -> Axis:
        """The channels of the output."""
        if is_op(self.node, "Conv"):
            return Axis(1, len(self.shape), self.shape[0])
        if is_op(self.node, "ConvTranspose"):
            return Axis(1, len(self.shape), self.shape[1] * self.groups)
        return Axis(-1, rank(self.node.outputs[0]), self.shape[1 - self._in_axis])

    def grouped(self) -> Array:
        """The weight in float64, shape (groups, inputs a group, outputs a group, taps)."""
        weight = self._weight()
        if is_op(self.node, "Conv"):
            weight = weight.swapaxes(1, 2)
        elif not is_op(self.node, *CONVS):
            weight = (weight.T if self._in_axis else weight)[None]
        return weight.reshape(*weight.shape[:3], -1)

    def then(self, scale: Vector, shift: Vector, editor: Editor) -> str:
        """Let the node compute `scale * y + shift` of what it computed.

        Returns:
            Why it cannot, or an empty text.
        """
        weight = self._weight() * self._by_output(scale)
        return self._store(weight.reshape(self.shape), self._bias() * scale + shift, editor)

    def after(self, scale: Vector, shift: Vector, editor: Editor) -> str:
        """Let the node compute the same of x as it did of `scale * x + shift`; see `then`."""
        weight, grid = self._weight(), self._by_input(scale)
        moved = weight * self._by_input(shift) * self.node.attributes.get_float("alpha", 1.0)
        keep = (0, 1) if is_op(self.node, "Conv") else (1 - self._in_axis,)
        others = tuple(axis for axis in range(weight.ndim) if axis not in keep)
        bias = self._bias()
        if shift.any():
            bias = bias + moved.sum(axis=others).reshape(-1)
        return self._store((weight * grid).reshape(self.shape), bias, editor)

    @property
    def _in_axis(self) -> int:
        return 1 if self.node.attributes.get_int("transB", 0) else 0

    def _weight(self) -> Array:
        """The weight in float64; that of a convolution with an axis of groups in front."""
        array = constant(operand(self.node, 1))
        weight = np.asarray(array, dtype=np.float64)
        grouped = (self.groups, -1, *self.shape[1:])
        return weight.reshape(grouped) if is_op(self.node, *CONVS) else weight

    def _by_output(self, vector: Vector) -> Array:
        """One number an output channel, shaped to be multiplied with `_weight`."""
        tail = (1,) * (len(self.shape) - 2)
        if is_op(self.node, "Conv"):
            return vector.reshape(self.groups, -1, 1, *tail)
        if is_op(self.node, "ConvTranspose"):
            return vector.reshape(self.groups, 1, -1, *tail)
        return vector.reshape((-1, 1) if self._in_axis else (1, -1))

    def _by_input(self, vector: Vector) -> Array:
        """One number an input channel, shaped to be multiplied with `_weight`."""
        tail = (1,) * (len(self.shape) - 2)
        if is_op(self.node, "Conv"):
            return vector.reshape(self.groups, 1, -1, *tail)
        if is_op(self.node, "ConvTranspose"):
            return vector.reshape(self.groups, -1, 1, *tail)
        return vector.reshape((1, -1) if self._in_axis else (-1, 1))

    def _bias(self) -> Vector:
        """One number an output channel; a Gemm's beta is in it."""
        channels = self.out.channels
        array = constant(operand(self.node, 2))
        if array is None:
            return np.zeros(channels)
        bias = np.broadcast_to(array.reshape(-1).astype(np.float64), (channels,))
        return bias * self.node.attributes.get_float("beta", 1.0)

    def _store(self, weight: Array, bias: Vector, editor: Editor) -> str:
        """Write weight and bias in the type of the old ones; the reason where they must not be."""
        old = operand(self.node, 1)
        found = tensor(old)
        if old is None or found is None:
            return "it has no weight"
        with np.errstate(over="ignore", invalid="ignore"):
            new_weight = weight.astype(found.dtype.numpy())
            new_bias = bias.astype(found.dtype.numpy())
        if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
            return f"the weight or bias would overflow {found.dtype.name.lower()}"
        if not np.array_equal(new_weight, found.numpy()):
            if len(old.uses()) > 1 and new_weight.nbytes > GROWTH:
                return f"{old.name} is shared, and a copy adds {new_weight.nbytes / 2**20:.1f} MiB"
            editor.set_constant(self.node, 1, new_weight, f"{self.node.outputs[0].name}.weight")
        if operand(self.node, 2) is not None or new_bias.any():
            editor.set_constant(self.node, 2, new_bias, f"{self.node.outputs[0].name}.bias")
            self.node.attributes.pop("beta", None)
        return ""
