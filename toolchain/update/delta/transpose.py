"""Bytes of an array with two neighbouring axes exchanged: the other layout of the same numbers.

A model keeps the weights of a convolution as (output, input, height, width); an engine may want
the inputs last. Seen as (outer, rows, columns) of items, that is (outer, columns, rows). Which axes
these are stands in the payload of one block: three counts, rows, columns and bytes of an item; how
often they repeat follows from the size of the segment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..codec.payload import Payload, varint
from ..refusal import Code, Refusal
from .files import Reader
from .header import malformed
from .skeleton import read_exactly

AXES = 129  # the number of such a payload on the wire, above those of `Method`; see `text.PATCH`
TILE = 1 << 20  # bytes that are exchanged at once

_LEAST = 64  # bytes that are worth a read of their own
_MOST = 1 << 26  # of each count


@dataclass(frozen=True, slots=True)
class Axes:
    """What is exchanged.

    Attributes:
        rows: The first of the two axes, as the array is read.
        columns: The second one.
        item: Bytes of what lies together.
    """

    rows: int
    columns: int
    item: int

    @classmethod
    def decode(cls, method: int, payload: bytes, size: int) -> Self:
        """Read a payload for a segment of so many bytes.

        Raises:
            Refusal: It is no such payload, or the segment is no whole number of such arrays.
        """
        if method != AXES:
            raise Refusal(Code.UNKNOWN, f"axes are coded by method {method}", "update hwc")
        rest = Payload(payload)
        axes = cls(*(rest.varint(_MOST) for _ in range(3)))
        rest.end()
        if not axes.fits(size):
            message = f"{size} B are no arrays of {axes.rows} x {axes.columns} x {axes.item} B"
            raise malformed(message)
        return axes

    def encode(self) -> tuple[int, bytes]:
        """The payload, with its number."""
        return AXES, b"".join(map(varint, (self.rows, self.columns, self.item)))

    @property
    def size(self) -> int:
        """Bytes of one array."""
        return self.rows * self.columns * self.item

    def fits(self, size: int) -> bool:
        """Whether so many bytes are whole arrays that can be exchanged tile by tile."""
        if not self.size or size % self.size or self.columns > _MOST:
            return False
        return self.size <= TILE or self.rows * max(self.item, _LEAST) <= TILE

    def exchanged(self, data: bytes | memoryview) -> bytes:
        """Whole arrays, each with its rows and columns exchanged."""
        items = np.frombuffer(data, f"V{self.item}").reshape(-1, self.rows, self.columns)
        return items.swapaxes(1, 2).tobytes()

    def head(self, data: bytes | memoryview, size: int) -> bytes:
        """The first bytes of `exchanged`: of the first array, and no more than `size` of them."""
        items = np.frombuffer(data, f"V{self.item}", self.rows * self.columns)
        count = -(-size // (self.rows * self.item))
        return items.reshape(self.rows, self.columns)[:, :count].T.tobytes()[:size]

    def pieces(self, reader: Reader, offset: int, size: int) -> Iterator[bytes]:
        """Exchange what a file has from `offset` on, about a tile at a time.

        Raises:
            Refusal: The file ends before.
        """
        if self.size > TILE:
            for begin in range(offset, offset + size, self.size):
                yield from self._tiles(reader, begin)
            return
        step = TILE // self.size * self.size
        for begin in range(0, size, step):
            yield self.exchanged(read_exactly(reader, offset + begin, min(step, size - begin)))

    def _tiles(self, reader: Reader, offset: int) -> Iterator[bytes]:
        """One array, some of its columns at a time."""
        width = TILE // (self.rows * self.item)
        for first in range(0, self.columns, width):
            count = min(width, self.columns - first)
            starts = range(offset + first * self.item, offset + self.size, self.columns * self.item)
            data = b"".join(read_exactly(reader, start, count * self.item) for start in starts)
            yield Axes(self.rows, count, self.item).exchanged(data)
