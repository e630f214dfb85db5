"""How the bytes of a block are read as integers, of which those of old and new are compared."""

from typing import Protocol

from .coder import Codes


class Integers(Protocol):
    """A way of reading bytes as integers; every sequence of bytes has its own integers."""

    def read(self, data: bytes) -> Codes:
        """The integers that bytes stand for."""
        ...

    def write(self, codes: Codes, size: int) -> bytes:
        """The `size` bytes that stand for integers."""
        ...

    def apart(self, new: Codes, old: Codes) -> Codes:
        """How far integers moved, modulo the width of their type."""
        ...

    def moved(self, old: Codes, apart: Codes) -> Codes:
        """The inverse of `apart`."""
        ...

    def keys(self, old: bytes) -> Codes | None:
        """For each integer a small number that may say how far it moves; None where none does."""
        ...
