"""Where a tensor lies in a file, before anything was read of it but its description."""

from dataclasses import dataclass

from ..release import Dtype

_NAME = 200  # characters of a name that are kept: longer ones differ at their ends
_NUMBER = 1 << 53  # the numbers that every reader of JSON can hold


@dataclass(frozen=True, slots=True)
class Span:
    """A tensor without its digest; the attributes are those of `release.Tensor`."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Layout:
    """How numbers of one type are stored: how to read them, and bits of one."""

    dtype: Dtype
    bits: int

    @classmethod
    def of(cls, dtype: Dtype) -> "Layout":
        """Of a type of whole bytes."""
        return cls(dtype, 8 * dtype.size)

    def span(self, name: str, shape: tuple[int, ...], offset: int, size: int) -> Span | None:
        """A tensor of this type; None where such a tensor does not have `size` bytes."""
        count = elements(shape)
        if count is None or -(-count * self.bits // 8) != size:
            return None
        return Span(name[-_NAME:], self.dtype, shape, offset, size)


def elements(shape: tuple[int, ...]) -> int | None:
    """How many numbers a tensor has; None where the shape is impossible."""
    count = 1
    for each in shape:
        count *= each
        if not (0 <= each < _NUMBER and count < _NUMBER):
            return None
    return count
