"""A few changed numbers among many: how far from one to the next, and how they changed."""

from typing import Any

import numpy as np

from .coder import Coder, Codes
from .payload import Payload, malformed, varint


def encode(values: Codes, coder: Coder) -> bytes:
    """Code values of which most are 0: how many are not, the gaps between those, and those."""
    at = np.flatnonzero(values)
    gaps = (np.diff(at, prepend=-1) - 1).astype(np.uint32)
    return varint(len(at)) + coder.encode(gaps) + coder.encode(values[at])


def decode(payload: Payload, count: int, kind: np.dtype[Any], coder: Coder) -> Codes:
    """Take `count` values of a type off a payload.

    Raises:
        Refusal: It does not hold them.
    """
    changed = payload.varint(count)
    gaps = coder.decode(payload, changed, np.dtype(np.uint32))
    at = np.cumsum(gaps, dtype=np.uint64) + np.arange(changed, dtype=np.uint64)
    if changed and at[-1] >= count:  # sums do not wrap: 2^20 gaps of 2^32 at most
        raise malformed(f"has a change at {at[-1]} of {count}")
    values = np.zeros(count, kind)
    values[at] = coder.decode(payload, changed, kind)
    return values
