"""Codes of 2 to 8 bits, one after the other without gaps, and entropy coded where that is less."""

import zlib

import numpy as np
import numpy.typing as npt

from ..errors import IntegrityError

Codes = npt.NDArray[np.uint8]
_DAMAGED = "do not use this bundle; fetch or compile it again"
_LEVEL, _MEMORY = 6, 9
_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
_SAMPLE = 1 << 17  # bytes that tell which strategy is better


def pack_bits(codes: Codes, bits: int) -> bytes:
    """Eight codes to `bits` bytes, the lowest bit first; the last byte is filled with zeros."""
    if bits == 8:  # noqa: PLR2004 - of a byte
        return codes.tobytes()
    groups = -(-codes.size // 8)
    padded = np.zeros((groups * 8,), np.uint64)
    padded[: codes.size] = codes
    shifts = (np.arange(8, dtype=np.uint64) * np.uint64(bits))[None]
    words = np.bitwise_or.reduce(padded.reshape(groups, 8) << shifts, axis=1)
    whole = words.astype("<u8").view(np.uint8).reshape(groups, 8)[:, :bits].tobytes()
    return bytes(whole[: packed_size(codes.size, bits)])


def unpack_bits(data: bytes | memoryview, bits: int, count: int) -> Codes:
    """Read what `pack_bits` wrote.

    Raises:
        IntegrityError: The data has another size than so many codes take.
    """
    if len(data) != packed_size(count, bits):
        raise IntegrityError(f"{count} codes of {bits} bits are not {len(data)} B", _DAMAGED)
    raw = np.frombuffer(data, np.uint8)
    if bits == 8:  # noqa: PLR2004 - of a byte
        return raw
    groups = -(-count // 8)
    whole = np.zeros(groups * bits, np.uint8)
    whole[: len(raw)] = raw
    words = np.zeros((groups, 8), np.uint8)
    words[:, :bits] = whole.reshape(groups, bits)
    shifts = (np.arange(8, dtype=np.uint64) * np.uint64(bits))[None]
    mask = np.uint64(2**bits - 1)
    codes: Codes = ((words.view("<u8") >> shifts) & mask).astype(np.uint8)
    return codes.reshape(-1)[:count]


def packed_size(count: int, bits: int) -> int:
    """Bytes of so many codes."""
    return -(-count * bits // 8)


def deflate(data: bytes) -> bytes:
    """Compress with string matching, or with Huffman codes alone: what is less on a first part."""
    first = data[:_SAMPLE]
    best = min(_STRATEGIES, key=lambda strategy: len(_deflate(first, strategy)))
    return _deflate(data, best)


def _deflate(data: bytes, strategy: int) -> bytes:
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, _MEMORY, strategy)
    return stream.compress(data) + stream.flush()


def inflate(data: bytes | memoryview, size: int) -> bytes:
    """Read what `deflate` wrote; no more than `size` bytes are ever made.

    Raises:
        IntegrityError: It is damaged, or holds more or less than `size` bytes.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        whole = stream.decompress(data, max(size, 1))
        if not stream.eof:  # the mark of the end may still be to be read
            whole += stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as cause:
        raise IntegrityError(f"damaged weights ({cause})", _DAMAGED) from cause
    if len(whole) != size or not stream.eof or stream.unused_data:
        raise IntegrityError(f"damaged weights: not {size} B", _DAMAGED)
    return whole
