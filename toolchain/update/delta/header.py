"""The header of an update file: fixed fields, three tables of fixed rows, digests of the payloads.

    header  = fixed fields (`_FIXED`), the tables under zstd, 16 bytes of SHA-256 for each chunk
    tables  = rows of `FILE`, `SEGMENT` and `BLOCK`, each table stored byte column by byte column
    chunk   = as many whole payloads in a row as fit into 64 KiB, at least one; none is empty

Rows have fixed sizes, so that a reader knows from the counts how large the tables are before it
decompresses them, and checks them by arithmetic on columns. Numbers are little endian.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..codec import zstd
from ..limits import Limits
from ..refusal import Code, Refusal
from ..release import Dtype

DIGEST = 16  # bytes of SHA-256 that a chunk of payloads is checked with
CHUNK = 1 << 16  # bytes of payloads that share a digest
NO_FILE = 0xFFFFFFFF
DTYPES = tuple(Dtype)  # the number of a type on the wire is its place; new ones go to the end

FILE = np.dtype([("index", "<u4"), ("skeleton", "<u4"), ("segments", "<u4")])
SEGMENT = np.dtype(
    [("op", "u1"), ("dtype", "u1"), ("file", "<u4"), ("skip", "<i8"), ("size", "<u8")]
)
BLOCK = np.dtype([("method", "u1"), ("size", "<u4")])

_FIXED = struct.Struct("<32s32sBIIIII")
_AT_ONCE = 1 << 12  # rows that are Python's numbers at the same time
_AGAIN = "fetch or make the update file again"

Table = NDArray[Any]


class Strategy(Enum):
    """How an update was made (AUTO: chosen among the others; never in a file)."""

    FULL = "full"
    INCREMENTAL = "incremental"
    HASH = "hash"
    QUANTIZED = "quantized"
    AUTO = "auto"


_ON_THE_WIRE = (Strategy.FULL, Strategy.INCREMENTAL, Strategy.HASH, Strategy.QUANTIZED)


class Op(IntEnum):
    """Where the bytes of a segment come from; numbers are never used again."""

    COPY = 0  # a file of the base
    REFERENCE = 1  # bytes of the new release that were written before
    CODED = 2  # blocks, told from equally many bytes of a file of the base
    FRESH = 3  # blocks, told from nothing
    SKELETON = 4  # the next bytes of what lies between tensors, see `skeleton`
    TRANSPOSED = 5  # as REFERENCE, with two axes exchanged that a block names, see `transpose`


BASED = (Op.COPY, Op.CODED)  # what reads the base
WRITTEN = (Op.REFERENCE, Op.TRANSPOSED)  # what reads the new release
READING = BASED + WRITTEN


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What an update file says before its payloads.

    Attributes:
        base: Digest of the release that it starts from; empty where it needs none.
        release: Digest of the release that it leads to.
        strategy: How it was made.
        text: Bytes of the new `bundle.json`, which is the first block.
        files: Rows of `FILE`, in the order in which files are written: which file of the release,
            which file of the base its skeleton is told from, and how many segments it has.
        segments: Rows of `SEGMENT`: what to do, type of the elements, file that is read, how far
            its place lies behind the end of what was read last, and bytes.
        blocks: Rows of `BLOCK`: method and bytes of each payload, in the order of their use.
        digests: Of the chunks, one behind the other.
    """

    base: str
    release: str
    strategy: Strategy
    text: int
    files: Table
    segments: Table
    blocks: Table
    digests: bytes

    def pack(self) -> bytes:
        """The header's bytes."""
        tables = (self.files, self.segments, self.blocks)
        packed = zstd.compress(b"".join(_columns(table) for table in tables), level=19)
        fixed = _FIXED.pack(
            bytes.fromhex(self.base) or bytes(32),
            bytes.fromhex(self.release),
            _ON_THE_WIRE.index(self.strategy),
            self.text,
            *(len(table) for table in tables),
            len(packed),
        )
        return fixed + packed + self.digests

    @classmethod
    def unpack(cls, data: bytes, limits: Limits, *, payloads: int) -> Self:
        """Read a header whose digest was checked.

        Args:
            data: The header.
            limits: What is accepted of it.
            payloads: Bytes that the update file has behind it: one at least for each block.

        Raises:
            Refusal: It breaks a limit or contradicts itself.
        """
        if len(data) < _FIXED.size:
            raise malformed(f"the header has {len(data)} B")
        base, release, strategy, text, *counts, stored = _FIXED.unpack_from(data)
        _check_counts(counts, text, limits)
        if (
            counts[-1] > payloads
        ):  # before the tables are unpacked: they may be small, and claim much
            raise malformed(f"{payloads} B of payloads are no {counts[-1]} blocks")
        if strategy >= len(_ON_THE_WIRE):
            raise Refusal(Code.UNKNOWN, f"strategy {strategy} is not known", "update hwc")
        if len(data) - _FIXED.size - stored > _most_digests(payloads):
            raise malformed(f"the header has {len(data)} B, {stored} of them tables")
        packed = data[_FIXED.size : _FIXED.size + stored]
        files, segments, blocks = _tables(packed, counts)
        header = cls(
            base=base.hex() if any(base) else "",
            release=release.hex(),
            strategy=_ON_THE_WIRE[strategy],
            text=text,
            files=files,
            segments=segments,
            blocks=blocks,
            digests=data[_FIXED.size + stored :],
        )
        _check(header, limits)
        return header

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where each segment reads; of those that read nothing, where the last one ended."""
        reads = np.isin(self.segments["op"], READING)
        moved = np.where(reads, self.segments["size"], 0).astype(np.int64)
        ends: NDArray[np.int64] = np.cumsum(moved + self.segments["skip"])
        return ends - moved

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Each chunk as its number of payloads and their bytes."""
        count = total = 0
        for begin in range(0, len(self.blocks), _AT_ONCE):
            for size in self.blocks["size"][begin : begin + _AT_ONCE].tolist():
                if count and total + size > CHUNK:
                    yield count, total
                    count = total = 0
                count, total = count + 1, total + size
        if count:
            yield count, total


def malformed(message: str) -> Refusal:
    """An update file that contradicts itself."""
    return Refusal(Code.MALFORMED, message, _AGAIN)


def _most_digests(payloads: int) -> int:
    """Bytes of digests that payloads can have: two chunks in a row have more than fits into one."""
    return DIGEST * (2 * (payloads // CHUNK) + 2)


def _columns(table: Table) -> bytes:
    rows = np.ascontiguousarray(table).view(np.uint8).reshape(len(table), table.dtype.itemsize)
    return rows.T.tobytes()


def _rows(data: bytes, dtype: np.dtype[Any], count: int, start: int) -> Table:
    columns = np.frombuffer(data, np.uint8, count * dtype.itemsize, start)
    return np.ascontiguousarray(columns.reshape(dtype.itemsize, count).T).reshape(-1).view(dtype)


def _tables(packed: bytes, counts: list[int]) -> list[Table]:
    kinds = (FILE, SEGMENT, BLOCK)
    sizes = [kind.itemsize * count for kind, count in zip(kinds, counts, strict=True)]
    data = zstd.decompress(packed, sum(sizes))
    starts = (0, sizes[0], sizes[0] + sizes[1])
    return [_rows(data, *row) for row in zip(kinds, counts, starts, strict=True)]


def _check_counts(counts: list[int], text: int, limits: Limits) -> None:
    files, segments, blocks = counts
    size = files * FILE.itemsize + segments * SEGMENT.itemsize + blocks * BLOCK.itemsize
    if files > limits.files or segments > limits.segments or size > limits.header_decoded:
        message = f"the header asks for {files} files, {segments} segments and {blocks} blocks"
        raise Refusal(Code.LIMIT, message, _AGAIN)
    if text > limits.release:
        raise Refusal(Code.LIMIT, f"the new bundle.json has {text} B", _AGAIN)
    if not blocks:
        raise malformed("the header lists no block, not even the new bundle.json")


def _check(header: Header, limits: Limits) -> None:
    segments = header.segments
    if (segments["op"] > max(Op)).any() or (segments["dtype"] >= len(DTYPES)).any():
        raise Refusal(Code.UNKNOWN, "a segment asks for what is not known", "update hwc")
    far = (segments["skip"] > limits.file) | (segments["skip"] < -limits.file)
    if far.any() or (segments["size"] > limits.file).any():
        raise Refusal(Code.LIMIT, f"a segment has or skips over {limits.file} B", _AGAIN)
    if (segments["size"] == 0).any():
        raise malformed("a segment has no bytes")
    if int(header.files["segments"].sum(dtype=np.uint64)) != len(segments):
        raise malformed("the files do not share out the segments")
    if (header.blocks["size"] > limits.payload).any():
        raise Refusal(Code.LIMIT, f"a payload has over {limits.payload} B", _AGAIN)
    if len(header.digests) != DIGEST * sum(1 for _ in header.chunks()):
        raise malformed(f"the header has {len(header.digests)} B of digests")
