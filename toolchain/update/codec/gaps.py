"""Steps of which most are 0: those that are not, and how far apart they are."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..refusal import Code, Refusal
from . import pco, planes

Steps = npt.NDArray[np.signedinteger[Any]]
_COUNT = np.dtype("<u4")
_GAP = np.dtype("<u4")


def encode(steps: Steps, *, pcodec: bool, level: int) -> bytes:
    """Code steps by where they are.

    Args:
        steps: Of two bytes or more each.
        pcodec: Whether by pcodec, else under zstd.
        level: Of zstd.
    """
    places = np.flatnonzero(steps)
    gaps = np.diff(places, prepend=-1).astype(_GAP)
    count = np.array([len(places)], _COUNT).tobytes()
    if pcodec:
        return count + pco.encode([gaps, steps[places]])
    first = planes.encode(gaps, level)
    size = np.array([len(first)], _COUNT).tobytes()
    return count + size + first + planes.encode(steps[places], level)


def decode(payload: bytes, length: int, dtype: np.dtype[Any], *, pcodec: bool) -> Steps:
    """The steps.

    Raises:
        Refusal: It is damaged, or says more than there is room for.
    """
    head = _COUNT.itemsize * (1 if pcodec else 2)
    if len(payload) < head:
        raise Refusal(Code.MALFORMED, f"{len(payload)} B hold no steps")
    count, *size = np.frombuffer(payload[:head], _COUNT).tolist()
    if count > length:
        raise Refusal(Code.MALFORMED, f"{count} steps for {length} numbers")
    gaps, values = np.empty(count, _GAP), np.empty(count, dtype)
    if pcodec:
        pco.decode(payload[head:], [gaps, values])
    else:
        middle = head + size[0]
        gaps = planes.decode(payload[head:middle], count, _GAP)
        values = planes.decode(payload[middle:], count, dtype)
    places = np.cumsum(gaps, dtype=np.int64) - 1
    if count and (int(gaps.min()) == 0 or int(places[-1]) >= length):
        raise Refusal(Code.MALFORMED, "a step lies outside of its block")
    made = np.zeros(length, dtype)
    made[places] = values
    return made
