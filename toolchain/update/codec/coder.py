"""What codes a sequence of integers that are mostly small, of either sign."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .payload import Payload

Codes = npt.NDArray[np.unsignedinteger[Any]]


class Coder(Protocol):
    """Integers modulo the width of their type, to bytes and back; how many is known outside."""

    def encode(self, values: Codes) -> bytes:
        """Code all of them."""
        ...

    def decode(self, payload: Payload, count: int, kind: np.dtype[Any]) -> Codes:
        """Take `count` integers, which the caller has bounded, of a type off a payload.

        Raises:
            Refusal: It does not hold them.
        """
        ...


def fold(values: Codes) -> Codes:
    """Read as 0, -1, 1, -2, 2, ... they become 0, 1, 2, 3, 4, ... (zigzag)."""
    one = values.dtype.type(1)
    return (values << one) ^ -(values >> _last(values))


def unfold(values: Codes) -> Codes:
    """The inverse of `fold`."""
    one = values.dtype.type(1)
    return (values >> one) ^ -(values & one)


def _last(values: Codes) -> np.unsignedinteger[Any]:
    """By how much to shift for the highest bit."""
    return values.dtype.type(8 * values.itemsize - 1)
