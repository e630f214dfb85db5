"""zstd, with the old bytes as a prefix or without; the only place that knows the library.

Frames have no magic number and no content size: what says that a block is zstd, and how long it
is, stands elsewhere.
"""

import zstandard

from ..limits import LIMITS
from ..refusal import Code, Refusal
from .payload import malformed

_FORMAT = zstandard.FORMAT_ZSTD1_MAGICLESS
_LEAST_WINDOW = 1 << 10  # what the format allows (RFC 8878, section 3.1.1.1.2)
_SLACK = 2  # an encoder rounds up to a power of two
_LITERALS = {  # as good as no search: in noise, what repeats by chance costs more than it saves
    "strategy": zstandard.STRATEGY_FAST,
    "min_match": 7,
    "hash_log": 6,
}


def compress(data: bytes, *, prefix: bytes = b"", level: int = 19) -> bytes:
    """One frame; decoding it takes the same prefix.

    Args:
        data: Of any length.
        prefix: What the frame may refer to.
        level: 1 to 19: slower and smaller; 0 codes each byte by how frequent it is.
    """
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level or 1,
        source_size=len(data) + len(prefix),
        format=_FORMAT,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
        window_log=_window_log(len(data)),
        **({} if level else _LITERALS),
    )
    made = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(prefix))
    return made.compress(data)


def decompress(data: bytes, size: int, *, prefix: bytes = b"") -> bytes:
    """Decode one frame into exactly `size` bytes, which the caller has bounded.

    Raises:
        Refusal: It is damaged, of another size, or asks for more memory than it can need.
    """
    _check_head(data, size)
    decoder = zstandard.ZstdDecompressor(
        dict_data=_dictionary(prefix), max_window_size=LIMITS.window, format=_FORMAT
    )
    try:
        # With room to spare, the library would not see what stands behind the frame; 0 is no bound.
        decoded = decoder.decompress(data, max_output_size=max(size, 1), allow_extra_data=False)
    except zstandard.ZstdError as cause:
        raise malformed(f"is no zstd: {cause}") from cause
    if len(decoded) != size:
        raise malformed(f"holds {len(decoded)} B, not {size}")
    return decoded


def _window_log(size: int) -> int:
    """The smallest window that holds `size` bytes, within limits.

    A prefix needs no room in it: all of it can be referred to as long as no more was decoded than
    the window holds (RFC 8878, section 5).
    """
    least, most = _LEAST_WINDOW.bit_length() - 1, LIMITS.window.bit_length() - 1
    return min(max((size - 1).bit_length() if size else 0, least), most)


def _dictionary(prefix: bytes) -> zstandard.ZstdCompressionDict | None:
    if not prefix:
        return None
    return zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _check_head(data: bytes, size: int) -> None:
    """Refuse what would take memory: the library allocates what the head of a frame asks for."""
    try:
        head = zstandard.get_frame_parameters(data, format=_FORMAT)
    except zstandard.ZstdError as cause:
        raise malformed(f"is no zstd: {cause}") from cause
    if head.window_size > min(LIMITS.window, _SLACK * max(size, _LEAST_WINDOW)):
        raise Refusal(Code.LIMIT, f"a zstd frame asks for a window of {head.window_size} B")
    if head.content_size not in (zstandard.CONTENTSIZE_UNKNOWN, size):
        raise malformed(f"says that it holds {head.content_size} B, not {size}")
