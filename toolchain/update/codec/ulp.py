"""Numbers as their ranks: integers in the order of the numbers, so that neighbours differ by one.

The map of IEEE 754 bits (all of them flipped in a negative number, else the sign alone) takes every
bit pattern to its own rank, NaN, -0 and denormals included; two's complement needs its sign
flipped, unsigned numbers nothing. How far numbers move is counted in units in the last place (ULP).
"""

from dataclasses import dataclass

import numpy as np

from ..release import Dtype
from .coder import Codes

_MANTISSAS = {  # bits behind the exponent
    Dtype.F64: 52,
    Dtype.F32: 23,
    Dtype.F16: 10,
    Dtype.BF16: 7,
    Dtype.F8E4M3: 3,
    Dtype.F8E5M2: 2,
}
_SIGNED = (Dtype.I64, Dtype.I32, Dtype.I16, Dtype.I8)
_EIGHTHS = 3  # bits of an 8-bit code that say little of how far it moves


@dataclass(frozen=True, slots=True)
class Ulp:
    """The `Integers` of a type whose elements are whole bytes.

    Attributes:
        dtype: The type.
    """

    dtype: Dtype

    def read(self, data: bytes) -> Codes:
        """The ranks, as wide as the numbers."""
        bits: Codes = np.frombuffer(data, f"<u{self.dtype.size}")
        if self.dtype in _MANTISSAS:
            bits = bits ^ (_spread(bits) | _sign(bits))
        elif self.dtype in _SIGNED:
            bits = bits ^ _sign(bits)
        return bits

    def write(self, codes: Codes, size: int) -> bytes:
        """The numbers of these ranks; `size` follows from them."""
        if self.dtype in _MANTISSAS:
            codes = codes ^ (_spread(~codes) | _sign(codes))
        elif self.dtype in _SIGNED:
            codes = codes ^ _sign(codes)
        return codes.tobytes()[:size]

    def apart(self, new: Codes, old: Codes) -> Codes:
        """The differences of ranks."""
        return new - old

    def moved(self, old: Codes, apart: Codes) -> Codes:
        """The new ranks."""
        return old + apart

    def keys(self, old: bytes) -> Codes | None:
        """Exponent and first bit behind it of a float; a rough value of an 8-bit code."""
        if self.dtype in _MANTISSAS:
            bits: Codes = np.frombuffer(old, f"<u{self.dtype.size}")
            kept: Codes = (bits & ~_sign(bits)) >> bits.dtype.type(_MANTISSAS[self.dtype] - 1)
            return kept.astype(np.uint16)
        return self.read(old) >> np.uint8(_EIGHTHS) if self.dtype.size == 1 else None


def _sign(bits: Codes) -> np.unsignedinteger:
    return bits.dtype.type(1 << (8 * bits.itemsize - 1))


def _spread(bits: Codes) -> Codes:
    """All ones where the sign is set, else 0."""
    return -(bits >> bits.dtype.type(8 * bits.itemsize - 1))
