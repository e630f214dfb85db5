"""A text (`bundle.json`, a block of a skeleton) told from an old one, as a whole.

Two ways, the smaller of which is kept: zstd with the old text as its prefix, or a patch.
"""

from ..codec import zstd
from ..codec.method import Method
from ..refusal import Code, Refusal
from . import patch

PATCH = 128  # the number of a patch on the wire: above those of `Method`, for blocks of numbers

_BEST, _FAST = 19, 9  # levels of zstd


def encode(new: bytes, old: bytes, *, thorough: bool = True) -> tuple[int, bytes]:
    """The smaller of both ways, with its number.

    Args:
        new: The text.
        old: What it is told from; may be empty.
        thorough: Whether it may take a second for each MB, or rather a tenth.
    """
    prefixed = zstd.compress(new, prefix=old, level=_BEST if thorough else _FAST)
    if thorough and old:
        patched = patch.encode(new, old)
        if len(patched) < len(prefixed):
            return PATCH, patched
    return Method.ZSTD_PREFIX, prefixed


def decode(method: int, payload: bytes, old: bytes, size: int) -> bytes:
    """Exactly `size` bytes.

    Raises:
        Refusal: The payload is damaged, or the way is none for texts.
    """
    if method == PATCH:
        return patch.decode(payload, old, size)
    if method == Method.ZSTD_PREFIX:
        return zstd.decompress(payload, size, prefix=old)
    raise Refusal(Code.UNKNOWN, f"a text is coded by method {method}", "update hwc")
