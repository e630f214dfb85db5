"""The levels of the formats that have fixed ones, and bfloat16, which holds all that is stored.

A level and a scale have eight significant bits each, so their product is exact in float32: every
machine decodes the same bytes to the same weights, and what was decoded encodes to the same codes.
"""

import numpy as np
import numpy.typing as npt

from .formats import Format, Kind

Floats = npt.NDArray[np.float32]
_LOW = np.uint32(0xFFFF)  # the bits of a float32 that a bfloat16 has not
_OCTAVES_BITS = 4  # up to so many bits, a level is a power of two


def fixed_levels(form: Format) -> Floats:
    """The levels of a format, ascending and symmetric around 0; not of a codebook."""
    match form.kind:
        case Kind.INT | Kind.LSQ:
            top = 2 ** (form.bits - 1) - 1
            return np.arange(-top, top + 1, dtype=np.float32)
        case Kind.LOG:
            positive = _powers(form.bits)
        case Kind.FLOAT:
            positive = _floats(form.layout)
        case Kind.CODEBOOK:
            raise ValueError("a codebook has the levels of its tensor")
    return np.concatenate([-positive[::-1], np.zeros(1, np.float32), positive])


def _powers(bits: int) -> Floats:
    """2^(-i / 2^r) for each i that a sign and a zero leave room for, ascending.

    By square roots, which IEEE 754 rounds correctly, unlike `exp2`.
    """
    count, base = 2 ** (bits - 1) - 1, np.float64(2)
    for _ in range(max(0, bits - _OCTAVES_BITS)):
        base = np.sqrt(base)
    powers = [np.float64(1)]
    for _ in range(count - 1):
        powers.append(powers[-1] / base)
    return bfloat16(np.array(powers[::-1], np.float32))


def _floats(layout: str) -> Floats:
    """The positive numbers of a small float, ascending (OFP8 1.0 section 5, MX 1.0 section 5.3)."""
    exponent, mantissa = int(layout[1]), int(layout[3])
    bias = 2 ** (exponent - 1) - 1
    fraction = np.arange(2**mantissa) / 2**mantissa
    rows = [fraction * 2.0 ** (1 - bias)]
    rows += [(1 + fraction) * 2.0 ** (e - bias) for e in range(1, 2**exponent)]
    numbers = np.concatenate(rows)[1:]
    if layout == "e4m3":
        numbers = numbers[:-1]  # the last is NaN
    elif layout == "e5m2":
        numbers = numbers[: -(2**mantissa)]  # infinity and NaN
    return numbers.astype(np.float32)


def bfloat16(array: Floats) -> Floats:
    """The nearest bfloat16 of finite numbers, ties to even, as float32."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + even) & ~_LOW
    down = bits & ~_LOW
    return np.where(np.isfinite(rounded.view(np.float32)), rounded, down).view(np.float32)
