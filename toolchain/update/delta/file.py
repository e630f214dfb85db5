"""An update file `.hwcu`: magic, version, digest of the header, header, payloads; read strictly.

    0   4 bytes    HWCU
    4   1 byte     version of the format
    5   4 bytes    size of the header, little endian
    9   32 bytes   SHA-256 of the header
    41  the header (see `header`), then the payloads of its blocks without a gap, then the end

Nothing is decompressed before its digest was checked: the header's by the 32 bytes above, each
payload's by the header. Who vouches for the whole file is the business of signed metadata.
"""

import hashlib
import shutil
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from ..limits import LIMITS, Limits
from ..refusal import Code, Refusal, short
from .files import PlainReader, Reader
from .header import BLOCK, CHUNK, DIGEST, Header, malformed

MAGIC = b"HWCU"
VERSION = 1

_PRELUDE = struct.Struct("<4sBI32s")
_AGAIN = "fetch or make the update file again"


class UpdateFile:
    """An update file whose header was checked; a context manager.

    Args:
        reader: The file; it is closed with the block.
        limits: What is accepted of it.

    Raises:
        Refusal: It is no update file, is damaged or cut, or asks for too much.
    """

    def __init__(self, reader: Reader, limits: Limits = LIMITS) -> None:
        self._reader = reader
        self.size = reader.size
        packed = _checked_header(reader, limits)
        self._start = _PRELUDE.size + len(packed)
        self.header = Header.unpack(packed, limits, payloads=self.size - self._start)
        self.header_size = self._start
        end = self._start + int(self.header.blocks["size"].sum(dtype=np.uint64))
        if end != self.size:
            raise malformed(f"the update file has {self.size} B, its header says {end}")

    @classmethod
    def open(cls, path: Path, limits: Limits = LIMITS) -> Self:
        """Open a file of this machine; see the class for what is refused."""
        try:
            reader = PlainReader(path.open("rb", buffering=0))
        except OSError as cause:
            raise Refusal(Code.PATH, f"{path}: {cause.strerror}", "name an update file") from cause
        try:
            return cls(reader, limits)
        except BaseException:
            reader.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    def payloads(self) -> Iterator[tuple[int, bytes]]:
        """Method and payload of each block, in order; no more than a chunk is held.

        Raises:
            Refusal: A chunk has not its digest.
        """
        header, at, first = self.header, self._start, 0
        for k, (count, total) in enumerate(header.chunks()):
            data = self._reader.read(at, total)
            expected = header.digests[k * DIGEST : (k + 1) * DIGEST]
            if (found := hashlib.sha256(data).digest()[:DIGEST]) != expected:
                message = (
                    f"the payloads at offset {at} have SHA-256 {short(found.hex())}, "
                    f"the header says {short(expected.hex())}"
                )
                raise Refusal(Code.DIGEST, message, _AGAIN)
            begin = 0
            for method, size in header.blocks[first : first + count].tolist():
                yield method, data[begin : begin + size]
                begin += size
            at, first = at + total, first + count


class Spool:
    """Payloads on their way into an update file; a context manager.

    The header, which comes first, has their sizes and digests: so they wait in a temporary file.

    Args:
        folder: Where that file is.
    """

    def __init__(self, folder: Path) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by the block
        self._rows: list[tuple[int, int]] = []
        self._digests: list[bytes] = []
        self._chunk = bytearray()
        self._count = 0  # payloads in the chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, method: int, payload: bytes) -> None:
        """Append the payload of the next block."""
        if self._count and len(self._chunk) + len(payload) > CHUNK:
            self._flush()
        self._rows.append((method, len(payload)))
        self._count += 1
        self._chunk += payload

    def finish(self, header: Header, target: Path) -> int:
        """Write the update file and return its size; the header's blocks are filled in."""
        self._flush()
        packed = replace(
            header, blocks=np.array(self._rows, BLOCK), digests=b"".join(self._digests)
        ).pack()
        self._file.seek(0)
        with target.open("xb") as file:
            file.write(_PRELUDE.pack(MAGIC, VERSION, len(packed), hashlib.sha256(packed).digest()))
            file.write(packed)
            shutil.copyfileobj(self._file, file, 1 << 20)
            return file.tell()

    def _flush(self) -> None:
        self._digests.append(hashlib.sha256(self._chunk).digest()[:DIGEST])
        self._file.write(self._chunk)
        self._chunk.clear()
        self._count = 0


def _checked_header(reader: Reader, limits: Limits) -> bytes:
    prelude = reader.read(0, _PRELUDE.size)
    if len(prelude) < _PRELUDE.size:
        raise malformed(f"the update file ends after {len(prelude)} B")
    magic, version, size, digest = _PRELUDE.unpack(prelude)
    if magic != MAGIC:
        raise Refusal(Code.MALFORMED, "is no update file", "name a .hwcu file")
    if version != VERSION:
        raise Refusal(Code.UNKNOWN, f"the update file has version {version}", "update hwc")
    if size > limits.header:
        raise Refusal(Code.LIMIT, f"the header has {size} B, over {limits.header}", _AGAIN)
    packed = reader.read(_PRELUDE.size, size)
    if len(packed) < size:
        raise malformed(f"the update file ends within its header of {size} B")
    if (found := hashlib.sha256(packed).digest()) != digest:
        message = f"the header has SHA-256 {short(found.hex())}, not {short(digest.hex())}"
        raise Refusal(Code.DIGEST, message, _AGAIN)
    return packed
