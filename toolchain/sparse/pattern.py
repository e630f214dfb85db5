"""Which weights stay: 2:4 as sparse tensor cores want it, unstructured, and in blocks."""

from typing import Any

import numpy as np
import numpy.typing as npt

KEPT, OF = 2, 4  # of each four neighbours along the reduction, two

Array = npt.NDArray[np.floating[Any] | np.integer[Any]]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def scores(array: Array, axis: int = 0, moments: Array | None = None) -> Floats:
    """How much each weight counts: its magnitude, by what it is multiplied with where known.

    Args:
        array: The weights.
        axis: The axis of input channels.
        moments: Mean square of each input channel, shape (channels,): |w| sqrt(E[x^2]) is the
            measure of Wanda (Sun et al. 2023, "A simple and effective pruning approach for large
            language models").
    """
    magnitude: Floats = np.abs(np.asarray(array, np.float32))
    if moments is None:
        return magnitude
    shape = [1] * array.ndim
    shape[axis] = -1
    weighted: Floats = magnitude * np.sqrt(np.asarray(moments, np.float32)).reshape(shape)
    return weighted


def two_four(array: Array, axis: int, moments: Array | None = None) -> Mask:
    """Keep the two that count most of each four neighbours along an axis; of equals the first.

    Sparse tensor cores want it along the reduction: the input channels of a convolution, for every
    output channel and kernel position by itself, and K of a matrix product (TensorRT developer
    guide, "Structured sparsity"; Mishra et al. 2021, "Accelerating sparse deep neural networks").

    Args:
        array: The weights.
        axis: The axis of the reduction; its size must be a multiple of four.
        moments: See `scores`.

    Raises:
        ValueError: The size is not a multiple of four.
    """
    fours = _fours(scores(array, axis, moments), axis)
    mask = np.zeros(fours.shape, np.bool_)
    kept = np.argsort(-fours, axis=-1, kind="stable")[..., :KEPT]
    np.put_along_axis(mask, kept, values=True, axis=-1)
    last = mask.reshape(*mask.shape[:-2], array.shape[axis])
    return np.ascontiguousarray(np.moveaxis(last, -1, axis))


def holds(array: Array, axis: int) -> bool:
    """Whether at least two of each four neighbours along an axis are exactly zero."""
    if not array.size or array.shape[axis] % OF:
        return False
    return bool((np.count_nonzero(_fours(array, axis), axis=-1) <= KEPT).all())


def unstructured(
    array: Array, share: float, *, axis: int = 0, moments: Array | None = None
) -> Mask:
    """Leave out the share of weights that count least, wherever they are.

    It helps storage alone: no kernel skips such zeros.

    Args:
        array: The weights.
        share: Of the weights that go, from 0 to 1; rounded down to whole weights.
        axis: See `scores`.
        moments: See `scores`.
    """
    return _largest(scores(array, axis, moments), share)


def blocks(matrix: Array, share: float, shape: tuple[int, int]) -> Mask:
    """Leave out whole blocks of a matrix, those of the least mean magnitude.

    Args:
        matrix: The weights; shape (outputs, inputs).
        share: Of the blocks that go, from 0 to 1; rounded down to whole blocks.
        shape: Of a block, such as (4, 1) or (16, 1); at the edges blocks are cut off.
    """
    rows, columns = shape
    sums, sizes = (_block_sums(array, shape) for array in (scores(matrix), np.ones(matrix.shape)))
    means: Doubles = sums / sizes
    kept = _largest(means, share)
    mask = np.repeat(np.repeat(kept, rows, axis=0), columns, axis=1)
    return np.ascontiguousarray(mask[: matrix.shape[0], : matrix.shape[1]])


def _block_sums(matrix: Array, shape: tuple[int, int]) -> Doubles:
    """The sum of each block, those at the edges cut off; shape (blocks down, blocks across)."""
    whole = [(0, -size % step) for size, step in zip(matrix.shape, shape, strict=True)]
    padded = np.pad(matrix, whole)
    rows, columns = shape
    grid = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    sums: Doubles = grid.sum(axis=(1, 3), dtype=np.float64)
    return sums


def _largest(figures: Array, share: float) -> Mask:
    """All but the share of the smallest; of equals the last go first."""
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a share of {share} is not from 0 to 1")
    mask = np.ones(figures.size, np.bool_)
    order = np.argsort(-figures, axis=None, kind="stable")
    mask[order[figures.size - int(share * figures.size) :]] = False
    return mask.reshape(figures.shape)


def _fours(array: Array, axis: int) -> Array:
    """Groups of four along an axis; shape (..., size / 4, 4)."""
    size = array.shape[axis]
    if size % OF:
        raise ValueError(f"an axis of {size} does not divide into groups of {OF}")
    last = np.moveaxis(array, axis, -1)
    return last.reshape(*last.shape[:-1], size // OF, OF)
