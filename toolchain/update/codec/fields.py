"""Codes of 2 to 8 bits, packed one after the other from the lowest bit on, as integers."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from .coder import Codes
from .payload import malformed

Bytes = npt.NDArray[np.uint8]
_BYTE = 8  # bits
_SAMPLE = 2048  # bytes that tell how wide codes are
_PERIOD = 105  # bytes after which codes of any width begin with a byte again
_KEY = 5  # highest bits of a code that may say how far it moves


@dataclass(frozen=True, slots=True)
class Fields:
    """The `Integers` of a stretch of packed codes, which need not begin where one of them does.

    Attributes:
        bits: Of one code, 2 to 8.
        lead: Bytes before the stretch since a code began with a byte.
    """

    bits: int
    lead: int = 0

    @classmethod
    def parse(cls, form: int) -> Self:
        """Read what `form` gives.

        Raises:
            Refusal: There are no such fields.
        """
        fields = cls(form & 0xF, form >> 4)
        if fields not in _FORMS:
            raise malformed(f"has fields of form {form}")
        return fields

    @classmethod
    def likely(cls, new: bytes, old: bytes | None) -> "Fields":
        """The fields whose changes, or which themselves, have the least entropy in a sample."""
        begin = 0
        if old is not None:
            changed = np.flatnonzero(np.frombuffer(new, np.uint8) != np.frombuffer(old, np.uint8))
            begin = int(changed[len(changed) // 2]) if len(changed) else 0
        begin = max(0, begin - _SAMPLE // 2) // _PERIOD * _PERIOD
        one = new[begin : begin + _SAMPLE]
        two = None if old is None else old[begin : begin + _SAMPLE]
        return min(_FORMS, key=lambda fields: fields.cost(one, two))

    @property
    def form(self) -> int:
        """Both numbers in a byte."""
        return self.bits | self.lead << 4

    @property
    def unit(self) -> int:
        """Bytes from the beginning of a code with a byte to the next one."""
        return self.bits // math.gcd(self.bits, _BYTE)

    def read(self, data: bytes) -> Codes:
        """The codes; those at the ends may have bits beyond the data, which are 0."""
        units = -(-(self.lead + len(data)) // self.unit)
        room = np.zeros(units * self.unit, np.uint8)
        room[self.lead : self.lead + len(data)] = np.frombuffer(data, np.uint8)
        words = self._words(room)
        codes = np.empty((units, self._codes), np.uint8)
        for k in range(self._codes):
            codes[:, k] = words >> words.dtype.type(k * self.bits)
        return codes.reshape(-1) & self._mask

    def write(self, codes: Codes, size: int) -> bytes:
        """The bytes that codes were read from."""
        rows = codes.reshape(-1, self._codes)
        words = self._words(np.zeros(len(rows) * self.unit, np.uint8))
        for k in range(self._codes):
            words |= rows[:, k].astype(words.dtype) << words.dtype.type(k * self.bits)
        room = words.view(np.uint8).reshape(len(rows), words.itemsize)[:, : self.unit].tobytes()
        return room[self.lead : self.lead + size]

    def apart(self, new: Codes, old: Codes) -> Codes:
        """Differences modulo the codes' width, with the sign spread over the byte."""
        spare = np.uint8(_BYTE - self.bits)
        shifted = ((new - old) << spare).view(np.int8)
        return (shifted >> spare.astype(np.int8)).view(np.uint8)

    def moved(self, old: Codes, apart: Codes) -> Codes:
        """The new codes."""
        return (old + apart) & self._mask

    def keys(self, old: bytes) -> Codes | None:
        """A rough value of each code."""
        return self.read(old) >> np.uint8(max(0, self.bits - _KEY))

    def cost(self, new: bytes, old: bytes | None) -> float:
        """Bits that codes of this form take: their entropy, and that of a table of it."""
        codes = self.read(new)
        if old is not None:
            codes = self.apart(codes, self.read(old))
        counts = np.bincount(codes)
        counts = counts[counts > 0]
        return float(-(counts * np.log2(counts / len(codes))).sum() + _BYTE * len(counts))

    @property
    def _codes(self) -> int:
        """Codes of a unit."""
        return _BYTE * self.unit // self.bits

    @property
    def _mask(self) -> np.uint8:
        return np.uint8((1 << self.bits) - 1)

    def _words(self, room: Bytes) -> Codes:
        """Each unit as one integer."""
        if self.unit == 1:
            return room
        wide = np.zeros((len(room) // self.unit, _BYTE), np.uint8)
        wide[:, : self.unit] = room.reshape(-1, self.unit)
        return wide.view("<u8").reshape(-1)


_FORMS = tuple(
    Fields(bits, lead) for bits in range(2, _BYTE + 1) for lead in range(Fields(bits).unit)
)
