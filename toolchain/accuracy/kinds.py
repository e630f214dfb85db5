"""What an output of a model is: classes, a sequence or map of classes, values or discrete values.

The kind is read off the original model's outputs on real samples, since ONNX does not say it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ..engine import Array

_UNIFORM = 0.75  # entropy of softmax over log K, mean of the samples: trained classifiers are below
_CHANNELS = 4096  # more along an axis are positions
_SUM = 1e-2  # how far from one the sum of probabilities may be (fp16 softmax over 6,625 classes)


class Kind(StrEnum):
    """What an output holds."""

    CLASSES = "classes"  # [batch, K]: logits or probabilities
    SEQUENCE = "sequence of classes"  # [batch, T, K]: probabilities
    MAP = "map of classes"  # [batch, K, H, W] or [batch, H, W, K]: probabilities
    VALUES = "values"  # detections, embeddings, regressions, states
    DISCRETE = "discrete values"  # integers, booleans, texts


@dataclass(frozen=True, slots=True)
class OutputKind:
    """The kind of one output.

    Attributes:
        kind: What it holds.
        axis: The class axis.
        size: The number of classes.
        channels: Axes that may count channels, each with its length; (-1, 1) where there are none.
        one_unit: Whether all channels have the same unit, as those of an embedding.
        probabilities: Whether classes are given as probabilities rather than logits.
        common: The class that is seen most: the blank or background of sequences and maps.
        why: How this was recognised.
    """

    kind: Kind
    axis: int = -1
    size: int = 1
    channels: tuple[tuple[int, int], ...] = ((-1, 1),)
    one_unit: bool = False
    probabilities: bool = False
    common: int = 0
    why: str = ""


def kind_of(arrays: Sequence[Array]) -> OutputKind:
    """Recognise an output from what the original model gave on a few samples."""
    first = arrays[0]
    if first.dtype.kind in "biuOSU":
        return OutputKind(Kind.DISCRETE, why=f"{first.dtype}")
    if _is_rows(arrays):
        return _rows_kind([class_rows(array) for array in arrays])
    for axis in _class_axes(first):
        if all(_is_probabilities(np.moveaxis(array, axis, -1)) for array in arrays):
            return _positions_kind(arrays, axis)
    return _values(arrays, "neither classes nor probabilities")


def class_rows(array: Array) -> Array:
    """An output [batch, K] or [batch, K, 1, 1] as [batch, K]; [K] as [1, K]."""
    return array.reshape(1, -1) if array.ndim == 1 else array.reshape(array.shape[0], -1)


def looks_like_classes(array: Array) -> bool:
    """Whether an output has the shape of class scores: one axis of at least two, and the batch."""
    return array.dtype.kind == "f" and _is_rows([array])


def _is_rows(arrays: Sequence[Array]) -> bool:
    """Whether all outputs are [K], [batch, K] or [batch, K, 1, ...] with the same K >= 2."""
    inner = {array.shape[1:] if array.ndim > 1 else array.shape for array in arrays}
    first = next(iter(inner))
    return len(inner) == 1 and first[:1] > (1,) and all(dim == 1 for dim in first[1:])


def _rows_kind(rows: Sequence[Array]) -> OutputKind:
    """Classes, unless the vectors are embeddings or regressions."""
    stacked = np.concatenate([row.astype(np.float64) for row in rows])
    size = stacked.shape[1]
    channels = ((-1 if rows[0].ndim == 1 else 1, size),)
    if _is_probabilities(stacked):
        return OutputKind(Kind.CLASSES, size=size, probabilities=True, why="sums to one")
    if np.allclose(np.linalg.norm(stacked, axis=1), 1, atol=1e-3):
        why = "an embedding of unit length"
        return OutputKind(Kind.VALUES, channels=channels, one_unit=True, why=why)
    entropy = _entropy(stacked)
    if entropy > _UNIFORM:
        why = f"as logits nearly uniform (entropy {entropy:.0%})"
        return OutputKind(Kind.VALUES, channels=channels, why=why)
    why = f"peaked logits (entropy {entropy:.0%})"
    return OutputKind(Kind.CLASSES, size=size, channels=channels, why=why)


def _entropy(logits: Array) -> float:
    """Mean entropy of the softmax over its largest possible value, log K."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(axis=1, keepdims=True)
    return float(-(p * np.log(p + 1e-300)).sum(axis=1).mean() / np.log(logits.shape[1]))


def _class_axes(array: Array) -> tuple[int, ...]:
    """The axes that may count classes: the last one of rank 3; axis 1 first for rank 4."""
    return {3: (-1,), 4: (1, -1)}.get(array.ndim, ())


def _is_probabilities(rows: Array) -> bool:
    """Whether the last axis holds probabilities of at least two classes."""
    return bool(
        rows.shape[-1] > 1
        and (rows >= 0).all()
        and np.abs(rows.sum(axis=-1, dtype=np.float64) - 1).max() < _SUM
    )


def _positions_kind(arrays: Sequence[Array], axis: int) -> OutputKind:
    """A sequence or a map of classes."""
    kind = Kind.SEQUENCE if arrays[0].ndim == 3 else Kind.MAP  # noqa: PLR2004 - batch, T, classes
    found = np.concatenate([array.argmax(axis).ravel() for array in arrays])
    return OutputKind(
        kind,
        axis=axis,
        size=arrays[0].shape[axis],
        probabilities=True,
        common=int(np.bincount(found).argmax()),
        why="sums to one at each position",
    )


def _values(arrays: Sequence[Array], why: str) -> OutputKind:
    """Values with the axes that may count their channels.

    Detection heads come as [batch, boxes, channels] and as [batch, channels, boxes], maps as NCHW
    and NHWC: so both the last axis and axis 1 are taken, but for a length that only positions have.
    """
    first = arrays[0]
    axes = [axis for axis in dict.fromkeys((1, first.ndim - 1)) if 0 <= axis < first.ndim]
    fixed = [(a, first.shape[a]) for a in axes if len({x.shape[a] for x in arrays}) == 1]
    few = [pair for pair in fixed if pair[1] <= _CHANNELS] or fixed[:1] or [(-1, 1)]
    return OutputKind(Kind.VALUES, channels=tuple(few), why=why)
