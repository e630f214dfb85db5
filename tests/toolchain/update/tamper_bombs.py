"""Update files that are small, and hold or claim very much; all digests in them are right."""

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import zstandard
from hwc.toolchain.update.codec.method import Method
from hwc.toolchain.update.delta.header import BLOCK, FILE, SEGMENT
from hwc.toolchain.update.limits import LIMITS
from hwc.toolchain.update.refusal import Code

from .tamper_thief import FIXED, STRATEGY, Parts

TABLES = ("files", "segments", "blocks")
BILLIONS = (10**9, 2**32 - 1)
_COUNTS = STRATEGY + 1 + 4  # where a header keeps how many rows its tables have
_MUCH = 256 << 20
_WINDOW = 10  # the smallest there is, in bits: what asks for more is known by that

Make = Callable[[Parts], bytes]


@cache
def zeros(size: int) -> bytes:
    """A zstd frame that asks for a small window and holds many zeros."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        1, format=zstandard.FORMAT_ZSTD1_MAGICLESS, window_log=_WINDOW, write_content_size=False
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(size))


def _block(number: int, method: Method) -> Make:
    def make(parts: Parts) -> bytes:
        rows, payloads = parts.header.blocks.copy(), parts.blocks()
        rows["method"][number], payloads[number] = method, zeros(_MUCH)
        return Parts.telling(replace(parts.header, blocks=rows), payloads).update

    return make


def _text(parts: Parts) -> bytes:
    payloads = [zeros(_MUCH), *parts.blocks()[1:]]
    return Parts.telling(replace(parts.header, text=LIMITS.release), payloads).update


def _tables(parts: Parts, tables: bytes, name: str = "", count: int = 0) -> bytes:
    """An update file with other tables, and perhaps another number of rows in one of them."""
    fixed = bytearray(parts.packed[:FIXED])
    if name:
        struct.pack_into("<I", fixed, _COUNTS + 4 * TABLES.index(name), count)
    struct.pack_into("<I", fixed, FIXED - 4, len(tables))
    return replace(parts, packed=bytes(fixed) + tables + parts.header.digests).update


def _claim(name: str, count: int) -> Make:
    return lambda parts: _tables(
        parts, parts.packed[FIXED : -len(parts.header.digests)], name, count
    )


def _most_blocks(parts: Parts, payloads: int = 0) -> bytes:
    """As many rows as are allowed, and they are all there; so many bytes more behind them."""
    rest = FILE.itemsize * len(parts.header.files) + SEGMENT.itemsize * len(parts.header.segments)
    count = (LIMITS.header_decoded - rest) // BLOCK.itemsize
    return _tables(parts, zeros(rest + count * BLOCK.itemsize), "blocks", count) + bytes(payloads)


def _long_header(parts: Parts) -> bytes:
    """A header of 4 GiB."""
    return parts.update[:5] + b"\xff" * 4 + parts.update[9:]


BOMBS: dict[str, tuple[Make, Code]] = {
    "tensor": (_block(1, Method.ZSTD), Code.MALFORMED),
    "skeleton": (_block(6, Method.ZSTD_PREFIX), Code.MALFORMED),
    "bundle.json": (_block(0, Method.ZSTD_PREFIX), Code.MALFORMED),
    "large bundle.json": (_text, Code.MALFORMED),
    "tables": (lambda parts: _tables(parts, zeros(_MUCH)), Code.MALFORMED),
    "most blocks": (_most_blocks, Code.MALFORMED),
    "most blocks, a byte for each": (
        lambda parts: _most_blocks(parts, LIMITS.header_decoded // BLOCK.itemsize),
        Code.MALFORMED,
    ),
    "header": (_long_header, Code.LIMIT),
    **{f"{n} {name}": (_claim(name, n), Code.LIMIT) for name in TABLES for n in BILLIONS},
}
