"""Weights to codes, scales and codebooks, and back, the same on every machine."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..sparse.pattern import Mask, blocks
from .codebook import codebook
from .formats import Format, Group, Kind
from .levels import Floats, bfloat16, fixed_levels

Codes = npt.NDArray[np.uint8]
_Rows = TypeVar("_Rows", Floats, Mask)
TINY = np.float32(2.0**-100)  # a group with no larger weight is stored as zeros
_SHARES = np.geomspace(0.95, 0.15, 24, dtype=np.float32)  # of the widest step, that are tried
_ALTERNATIONS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A weight in a storage format.

    Attributes:
        form: The format.
        shape: Of the weight.
        axis: Its channel axis; None: it has one channel.
        codes: Indices into the levels, channel by channel; shape (elements,).
        scales: Shape (channels, blocks), or (1, 1) for one over the tensor; each a bfloat16.
        levels: Ascending; one row for each codebook, else one row in all; each a bfloat16.
    """

    form: Format
    shape: tuple[int, ...]
    axis: int | None
    codes: Codes
    scales: Floats
    levels: Floats


def layout(shape: tuple[int, ...], axis: int | None) -> tuple[int, int]:
    """How many channels a weight has, and how many numbers each."""
    channels = 1 if axis is None or not shape else shape[axis]
    return channels, math.prod(shape) // max(channels, 1)


def encode(
    array: Floats,
    form: Format,
    axis: int | None = 0,
    *,
    importance: Floats | None = None,
    like: Encoded | None = None,
) -> Encoded:
    """Encode a weight; one that was decoded from the same format comes out as it went in.

    Args:
        array: The weight, finite, float32.
        form: The format.
        axis: Its channel axis; None: it has one channel.
        importance: What an error of each weight counts, of the same shape; codebooks heed it.
        like: Another weight of the same shape, format and axis: its scales and levels are taken, so
            that equal weights have equal codes; None: those that fit best.

    Raises:
        InputError: It has NaN or infinite numbers.
    """
    if not np.isfinite(array).all():
        raise InputError(
            f"a weight of shape {array.shape} with NaN or infinite numbers has no {form} form",
            "store it as it is, or repair the model",
        )
    rows = _rows(np.asarray(array, np.float32), axis)
    if form.zeros:
        rows = np.where(blocks(rows, form.zeros / 100, (1, form.run)), rows, np.float32(0))
    if form.kind is Kind.CODEBOOK:
        weights = None if importance is None else _rows(importance, axis)
        levels = like.levels if like else _codebooks(rows, form, weights)
        scales, codes = np.ones((1, 1), np.float32), _nearest_of(rows, levels)
        return Encoded(form, array.shape, axis, codes.reshape(-1), scales, levels)
    table = fixed_levels(form)
    grouped = _grouped(rows, form)
    scales = like.scales if like else _scales(grouped, form, table)
    codes = _ungrouped(_nearest(_divided(grouped, scales), table), rows.shape)
    return Encoded(form, array.shape, axis, codes.reshape(-1), scales, table[None])


def decode(encoded: Encoded) -> Floats:
    """The weight that was encoded: each level times its scale, which float32 holds exactly."""
    shape = layout(encoded.shape, encoded.axis)
    codes = encoded.codes.reshape(shape)
    if not encoded.levels.size:
        rows = np.zeros(shape, np.float32)
    elif len(encoded.levels) == 1:
        rows = encoded.levels[0][codes]
    else:
        rows = np.take_along_axis(encoded.levels, codes, axis=1)
    block = encoded.form.block
    scales = encoded.scales
    if block:
        scales = np.repeat(scales, block, axis=1)[:, : shape[1]]
    if encoded.form.kind is not Kind.CODEBOOK:
        rows = rows * scales
    return _placed(rows, encoded.shape, encoded.axis)


def stored(
    array: Floats,
    form: Format,
    axis: int | None = 0,
    *,
    importance: Floats | None = None,
    like: Encoded | None = None,
) -> Floats:
    """What is left of a weight once it was stored, as `encode` does it."""
    return decode(encode(array, form, axis, importance=importance, like=like))


def kept(array: Floats, form: Format, axis: int | None = 0, *, along: float = 1.0) -> Mask:
    """Which weights a format does not set to 0; of the weight's shape.

    Args:
        array: The weight.
        form: The format.
        axis: Its channel axis; None: it has one channel.
        along: The share of the format's zeros that are to be there already.
    """
    mask = blocks(_rows(array, axis), along * form.zeros / 100, (1, form.run))
    return _placed(mask, array.shape, axis)


def relative_error(array: Floats, form: Format, axis: int | None = 0) -> float:
    """Squared error of a stored weight over its sum of squares; 0 for a weight of zeros."""
    exact = array.astype(np.float64)
    power = float((exact**2).sum())
    return float(((stored(array, form, axis) - exact) ** 2).sum()) / power if power else 0.0


def _rows(array: Floats, axis: int | None) -> Floats:
    moved = array if axis is None or array.ndim == 0 else np.moveaxis(array, axis, 0)
    return np.ascontiguousarray(moved).reshape(layout(array.shape, axis))


def _placed(rows: _Rows, shape: tuple[int, ...], axis: int | None) -> _Rows:
    """Rows of channels in the shape of their weight."""
    if axis is None:
        return rows.reshape(shape)
    moved = np.moveaxis(np.empty(shape, np.bool_), axis, 0).shape
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis))


def _grouped(rows: Floats, form: Format) -> Floats:
    """Shape (channels, groups, weights of a group); the last block is filled with zeros."""
    match form.group:
        case Group.TENSOR:
            return rows.reshape(1, 1, -1)
        case Group.CHANNEL:
            return rows[:, None, :]
    channels, depth = rows.shape
    blocks = -(-depth // form.block)
    padded = np.zeros((channels, blocks * form.block), np.float32)
    padded[:, :depth] = rows
    return padded.reshape(channels, blocks, form.block)


def _ungrouped(grouped: Codes, shape: tuple[int, int]) -> Codes:
    if grouped.size == math.prod(shape):
        return grouped.reshape(shape)
    return np.ascontiguousarray(grouped.reshape(shape[0], -1)[:, : shape[1]])


def _scales(grouped: Floats, form: Format, table: Floats) -> Floats:
    """A scale for each group; 0 where all its weights are tiny.

    Rounding one to bfloat16 moves the last level by less than half a step of int8.
    """
    most = np.abs(grouped).max(axis=2, initial=0.0)
    top = table[-1]
    widest = bfloat16(np.where(most > TINY, most / top, np.float32(0)))
    over = widest.astype(np.float64) * top > np.finfo(np.float32).max
    down = (widest.view(np.uint32) - np.uint32(0x10000)).view(np.float32)
    widest = np.where(over, down, widest)
    return _best_steps(grouped, widest, top) if form.kind is Kind.LSQ else widest


def _best_steps(grouped: Floats, widest: Floats, top: np.float32) -> Floats:
    """The step of least squared error of each group, none wider than the widest.

    The best of several; from there, with the codes fixed the best step is <w, c> / <c, c>, and with
    the step fixed the best codes are the nearest: the two in turns.
    """
    best, least = widest, _error(grouped, widest, top)
    for share in _SHARES:
        step = bfloat16(widest * share)
        error = _error(grouped, step, top)
        best, least = np.where(error < least, step, best), np.minimum(error, least)
    for _ in range(_ALTERNATIONS):
        codes = np.clip(np.rint(_divided(grouped, best)), -top, top)
        power = np.einsum("cgn,cgn->cg", codes, codes)
        match = np.einsum("cgn,cgn->cg", codes, grouped)
        fitted = np.maximum(match / np.where(power > 0, power, np.float32(1)), np.float32(0))
        step = np.minimum(bfloat16(fitted), widest)
        error = _error(grouped, step, top)
        best, least = np.where(error < least, step, best), np.minimum(error, least)
    return best


def _error(grouped: Floats, step: Floats, top: np.float32) -> Floats:
    codes: Floats = np.clip(np.rint(_divided(grouped, step)), -top, top)
    left = grouped - codes * step[..., None]
    error: Floats = np.einsum("cgn,cgn->cg", left, left)
    return error


def _divided(grouped: Floats, scales: Floats) -> Floats:
    safe = np.where(scales > 0, scales, np.float32(np.inf))
    return np.divide(grouped, safe[..., None], dtype=np.float32)


def _nearest(array: Floats, table: Floats) -> Codes:
    """The index of the nearest level; of two as near, the lower."""
    return np.searchsorted((table[1:] + table[:-1]) / 2, array).astype(np.uint8)


def _codebooks(rows: Floats, form: Format, importance: Floats | None) -> Floats:
    """One codebook a row; short ones are filled up with their last level."""
    if form.group is Group.TENSOR:
        return codebook(rows, 2**form.bits, importance)[None]
    found = [
        codebook(row, 2**form.bits, None if importance is None else importance[i])
        for i, row in enumerate(rows)
    ]
    width = max((len(levels) for levels in found), default=0)
    if not width:
        return np.zeros((0, 0), np.float32)
    return np.array(
        [np.pad(levels, (0, width - len(levels)), "edge") for levels in found if len(levels)],
        np.float32,
    ).reshape(-1, width)


def _nearest_of(rows: Floats, levels: Floats) -> Codes:
    """The index of the nearest level in the codebook of each row."""
    if len(levels) <= 1:
        table = levels.reshape(-1)
        return _nearest(rows, table)
    found = [_nearest(row, table) for row, table in zip(rows, levels, strict=True)]
    return np.stack(found)
