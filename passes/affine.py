"""`scale * x + shift` per channel: what BatchNormalization and constant arithmetic share."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .match import Array, constant, is_op, operand, split_constant

Vector = npt.NDArray[np.float64]

OPS = ("BatchNormalization", "Mul", "Div", "Add", "Sub")
"""The ops that `read` understands."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The channel axis of a tensor.

    Attributes:
        position: 1, or -1 for the last axis.
        rank: The tensor's rank, or None where it is not known.
        channels: How many channels there are.
    """

    position: int
    rank: int | None
    channels: int


@dataclass(frozen=True, slots=True)
class Affine:
    """One scale and one shift a channel of `x`; both of shape (channels,)."""

    x: ir.Value
    scale: Vector
    shift: Vector


def read(node: ir.Node, axis: Axis) -> Affine | str:
    """Read a node as an affine map per channel; the text says why it is none."""
    affine = _batch_norm(node, axis) if is_op(node, "BatchNormalization") else _binary(node, axis)
    if isinstance(affine, str):
        return affine
    finite = np.isfinite(affine.scale).all() and np.isfinite(affine.shift).all()
    return affine if finite else "its constants are not finite"


def _binary(node: ir.Node, axis: Axis) -> Affine | str:
    """Read x + c, x - c, c - x, x * c and x / c."""
    found = split_constant(node)
    if found is None:
        return "it has no constant operand"
    x, value, position = found
    array = constant(value)
    numbers = None if array is None else per_channel(array, axis)
    if numbers is None:
        return f"{value.name} is not one number a channel"
    if node.op_type == "Div" and position == 0:
        return "it divides a constant by the tensor"
    one, zero = np.ones_like(numbers), np.zeros_like(numbers)
    if node.op_type == "Add":
        return Affine(x, one, numbers)
    if node.op_type == "Sub":
        return Affine(x, one, -numbers) if position == 1 else Affine(x, -one, numbers)
    with np.errstate(divide="ignore"):
        return Affine(x, numbers if node.op_type == "Mul" else 1 / numbers, zero)


def _batch_norm(node: ir.Node, axis: Axis) -> Affine | str:
    """Read (x - mean) / sqrt(var + epsilon) * scale + bias, as the ONNX specification has it."""
    x = operand(node, 0)
    arrays = [constant(operand(node, index)) for index in range(1, 5)]
    trains = node.attributes.get_int("training_mode", 0) == 1
    if trains or any(output.uses() for output in node.outputs[1:]):
        return "it is in training mode"
    if x is None or any(array is None for array in arrays):
        return "its statistics are not constant"
    if axis.position != 1 and axis.rank != 2:  # noqa: PLR2004 - there the last axis is axis 1
        return "its channels are not on the last axis"
    scale, bias, mean, var = (np.asarray(array, dtype=np.float64) for array in arrays)
    if scale.shape != (axis.channels,):
        return "it has another number of channels"
    factor = scale / np.sqrt(var + node.attributes.get_float("epsilon", 1e-5))
    return Affine(x, factor, bias - mean * factor)


def per_channel(array: Array, axis: Axis) -> Vector | None:
    """One number a channel of a constant that broadcasts along all other axes, else None."""
    if array.ndim > (1 if axis.rank is None else axis.rank):
        return None  # it might widen the tensor
    flat = np.asarray(array, dtype=np.float64).reshape(-1)
    if flat.size == 1:
        return np.full(axis.channels, flat[0])
    from_end = axis.position if axis.position < 0 or axis.rank is None else 1 - axis.rank
    fits = array.ndim >= -from_end and array.shape[from_end] == flat.size == axis.channels
    return flat if fits else None
