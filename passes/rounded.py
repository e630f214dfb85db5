"""The constants of a node as a choice holds them: what its quantiser leaves of each number."""

from collections.abc import Mapping

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.dialect import Dialect
from ..toolchain.plan import NodeChoice, Precision, Sparsity
from ..toolchain.storage.formats import Format
from . import quantize, sparsify, store
from .apply import DTYPES
from .weight_only import BLOCK, int4_blocks

Floats = npt.NDArray[np.float32]


def rounded_constants(
    node: ir.Node, choice: NodeChoice, *, dialect: Dialect
) -> Mapping[str, Floats]:
    """The float constants that a node multiplies or adds, in a choice's own rounding, as float32.

    Biases are left out: int8 kernels add them in 32 bits, and 16 bits change them by less than what
    the weights lose.

    Args:
        node: One of the graph after the passes.
        choice: What it is to run in.
        dialect: How the backend writes it.

    Returns:
        By the name of the constant; empty where nothing is rounded.
    """
    operands = node.inputs[1:2] if _weighted(node) else node.inputs
    found: dict[str, Floats] = {}
    for value in operands:
        tensor = kernels.constant(value)
        if value is None or tensor is None or not kernels.is_float(value):
            continue
        array = tensor.numpy().astype(np.float32)
        finite = bool(np.isfinite(array).all())
        read = node
        if finite and choice.storage and value is node.inputs[1] and _weighted(node):
            array = _stored(node, array, choice)
            read = store.twin(node, array)
        held = _rounded(read, array, choice.precision, dialect) if finite else None
        if read is not node and held is None:
            held = array
        if finite and value is node.inputs[1] and choice.sparsity is Sparsity.TWO_FOUR:
            held = sparsify.with_zeros(node, array, held)
        if held is not None:
            found[str(value.name)] = held
    return found


def _stored(node: ir.Node, array: Floats, choice: NodeChoice) -> Floats:
    """What storage leaves of a weight, after the zeros of its sparsity."""
    zeros = sparsify.with_zeros(node, array) if choice.sparsity is Sparsity.TWO_FOUR else None
    left = array if zeros is None else zeros.astype(np.float32, copy=False)
    return store.stored_weight(node, Format.parse(choice.storage), left)


def _rounded(node: ir.Node, array: Floats, precision: Precision, dialect: Dialect) -> Floats | None:
    match precision:
        case Precision.FP16 | Precision.BF16:
            narrow = DTYPES[precision].numpy()
            most = float(ml_dtypes.finfo(narrow).max)  # type: ignore[no-untyped-call]  # no stubs
            return np.clip(array, -most, most).astype(narrow).astype(np.float32)
        case Precision.INT8 if _weighted(node):
            return _int8_weight(node, dialect)
        case Precision.INT8:
            unsigned, dtype = dialect.unsigned_activations, DTYPES[dialect.int8_float].numpy()
            integers, affine = quantize.constant(array, unsigned=unsigned, dtype=dtype)
            steps = integers.astype(np.float32) - np.float32(affine.zero_point)
            return (steps * affine.scale).astype(np.float32)
        case Precision.INT4:
            return _int4_weight(node, array)
        case Precision.FP32:
            return None


def _weighted(node: ir.Node) -> bool:
    """Whether it has a weight that is quantised per channel; a constant left of a MatMul is not."""
    return node.op_type in quantize.WEIGHTED and kernels.constant(node.inputs[1]) is not None


def _int8_weight(node: ir.Node, dialect: Dialect) -> Floats:
    """Per channel, as `quantize.weights` does it, but for what a large bias asks of the scale."""
    made = quantize.weights(node, 1.0, dtype=DTYPES[dialect.int8_float].numpy())
    scale = made.affine.scale
    if made.axis is not None:
        shape = [1] * made.integers.ndim
        shape[made.axis] = -1
        scale = scale.reshape(shape)
    return (made.integers.astype(np.float32) * scale).astype(np.float32)


def _int4_weight(node: ir.Node, array: Floats) -> Floats:
    """In blocks along the depth, which is the second axis of a transposed Gemm."""
    flipped = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
    matrix = array.T if flipped else array
    steps, scale = int4_blocks(np.ascontiguousarray(matrix))
    whole = steps * np.repeat(scale, BLOCK, axis=0)[: len(steps)]
    return np.ascontiguousarray(whole.T if flipped else whole).astype(np.float32)
