"""zstd without its frame's trappings, and with bounds on what a hostile frame may ask for."""

import io

import zstandard

from ..limits import LIMITS
from ..refusal import Code, Refusal

_FORMAT = zstandard.FORMAT_ZSTD1_MAGICLESS  # who wrote it is known, and sizes are kept elsewhere
_CHUNK = 1 << 16
_PAST = 1  # byte: asked for beyond the end, to see that there is none


def compress(data: bytes, *, prefix: bytes = b"", level: int = 19) -> bytes:
    """Compress bytes, which may refer to those of a prefix."""
    window = max(10, min(27, (len(data) + len(prefix)).bit_length()))
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=len(data) + len(prefix),
        format=_FORMAT,
        window_log=window,
        write_content_size=0,
        write_checksum=0,
        write_dict_id=0,
    )
    compressor = zstandard.ZstdCompressor(
        compression_params=parameters, dict_data=_dictionary(prefix)
    )
    return compressor.compress(bytes(data))


def decompress(data: bytes, size: int, *, prefix: bytes = b"") -> bytes:
    """What was compressed; never more than `size` bytes are made, whatever the frame says.

    Raises:
        Refusal: It is damaged, or does not give exactly `size` bytes.
    """
    window = max(LIMITS.window, 2 * (size + len(prefix)), 1 << 10)
    decompressor = zstandard.ZstdDecompressor(
        dict_data=_dictionary(prefix), max_window_size=window, format=_FORMAT
    )
    try:
        with decompressor.stream_reader(io.BytesIO(data), read_size=_CHUNK) as reader:
            made = reader.read(size + _PAST)
    except zstandard.ZstdError as cause:
        raise Refusal(Code.MALFORMED, f"a zstd frame of {len(data)} B: {cause}") from cause
    if len(made) != size:
        raise Refusal(Code.MALFORMED, f"a zstd frame gives {len(made)} B or more, not {size}")
    return bytes(made)


def _dictionary(prefix: bytes) -> zstandard.ZstdCompressionDict | None:
    if not prefix:
        return None
    return zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
