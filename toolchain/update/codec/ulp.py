"""Numbers as whole numbers in the same order, and the steps between two of them.

The bits of an IEEE number, read as an integer, count the numbers of that format in order, but for
the sign (Goldberg 1991, "What every computer scientist should know about floating-point
arithmetic"): a step of one is one unit in the last place (ULP). A weight that is trained on by a
little moves by about the same amount whatever it was, so by more ULPs the smaller it was: steps are
told apart by the exponent of the old weight, which both sides know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..release import Dtype

Bits = npt.NDArray[np.unsignedinteger[Any]]
Steps = npt.NDArray[np.signedinteger[Any]]
_FEWEST = 2048  # numbers of a group: a histogram costs some 50 bytes

# Bits of the mantissa of the float formats: IEEE 754, bfloat16, and the OCP's FP8.
_MANTISSA = {
    Dtype.F64: 52,
    Dtype.F32: 23,
    Dtype.F16: 10,
    Dtype.BF16: 7,
    Dtype.F8E4M3: 3,
    Dtype.F8E5M2: 2,
}


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Numbers sorted into groups that behave alike; the same wherever it is made from equal bytes.

    Attributes:
        order: Indices of the numbers, group by group; None: there is one group, in order.
        ends: Where each group ends.
    """

    order: npt.NDArray[np.intp] | None
    ends: tuple[int, ...]

    @classmethod
    def of(cls, old: Bits, dtype: Dtype) -> "Grouping":
        """Group by the exponent of old numbers, rare exponents together with the next."""
        mantissa = _MANTISSA.get(dtype)
        if mantissa is None or len(old) < 2 * _FEWEST:
            return cls(None, (len(old),))
        exponent = ((old << 1) >> (mantissa + 1)).astype(np.uint16)
        order = np.argsort(exponent, kind="stable")
        counts = np.bincount(exponent)
        ends, size, total = [], 0, 0
        for count in counts[counts > 0].tolist():
            size, total = size + count, total + count
            if size >= _FEWEST:
                ends.append(total)
                size = 0
        return cls(order, (*ends[:-1], len(old)))

    def split(self, numbers: Steps) -> list[Steps]:
        """The numbers of each group."""
        sorted_ = numbers if self.order is None else numbers[self.order]
        return np.split(sorted_, self.ends[:-1])

    def empty(self, dtype: np.dtype[Any]) -> list[Steps]:
        """Room for the numbers of each group."""
        return np.split(np.empty(self.ends[-1], dtype), self.ends[:-1])

    def joined(self, groups: Sequence[Steps]) -> Steps:
        """The numbers in their own order again."""
        numbers = np.concatenate(groups)
        if self.order is None:
            return numbers
        made = np.empty_like(numbers)
        made[self.order] = numbers
        return made


def bits(data: bytes, dtype: Dtype) -> Bits:
    """The bits of numbers as unsigned integers."""
    return np.frombuffer(data, f"<u{dtype.size}")


def ordered(numbers: Bits, dtype: Dtype) -> Bits:
    """Unsigned integers that are in the order of the numbers; every bit pattern has its own."""
    if dtype not in _MANTISSA:
        return numbers
    sign = numbers.dtype.type(1 << (8 * numbers.dtype.itemsize - 1))
    return np.where(numbers & sign, ~numbers, numbers | sign)


def unordered(numbers: Bits, dtype: Dtype) -> Bits:
    """What `ordered` was made from."""
    if dtype not in _MANTISSA:
        return numbers
    sign = numbers.dtype.type(1 << (8 * numbers.dtype.itemsize - 1))
    return np.where(numbers & sign, numbers ^ sign, ~numbers)


def steps(new: Bits, old: Bits, dtype: Dtype) -> Steps:
    """How many numbers of the format lie between, with sign; wraps around at the ends."""
    difference = ordered(new, dtype) - ordered(old, dtype)
    return difference.view(f"<i{difference.dtype.itemsize}")


def moved(old: Bits, by: Steps, dtype: Dtype) -> Bits:
    """The numbers that are so many steps from the old ones."""
    return unordered(ordered(old, dtype) + by.astype(f"<i{dtype.size}").view(old.dtype), dtype)
