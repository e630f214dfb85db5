"""int8 arithmetic on constants: weights per channel, int32 biases, the rest per tensor."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.calibration import Range, per_channel_scales, quantization_parameters

WEIGHTED = kernels.WEIGHTED
_INT32 = np.iinfo(np.int32)
_BIAS_HEADROOM = 2.0**30  # keeps |bias| / scale inside int32 with a factor of two to spare
_MATRIX = 2

Integers = npt.NDArray[np.signedinteger[Any] | np.unsignedinteger[Any]]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Affine:
    """How real numbers map to integers: real = scale * (integer - zero_point).

    Attributes:
        scale: Shape () for a tensor, (channels,) per channel; float32.
        zero_point: The int8 or uint8, of the same shape, that stands for 0.0.
    """

    scale: Floats
    zero_point: Integers

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest real number that a per-tensor mapping can express."""
        limits, zero = np.iinfo(self.zero_point.dtype), int(self.zero_point)
        return float(self.scale) * (limits.min - zero), float(self.scale) * (limits.max - zero)


@dataclass(frozen=True, slots=True)
class Weights:
    """The quantised constants of one Conv, Gemm or MatMul.

    Attributes:
        integers: The weight as int8, in its own shape.
        affine: Its mapping; per channel of `axis`.
        axis: The channel axis, or None where the mapping is per tensor.
        bias: The bias in float32, shape (channels,); None where the node has none.
        bias_integers: The bias in units of input scale times weight scale, as int32.
        bias_scale: Those units, shape (channels,).
    """

    integers: Integers
    affine: Affine
    axis: int | None
    bias: Floats | None = None
    bias_integers: Integers | None = None
    bias_scale: Floats | None = None


def activation(range_: Range, *, unsigned: bool, dtype: npt.DTypeLike = np.float32) -> Affine:
    """The mapping of an activation tensor: uint8 asymmetric, or int8 with zero point 0.

    Args:
        range_: What must be covered.
        unsigned: Which of the two.
        dtype: The narrowest float type that the graph holds the scale in.
    """
    exact, _ = quantization_parameters(range_, unsigned=unsigned)
    scale = _held_in(np.asarray(exact, np.float32), dtype)
    zero = round(-range_.low / float(scale)) if unsigned else 0
    return Affine(scale, np.asarray(zero, np.uint8 if unsigned else np.int8))


def constant(
    array: Floats, *, unsigned: bool, dtype: npt.DTypeLike = np.float32
) -> tuple[Integers, Affine]:
    """Quantise a constant operand of an element-wise kernel, per tensor."""
    span = Range(min(0.0, float(array.min(initial=0.0))), max(0.0, float(array.max(initial=0.0))))
    affine = activation(span, unsigned=unsigned, dtype=dtype)
    return quantize(array, affine), affine


def weights(
    node: ir.Node,
    input_scale: float,
    *,
    channels: int = 0,
    dtype: npt.DTypeLike = np.float32,
    scale: Floats | None = None,
) -> Weights:
    """Quantise the weight and bias of a node.

    Args:
        node: A Conv, ConvTranspose, Gemm or MatMul with a constant weight.
        input_scale: The scale of the activation that it reads.
        channels: Zero input channels to append to a Conv's weight.
        dtype: The float type that the graph holds the scales in.
        scale: One for each channel, where it is given: what is beyond is clipped.
    """
    array, bias = _array(node, 1), _array(node, 2)
    if array is None:
        raise ValueError(f"{node.name}: no constant weight")
    axis = channel_axis(node, array.ndim)
    if bias is not None:
        shape = () if axis is None else array.shape[axis : axis + 1]
        bias = np.broadcast_to(bias.reshape(-1), shape).astype(np.float32)
    if scale is None:
        scale = _held_in(_roomy(_scales(array, axis), bias, input_scale), dtype)
    affine = Affine(scale, np.zeros(scale.shape, np.int8))
    if channels:
        array = np.pad(array, [(0, 0), (0, channels), *[(0, 0)] * (array.ndim - 2)])
    integers = quantize(array, affine, axis)
    if bias is None:
        return Weights(integers, affine, axis)
    unit = np.float64(input_scale) * scale.astype(np.float64)
    steps = np.clip(np.rint(bias / unit), _INT32.min, _INT32.max).astype(np.int32)
    return Weights(integers, affine, axis, bias, steps, unit.astype(np.float32))


def quantize(array: Floats, affine: Affine, axis: int | None = None) -> Integers:
    """Round to the nearest step and saturate, as ONNX QuantizeLinear does."""
    limits, steps = np.iinfo(affine.zero_point.dtype), _steps(array, affine, axis)
    integers: Integers = np.clip(steps, limits.min, limits.max).astype(affine.zero_point.dtype)
    return integers


def beyond(array: Floats, affine: Affine, axis: int | None = None) -> int:
    """How many numbers `quantize` would clip."""
    limits, steps = np.iinfo(affine.zero_point.dtype), _steps(array, affine, axis)
    return int(np.count_nonzero((steps < limits.min) | (steps > limits.max)))


def _steps(array: Floats, affine: Affine, axis: int | None) -> npt.NDArray[np.floating[Any]]:
    """The nearest step of each number, whatever the integers hold."""
    shape = [1] * array.ndim
    if axis is not None:
        shape[axis] = -1
    scale, zero = affine.scale.reshape(shape), affine.zero_point.reshape(shape)
    steps: npt.NDArray[np.floating[Any]] = np.rint(array / scale) + zero.astype(np.int32)
    return steps


def _roomy(scale: Floats, bias: Floats | None, input_scale: float) -> Floats:
    """Scales with which the bias fits int32, too.

    A channel whose weights are tiny beside its bias gets a larger one.
    """
    if bias is None:
        return scale
    return np.maximum(scale, np.abs(bias) / np.float32(input_scale * _BIAS_HEADROOM))


def _held_in(scale: Floats, dtype: npt.DTypeLike) -> Floats:
    """Scales rounded up to what a float type can hold: ranges stay covered, and none becomes 0."""
    held = scale.astype(dtype)
    up = np.where(held < scale, np.nextafter(held, held.dtype.type(np.inf)), held)
    return up.astype(np.float32)


def _array(node: ir.Node, index: int) -> Floats | None:
    tensor = kernels.constant(node.inputs[index]) if len(node.inputs) > index else None
    return None if tensor is None else tensor.numpy()


def _scales(array: Floats, axis: int | None) -> Floats:
    """Scales of shape (channels,), or () for one over the whole tensor."""
    if axis is None:
        return np.asarray(per_channel_scales(array.reshape(1, -1), 0)[0])
    return per_channel_scales(array, axis)


def channel_axis(node: ir.Node, rank: int) -> int | None:
    """The output-channel axis of a node's weight; None where scales must be per tensor."""
    match node.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":
            return 1 if node.attributes.get_int("group", 1) == 1 else None
        case "Gemm":
            return 0 if node.attributes.get_int("transB", 0) else 1
        case "MatMul" if rank == _MATRIX:
            return 1
    return None
