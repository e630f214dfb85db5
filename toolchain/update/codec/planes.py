"""Integers coded byte by byte: all lowest bytes, then all second ones, each with zstd or as it is.

What any build of hwc reads, with pcodec or without.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import zstd
from .coder import Codes, fold, unfold
from .payload import Payload, malformed, varint

_WIDTHS = (1, 2, 4, 8)  # bytes of integers that numpy knows
_FOLDED = 0x10  # beside the count of planes: some integers are negative


@dataclass(frozen=True, slots=True)
class Planes:
    """A `Coder`: a byte that counts planes; of each its size, 0 for one as it is, and its bytes.

    No integers take nothing.

    Attributes:
        level: Of zstd, for planes in which something repeats; 0 looks for nothing of that kind.
    """

    level: int = 6

    def encode(self, values: Codes) -> bytes:
        """Code all of them in as many planes as the largest needs."""
        if not values.size:
            return b""
        negative = values.view(f"i{values.itemsize}").min() < 0
        values = fold(values) if negative else np.ascontiguousarray(values)
        count = -(-int(values.max()).bit_length() // 8)
        rows = values.view(np.uint8).reshape(values.size, values.itemsize)
        out = [bytes([count | (_FOLDED if negative else 0)])]
        for k in range(count):
            plane = rows[:, k].tobytes()
            levels = {0, self.level}
            packed = min((zstd.compress(plane, level=each) for each in levels), key=len)
            smaller = len(packed) < len(plane)
            out += [varint(len(packed)), packed] if smaller else [varint(0), plane]
        return b"".join(out)

    def decode(self, payload: Payload, count: int, kind: np.dtype[Any]) -> Codes:
        """Take `count` integers off a payload; see `Coder`."""
        if not count:
            return np.zeros(0, kind)
        form = payload.byte()
        planes = form & ~_FOLDED
        width = next((width for width in _WIDTHS if width >= planes), 0)
        if not width:
            raise malformed(f"has integers of form {form}")
        rows = np.zeros((count, width), np.uint8)
        for k in range(planes):
            size = payload.varint(count)
            plane = zstd.decompress(payload.take(size), count) if size else payload.take(count)
            rows[:, k] = np.frombuffer(plane, np.uint8)
        codes: Codes = rows.view(f"<u{width}").reshape(count)
        if form & _FOLDED:
            codes = unfold(codes).view(f"<i{width}")  # spreads the sign
        return codes.astype(kind)
