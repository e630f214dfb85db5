"""What lies between the tensors of a file: its skeleton, told from a file of the base.

The skeleton of a new file is what its segments of that kind take, in order; a block of it is at
most 1 MiB of that, under zstd with a prefix out of the base. Of a file with tensors, that prefix is
what lies between them, thereabouts: all but the tensors of at least `SMALL` bytes. Of an opaque
file, it is what lies in the same places, and around them.
"""

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

from ..refusal import Code, Refusal
from ..release import ReleaseFile
from .files import Reader

BLOCK = 1 << 20  # bytes of a skeleton that are decoded at once
SMALL = 64  # bytes below which a tensor belongs to the skeleton
_AROUND = 1 << 18  # bytes of the base before and behind the place of a block

Span = tuple[int, int]  # begin and end


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Stretches of a file, taken as if they lay one behind the other.

    Attributes:
        spans: Where they lie in the file, in order and apart from each other.
        starts: Where each of them begins in the skeleton, and the skeleton's size.
    """

    spans: tuple[Span, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Self:
        """Made of some stretches; those without bytes are left out."""
        kept = tuple((begin, end) for begin, end in spans if begin < end)
        return cls(kept, tuple(accumulate((end - begin for begin, end in kept), initial=0)))

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.starts[-1]

    def part(self, begin: int, end: int) -> Iterator[Span]:
        """Where its bytes from `begin` to `end`, or to its own end, lie in the file."""
        for k in range(max(0, bisect.bisect_right(self.starts, begin) - 1), len(self.spans)):
            if self.starts[k] >= end:
                break
            (low, high), start = self.spans[k], self.starts[k]
            yield low + max(0, begin - start), min(high, low + end - start)


def blocks(size: int) -> int:
    """How many blocks the first `size` bytes of a skeleton touch."""
    return -(-size // BLOCK)


def prefix_spans(bones: Skeleton, block: int, told_from: ReleaseFile) -> list[Span]:
    """What of a file of the base a block of a new skeleton may refer to: 1.5 MiB at most.

    Args:
        bones: The new skeleton.
        block: Which block of it.
        told_from: The file of the base.
    """
    begin, end = block * BLOCK, (block + 1) * BLOCK
    if told_from.tensors:
        between = _between_tensors(told_from)
        return list(between.part(max(0, begin - _AROUND), end + _AROUND))
    spans = list(bones.part(begin, end))
    around = _AROUND // max(1, len(spans))
    return _joined(
        (max(0, low - around), min(told_from.size, high + around)) for low, high in spans
    )


def read_spans(reader: Reader, spans: Iterable[Span]) -> bytes:
    """Some stretches of a file, one behind the other.

    Raises:
        Refusal: The file ends before.
    """
    return b"".join(read_exactly(reader, begin, end - begin) for begin, end in spans)


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


def _between_tensors(file: ReleaseFile) -> Skeleton:
    large = [tensor for tensor in file.tensors if tensor.size >= SMALL]
    begins = (0, *(tensor.offset + tensor.size for tensor in large))
    ends = (*(tensor.offset for tensor in large), file.size)
    return Skeleton.of(zip(begins, ends, strict=True))


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for begin, end in spans:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        elif begin < end:
            joined.append((begin, end))
    return joined
