"""The 4-bit layout of com.microsoft::MatMulNBits, there and back (ONNX Runtime contrib ops)."""

import numpy as np

from ..engine import Array
from .rounding import Steps

_ZERO = 8  # the zero point that is implied where none is given


def unpack(packed: Array, depth: int) -> Steps:
    """Integers in [-8, 7], shape (N, depth).

    Args:
        packed: Bytes of shape (N, blocks, bytes of a block), low nibble first.
        depth: How many of a row's numbers count; the last block may be longer.
    """
    pairs = np.stack((packed & 0xF, packed >> 4), axis=-1).astype(np.int32)
    return pairs.reshape(len(packed), -1)[:, :depth] - _ZERO


def pack(steps: Steps, shape: tuple[int, ...]) -> Array:
    """Bytes of this shape that `unpack` turns into these integers; padding stands for zeros."""
    rows = np.full((shape[0], 2 * shape[1] * shape[2]), _ZERO, np.uint8)
    rows[:, : steps.shape[1]] = steps + _ZERO
    packed: Array = (rows[:, ::2] | (rows[:, 1::2] << 4)).reshape(shape)
    return packed
