"""4-bit weights, float activations: MatMul and Gemm with their weight stored in blocks of K."""

import ml_dtypes
import numpy as np
import numpy.typing as npt

BLOCK = 32  # weights that share one scale, along K
INT4_HALF = 8  # int4 runs from -8 to 7


def int4_blocks(
    weight: npt.NDArray[np.float32], scale: npt.NDArray[np.float32] | None = None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round a matrix to 4 bits in blocks along its first axis.

    Each block's scale puts its largest weight, with its sign, on -8: all 16 levels are used.

    Args:
        weight: Shape (K, N).
        scale: Shape (ceil(K / 32), N), where they are given: what is beyond is clipped.

    Returns:
        Integers in [-8, 7] of shape (K, N) as int8, and scales of shape (ceil(K / 32), N).
    """
    depth, columns = weight.shape
    blocks = -(-depth // BLOCK)
    padded = np.zeros((blocks * BLOCK, columns), np.float32)
    padded[:depth] = weight
    grouped = padded.reshape(blocks, BLOCK, columns)
    if scale is None:
        extreme = np.take_along_axis(grouped, np.abs(grouped).argmax(1)[:, None], 1)[:, 0]
        scale = (extreme / -INT4_HALF).astype(np.float32)
    safe = np.where(scale == 0, np.float32(1), scale)
    steps = np.clip(np.rint(grouped / safe[:, None]), -INT4_HALF, INT4_HALF - 1).astype(np.int8)
    return steps.reshape(-1, columns)[:depth], safe


def as_int4(steps: npt.NDArray[np.int8]) -> npt.NDArray[np.generic]:
    """The same integers in the int4 type that an ONNX initialiser packs two to a byte."""
    return steps.astype(ml_dtypes.int4)


def pack_matmul_nbits(
    steps: npt.NDArray[np.int8], scale: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The layout of com.microsoft::MatMulNBits (ONNX Runtime contrib operators, MatMulNBits).

    Args:
        steps: Shape (K, N), integers in [-8, 7].
        scale: Shape (blocks, N).

    Returns:
        Bytes of shape (N, blocks, 16), low nibble first, offset by the implied zero point 8; and
        scales of shape (N, blocks).
    """
    depth, columns = steps.shape
    blocks = scale.shape[0]
    padded = np.full((blocks * BLOCK, columns), INT4_HALF, np.uint8)
    padded[:depth] = (steps + INT4_HALF).astype(np.uint8)
    nibbles = padded.T.reshape(columns, blocks, BLOCK)
    packed = nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)
    return packed.astype(np.uint8), np.ascontiguousarray(scale.T)
