"""What lies between the tensors of a file: its skeleton, told from that of a file of the base.

The skeleton of a new file is what its segments of that kind take, in order. That of a file of the
base follows from its `bundle.json`: all bytes but those of its tensors of at least `SMALL` bytes,
so the whole of an opaque file. Block by block, a skeleton is zstd with the bytes of the old
skeleton thereabouts as its prefix.
"""

import bisect
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

from ..refusal import Code, Refusal
from ..release import ReleaseFile
from .files import Reader

BLOCK = 1 << 20  # bytes of a skeleton that are decoded at once
SMALL = 64  # bytes below which a tensor belongs to the skeleton
_AROUND = 1 << 18  # bytes of the old skeleton before and behind the place of a block


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The skeleton of a file of the base.

    Attributes:
        path: The file.
        spans: Begin and end of each stretch between tensors.
        starts: Where each of them begins in the skeleton, and the skeleton's size.
    """

    path: str
    spans: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, file: ReleaseFile) -> Self:
        """Find it by the file's tensors."""
        large = [tensor for tensor in file.tensors if tensor.size >= SMALL]
        begins = (0, *(tensor.offset + tensor.size for tensor in large))
        ends = (*(tensor.offset for tensor in large), file.size)
        spans = tuple(span for span in zip(begins, ends, strict=True) if span[0] < span[1])
        sizes = (end - begin for begin, end in spans)
        return cls(file.path, spans, tuple(accumulate(sizes, initial=0)))

    def read(self, reader: Reader, begin: int, end: int) -> bytes:
        """Its bytes from `begin` to `end`, or to where it ends."""
        parts = []
        for k in range(max(0, bisect.bisect_right(self.starts, begin) - 1), len(self.spans)):
            if self.starts[k] >= end:
                break
            (low, high), start = self.spans[k], self.starts[k]
            first = low + max(0, begin - start)
            parts.append(read_exactly(reader, first, min(high, low + end - start) - first))
        return b"".join(parts)

    def prefix(self, reader: Reader, block: int) -> bytes:
        """What a block of the new skeleton may refer to."""
        begin = max(0, block * BLOCK - _AROUND)
        return self.read(reader, begin, (block + 1) * BLOCK + _AROUND)


def read_exactly(reader: Reader, offset: int, size: int) -> bytes:
    """Bytes of a file of the base.

    Raises:
        Refusal: The file ends before.
    """
    data = reader.read(offset, size)
    if len(data) != size:
        message = f"a file of the installed release ends at {offset + len(data)}"
        raise Refusal(Code.BASE, message, "install the full update: this release is damaged")
    return data
