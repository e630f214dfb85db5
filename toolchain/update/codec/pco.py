"""Integers coded with pcodec, in bins with an entropy coder; the only place that imports it.

A chunk of the wrapped format of pco 4.1 (its docs/format.md), whose header is not stored. Only the
classic mode without deltas is written and read: the order of these integers means nothing, and
undoing other modes takes memory that the payload asks for.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..refusal import Code, Refusal
from .coder import Codes, fold, unfold
from .payload import Payload, malformed
from .planes import Planes

if TYPE_CHECKING:
    from pcodec import ChunkConfig

_HEADER = b"\x04\x01"  # of the format that this is written in
_CLASSIC = b"\x00"  # first byte of a chunk: no mode, no deltas
_WIDTHS = (2, 4, 8)  # bytes of an integer; at one, pcodec is three times as slow
_FREQUENT = Planes(level=0)
_BYTES = 0  # instead of a width: integers of one byte, coded by those
_SIGNED = 0x10  # beside the width: integers with a sign, else folded ones
_LEVEL = (
    9  # of a fine-tune, 8 takes 0.04 % more in 0.8 of the time, 12 takes 0.04 % less in 3 times
)
_SKEW = 300.0  # bits that uneven signs must save over folding, which halves the bins to describe
_PAGE = 1 << 24  # integers: more than any block has


class Pco:
    """A `Coder`: a byte that says how the integers are written, then a chunk; nothing for none.

    Pcodec takes one bin for all where more would save less than a tenth of a bit for each integer;
    of those in one byte, a code by frequency may then take less.
    """

    def encode(self, values: Codes) -> bytes:
        """Code all of them, in no more bytes each than the largest needs."""
        if not values.size:
            return b""
        signed = values.view(f"i{values.itemsize}")
        if _skew(signed) > _SKEW:
            largest = max(int(signed.max()), ~int(signed.min()))
            width = next(width for width in _WIDTHS if largest >> (8 * width - 1) == 0)
            return bytes([width | _SIGNED]) + _chunk(signed.astype(f"<i{width}"))
        folded = fold(values)
        largest = int(folded.max())
        width = next(width for width in _WIDTHS if largest >> 8 * width == 0)
        coded = bytes([width]) + _chunk(folded.astype(f"<u{width}"))
        if largest >> 8 or 8 * len(coded) <= values.size:  # a code by frequency takes whole bits
            return coded
        return min(coded, bytes([_BYTES]) + _FREQUENT.encode(values), key=len)

    def decode(self, payload: Payload, count: int, kind: np.dtype[Any]) -> Codes:
        """Take `count` integers off a payload; see `Coder`."""
        if not count:
            return np.zeros(0, kind)
        if not available():
            hint = "install pcodec on this device, or make the update without it"
            raise Refusal(Code.UNKNOWN, "a block is coded with pcodec", hint)
        form = payload.byte()
        if form == _BYTES:
            return _FREQUENT.decode(payload, count, kind)
        width = form & ~_SIGNED
        if width not in _WIDTHS:
            raise malformed(f"has integers of form {form}")
        letter = "i" if form & _SIGNED else "u"
        values = np.empty(count, f"<{letter}{width}")
        payload.take(_read(payload.rest, f"{letter}{8 * width}", values))
        codes = values.view(f"<u{width}")
        return (codes if form & _SIGNED else unfold(codes)).view(f"<i{width}").astype(kind)


@cache
def available() -> bool:
    """Whether pcodec is installed, in a version that writes this format."""
    if find_spec("pcodec") is None:
        return False
    return bool(_wrapped().FileCompressor().write_header() == _HEADER)


def _wrapped() -> ModuleType:
    """The library; imported when it is used, for a build may lack it."""
    return import_module("pcodec").wrapped  # type: ignore[no-any-return]  # a module is Any


def _skew(values: np.ndarray) -> float:
    """Bits that it is worth to know which sign is the more frequent one."""
    positive = int(np.count_nonzero(values > 0))
    count = int(np.count_nonzero(values))
    share = positive / max(count, 1)
    if share in (0.0, 1.0):
        return float(count)
    entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    return float(count * (1 - entropy))


def _chunk(values: np.ndarray) -> bytes:
    chunk = _wrapped().FileCompressor().chunk_compressor(values, _config())
    return bytes(chunk.write_meta() + chunk.write_page(0))


@cache
def _config() -> "ChunkConfig":
    pcodec = import_module("pcodec")
    return pcodec.ChunkConfig(
        compression_level=_LEVEL,
        mode_spec=pcodec.ModeSpec.classic(),
        delta_spec=pcodec.DeltaSpec.no_op(),
        paging_spec=pcodec.PagingSpec.equal_pages_up_to(_PAGE),
    )


def _read(data: bytes, kind: str, values: np.ndarray) -> int:
    """Fill `values`; returns how many bytes they took."""
    if data[:1] != _CLASSIC:
        raise malformed("is in a mode of pcodec that is not used")
    file, _ = _wrapped().FileDecompressor.new(_HEADER)
    try:
        chunk, head = file.chunk_decompressor(data, kind)
        progress, page = chunk.read_page_into(data[head:], len(values), values)
    except (RuntimeError, TypeError) as cause:
        raise malformed(f"is no pcodec: {cause}") from cause
    if not (progress.finished and progress.n_processed == len(values)):
        raise malformed("is cut within pcodec")
    return int(head + page)
