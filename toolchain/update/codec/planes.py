"""Whole numbers byte by byte under zstd: what a build without pcodec writes and reads."""

from typing import Any

import numpy as np
import numpy.typing as npt

from . import zstd

Whole = npt.NDArray[np.integer[Any]]


def encode(numbers: Whole, level: int) -> bytes:
    """First the lowest byte of every number, then the next, and so on; signs folded into bit 0."""
    unsigned = _folded(numbers)
    planes = unsigned.astype(unsigned.dtype.newbyteorder("<")).view(np.uint8)
    table = planes.reshape(len(numbers), unsigned.dtype.itemsize)
    return zstd.compress(np.ascontiguousarray(table.T).tobytes(), level=level)


def decode(payload: bytes, count: int, dtype: np.dtype[Any]) -> Whole:
    """The numbers.

    Raises:
        Refusal: It is damaged, or has more or fewer.
    """
    size = dtype.itemsize
    raw = np.frombuffer(zstd.decompress(payload, count * size), np.uint8)
    table = np.ascontiguousarray(raw.reshape(size, count).T)
    unsigned = table.reshape(-1).view(f"<u{size}")
    if dtype.kind == "u":
        return unsigned
    one = unsigned.dtype.type(1)
    made: Whole = ((unsigned >> one) ^ -(unsigned & one)).view(f"<i{size}")
    return made


def _folded(numbers: Whole) -> Whole:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ...: small numbers have small bytes."""
    if numbers.dtype.kind == "u":
        return numbers
    shift = 8 * numbers.dtype.itemsize - 1
    folded: Whole = ((numbers << 1) ^ (numbers >> shift)).view(f"<u{numbers.dtype.itemsize}")
    return folded
