"""One array without loss, in as few bytes as its numbers allow.

A weight that was stored in few bits has few different numbers, whatever type a kernel reads it in:
a code for each, with a table of the numbers for the tensor or for each channel. A float weight that
a storage format wrote is that format's codes and scales. Where one code is most of them, such as
that of zero in a sparse weight, a bitmap says where the others are. Anything is at least deflated.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codec import LATER
from ..errors import IntegrityError
from .bits import Codes, deflate, inflate, pack_bits, packed_size, unpack_bits
from .encode import Encoded, decode, encode, layout
from .formats import MOST_BITS, Format
from .formats import Kind as FormatKind
from .levels import Floats, fixed_levels

Kind = np.dtype[np.unsignedinteger[Any]]
Items = npt.NDArray[np.unsignedinteger[Any]]  # the bits of numbers
_MOST_CODES = 256
_SAMPLE = 1 << 15  # numbers that tell whether an array can have few different ones
_VARIED = 0.9  # the share of different numbers in them above which it has not
_MOST_MARKS = 1 << 26  # of a table that says which channel has which number
_COMMON = 0.25  # the least share of one code that a bitmap is tried for
_LEAST_GAIN = 16  # bytes by which a bitmap must be less, for what the index says of it
_DAMAGED = "do not use this bundle; fetch or compile it again"


class How(StrEnum):
    """How an array is coded."""

    BYTES = "bytes"
    TABLE = "table"
    FORMAT = "format"


@dataclass(frozen=True, slots=True)
class Section:
    """How one array is coded.

    Attributes:
        how: Its bytes, codes into a table of its numbers, or codes of a storage format.
        sizes: Bytes of each part: codes first, then what they stand for, and the bitmap.
        bits: Of a code; 0 where the codes are deflated as whole bytes.
        axis: The axis of the channels that have tables of their own; None: one for all.
        wide: Numbers in a table, or levels in a codebook, of each channel.
        form: The storage format.
        common: The code that is not among the codes, since a deflated bitmap says where it is not;
            None: all codes are there.
    """

    how: How
    sizes: tuple[int, ...]
    bits: int = 0
    axis: int | None = None
    wide: int = 0
    form: str = ""
    common: int | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A way to code an array: codes, and what they stand for."""

    how: How
    codes: Codes
    tables: tuple[Items, ...]
    axis: int | None
    wide: int
    form: str = ""

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return max(1, int(self.codes.max(initial=0)).bit_length())

    @property
    def estimate(self) -> float:
        """About the bytes that it takes: the entropy of the codes, and the tables."""
        counts = np.bincount(self.codes)
        share = counts[counts > 0] / max(self.codes.size, 1)
        entropy = float(-(share * np.log2(share)).sum())
        return self.codes.size * entropy / 8 + sum(table.nbytes for table in self.tables)


def code(items: Items, formats: Sequence[Format] = ()) -> tuple[Section, bytes]:
    """Code an array; `restore` gives it back bit by bit.

    Args:
        items: The bits of its numbers, in its shape; of 32 bits where they are float32.
        formats: Storage formats that may have written it.
    """
    candidate = min(_candidates(items, formats), key=lambda c: c.estimate, default=None)
    if candidate is not None and candidate.estimate < items.nbytes:
        return _write(candidate)
    plain = _planes(items)
    return Section(How.BYTES, (len(plain),)), plain


def restore(section: Section, data: memoryview, shape: tuple[int, ...], kind: Kind) -> Items:
    """Read what `code` wrote.

    Args:
        section: How it is coded.
        data: Its bytes.
        shape: Of the array.
        kind: The unsigned integers that hold its numbers' bits.

    Raises:
        IntegrityError: The bytes are not those of such an array.
    """
    if any(size < 0 for size in section.sizes) or sum(section.sizes) != len(data):
        raise IntegrityError("damaged weights: parts of other sizes", _DAMAGED)
    if section.axis is not None and not 0 <= section.axis < len(shape):
        raise IntegrityError(f"damaged weights: no axis {section.axis}", _DAMAGED)
    ends = np.cumsum([0, *section.sizes])
    parts = [data[a:b] for a, b in pairwise(ends)]
    if len(parts) != (1 if section.how is How.BYTES else 2 + (section.common is not None)):
        raise IntegrityError(f"damaged weights: {len(parts)} parts", _DAMAGED)
    if section.how is How.BYTES:
        return _from_planes(parts[0], math.prod(shape), kind).reshape(shape)
    if not (0 <= section.bits <= MOST_BITS and 0 < section.wide <= _MOST_CODES):
        raise IntegrityError("damaged weights: no such coding", _DAMAGED)
    codes = _read(section, parts, math.prod(shape))
    if int(codes.max(initial=0)) >= section.wide:
        raise IntegrityError("damaged weights: a code beyond its table", _DAMAGED)
    if section.how is How.TABLE:
        return _from_table(section, codes, parts[1], shape, kind)
    if kind.itemsize != np.dtype(np.float32).itemsize:
        raise IntegrityError(f"damaged weights: {section.form} of no float32", _DAMAGED)
    return _from_format(section, codes, parts[1], shape).view(np.uint32)


def _read(section: Section, parts: Sequence[memoryview], count: int) -> Codes:
    """So many codes, those that are most of them put back."""
    if section.common is None:
        return _codes(parts[0], section.bits, count)
    if not 0 <= section.common < section.wide:
        raise IntegrityError("damaged weights: a code beyond its table", _DAMAGED)
    marks = np.frombuffer(inflate(parts[2], packed_size(count, 1)), np.uint8)
    others = np.unpackbits(marks, count=count).astype(np.bool_)
    codes = np.full(count, section.common, np.uint8)
    codes[others] = _codes(parts[0], section.bits, int(np.count_nonzero(others)))
    return codes


def _codes(part: memoryview, bits: int, count: int) -> Codes:
    """Packed codes, or deflated bytes where they have no bits."""
    if bits:
        return unpack_bits(part, bits, count)
    return np.frombuffer(inflate(part, count), np.uint8)


def _candidates(items: Items, formats: Sequence[Format]) -> Iterator[_Candidate]:
    sample = items.reshape(-1)[:_SAMPLE]
    if not sample.size or len(np.unique(sample)) > _VARIED * max(sample.size, _MOST_CODES):
        return
    axes = tuple(range(min(items.ndim, 2))) if items.ndim > 1 else ()
    numbers, inverse = np.unique(items, return_inverse=True)
    inverse = inverse.reshape(items.shape)
    if len(numbers) <= _MOST_CODES:
        codes = inverse.reshape(-1).astype(np.uint8)
        # A byte stands for itself, unless most are the same.
        few = len(numbers) <= _MOST_CODES // 2
        if items.itemsize > 1 or few or 2 * int(np.bincount(codes).max()) > codes.size:
            yield _Candidate(How.TABLE, codes, (numbers,), None, len(numbers))
    for axis in axes:
        if (found := _by_channel(numbers, inverse, axis)) is not None:
            yield found
    if items.dtype == np.uint32:
        weight = np.ascontiguousarray(items).view(np.float32)
        for form in formats:
            yield from _as_format(weight, form, (None, *axes))


def _by_channel(numbers: Items, inverse: npt.NDArray[np.intp], axis: int) -> _Candidate | None:
    """A table of its own for each channel."""
    rows = np.moveaxis(inverse, axis, 0).reshape(inverse.shape[axis], -1)
    if rows.shape[0] * len(numbers) > _MOST_MARKS:
        return None
    there = np.zeros((rows.shape[0], len(numbers)), np.bool_)
    np.put_along_axis(there, rows, values=True, axis=1)
    wide = int(there.sum(1).max(initial=0))
    if not 0 < wide <= _MOST_CODES:
        return None
    rank = np.cumsum(there, axis=1) - 1
    table = np.zeros((rows.shape[0], wide), numbers.dtype)
    channel, number = np.nonzero(there)
    table[channel, rank[channel, number]] = numbers[number]
    codes = np.take_along_axis(rank, rows, axis=1).astype(np.uint8)
    return _Candidate(How.TABLE, codes.reshape(-1), (table,), axis, wide)


def _as_format(weight: Floats, form: Format, axes: Sequence[int | None]) -> Iterator[_Candidate]:
    """The codes of a storage format, where they decode to the very same weight."""
    if not np.isfinite(weight).all():
        return
    for axis in axes:
        encoded = encode(weight, form, axis)
        if np.array_equal(decode(encoded).view(np.uint32), weight.view(np.uint32)):
            book = form.kind is FormatKind.CODEBOOK
            tables = (_halves(encoded.levels if book else encoded.scales),)
            wide = encoded.levels.shape[1]
            yield _Candidate(How.FORMAT, encoded.codes, tables, axis, wide, str(form))
            return


def _write(candidate: _Candidate) -> tuple[Section, bytes]:
    tables = tuple(map(_planes, candidate.tables))
    bits, codes = _coded(candidate.codes, candidate.bits)
    common, parts = None, (codes, *tables)
    counts = np.bincount(candidate.codes)
    most = int(counts.argmax())
    if counts[most] >= _COMMON * candidate.codes.size:
        others = candidate.codes != most
        fewer, rest = _coded(candidate.codes[others], candidate.bits)
        marks = deflate(np.packbits(others).tobytes())
        if len(rest) + len(marks) + _LEAST_GAIN <= len(codes):
            bits, common, parts = fewer, most, (rest, *tables, marks)
    sizes = tuple(map(len, parts))
    section = Section(
        candidate.how, sizes, bits, candidate.axis, candidate.wide, candidate.form, common
    )
    return section, b"".join(parts)


def _coded(codes: Codes, bits: int) -> tuple[int, bytes]:
    """Codes in the fewer bytes: packed in so many bits, or deflated, which 0 bits stand for."""
    deflated = deflate(codes.tobytes())
    if len(deflated) < packed_size(codes.size, bits):
        return 0, deflated
    return bits, pack_bits(codes, bits)


def _from_table(
    section: Section, codes: Codes, part: memoryview, shape: tuple[int, ...], kind: Kind
) -> Items:
    channels, depth = layout(shape, section.axis)
    table = _from_planes(part, channels * section.wide, kind).reshape(channels, section.wide)
    rows = np.take_along_axis(table, codes.reshape(channels, depth), axis=1)
    if section.axis is None:
        return rows.reshape(shape)
    first = (shape[section.axis], *(n for i, n in enumerate(shape) if i != section.axis))
    return np.ascontiguousarray(np.moveaxis(rows.reshape(first), 0, section.axis))


def _from_format(
    section: Section, codes: Codes, part: memoryview, shape: tuple[int, ...]
) -> Floats:
    form = Format.parse(section.form)
    channels, depth = layout(shape, section.axis)
    groups = form.groups(channels * depth, channels)
    if form.kind is FormatKind.CODEBOOK:
        levels = _whole(part, groups * section.wide).reshape(groups, section.wide)
        scales = np.ones((1, 1), np.float32)
    else:
        levels = fixed_levels(form)[None]
        each = form.groups(depth, 1) if form.block else 1
        scales = _whole(part, groups).reshape(-1, each)
    if int(codes.max(initial=0)) >= levels.shape[1]:
        raise IntegrityError("damaged weights: a code beyond its levels", _DAMAGED)
    most = np.abs(levels).max(initial=0.0).astype(np.float64) * np.abs(scales).max(initial=0.0)
    if not most <= np.finfo(np.float32).max:  # not a number neither
        raise IntegrityError("damaged weights: a scale beyond all numbers", _DAMAGED)
    return decode(Encoded(form, shape, section.axis, codes, scales, levels))


def _halves(array: Floats) -> Items:
    """The bfloat16 that numbers are, as integers."""
    return (np.ascontiguousarray(array).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def _whole(part: memoryview, count: int) -> Floats:
    halves = _from_planes(part, count, np.dtype(np.uint16))
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _planes(items: Items) -> bytes:
    """Deflated with the first bytes of all numbers first: exponents are much alike."""
    whole = np.ascontiguousarray(items.reshape(-1))
    bytes_ = whole.astype(whole.dtype.newbyteorder("<")).view(np.uint8)
    return deflate(bytes_.reshape(-1, items.itemsize).T.tobytes())


def _from_planes(part: memoryview, count: int, kind: Kind) -> Items:
    raw = np.frombuffer(inflate(part, count * kind.itemsize), np.uint8)
    bytes_ = np.ascontiguousarray(raw.reshape(kind.itemsize, count).T)
    return bytes_.view(kind.newbyteorder("<")).reshape(count).astype(kind)
