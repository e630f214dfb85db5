"""How far two versions of a tensor are apart: in share, in units in the last place, in size."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from ..release import Dtype
from .files import Folder
from .match import Place, match, places

_PART = 1 << 18  # elements that are compared at once
_FLOATS = {Dtype.F64: "<f8", Dtype.F32: "<f4", Dtype.F16: "<f2"}  # those that numpy knows
_CODES = (*_FLOATS, Dtype.BF16, Dtype.F8E4M3, Dtype.F8E5M2)  # sign and magnitude
_SIGNED = (Dtype.I64, Dtype.I32, Dtype.I16, Dtype.I8)

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one tensor.

    Attributes:
        path: Its file in the new release.
        name: Its name there.
        was: What it is compared with: its name in the base, empty where it is new.
        changed: Share of its elements that have other bytes (of bytes, where numbers are packed).
        largest: Largest distance in representable numbers, of integers in their values; None where
            a tensor is new, has another shape or is packed, as for all that follow.
        mean: Mean of that distance over the elements that changed.
        relative: Root of the sum of squared changes over that of squared old values, where both
            are finite; None for 8-bit floats, too, and where all old values are 0.
    """

    path: str
    name: str
    was: str
    changed: float
    largest: float | None = None
    mean: float | None = None
    relative: float | None = None


def changes(new: Folder, old: Folder) -> Iterator[Change]:
    """What happens to each tensor that is not the same in the base under the same name."""
    known = {place.key: place for place in places(old.release)}
    names = {place.tensor.name: place for place in places(old.release)}
    matched = match(new, old)
    for place in places(new.release):
        steps = matched.get(place.key, ())
        told_from = [known[key] for step in steps if (key := (step.path, step.offset)) in known]
        was = next(iter(told_from), names.get(place.tensor.name))
        if was is None:
            yield Change(place.path, place.tensor.name, "", 1.0)
        elif (was.tensor.name, was.tensor.sha256) != (place.tensor.name, place.tensor.sha256):
            yield _change((new, place), (old, was))


@dataclass(slots=True)
class _Sums:
    elements: int = 0
    changed: int = 0
    largest: float = 0.0
    distance: float = 0.0
    moved: float = 0.0
    before: float = 0.0

    def add(self, one: NDArray[np.uint8], two: NDArray[np.uint8], dtype: Dtype) -> None:
        """Count some elements."""
        rows = (one != two).reshape(-1, dtype.size).any(axis=1)
        self.elements += len(rows)
        self.changed += int(rows.sum())
        if dtype is not Dtype.PACKED and len(rows):
            distance = np.abs(_ranks(one, dtype) - _ranks(two, dtype))
            self.largest = max(self.largest, float(distance.max()))
            self.distance += float(distance.sum())
        new, old = values(one, dtype), values(two, dtype)
        finite = np.isfinite(new) & np.isfinite(old)
        self.moved += float(np.square(new[finite] - old[finite]).sum())
        self.before += float(np.square(old[finite]).sum())


def _change(one: tuple[Folder, Place], two: tuple[Folder, Place]) -> Change:
    (_, place), (_, was) = one, two
    dtype, size = place.tensor.dtype, place.tensor.size
    names = (place.path, place.tensor.name, was.tensor.name)
    if (was.tensor.dtype, was.tensor.size) != (dtype, size):
        return Change(*names, 1.0)
    sums = _Sums()
    for begin in range(0, size, _PART * dtype.size):
        end = min(size, begin + _PART * dtype.size)
        sums.add(_bytes(*one, begin, end), _bytes(*two, begin, end), dtype)
    changed = sums.changed / max(1, sums.elements)
    if dtype is Dtype.PACKED:
        return Change(*names, changed)
    mean = sums.distance / max(1, sums.changed)
    relative = sqrt(sums.moved / sums.before) if sums.before else None
    return Change(*names, changed, sums.largest, mean, relative)


def _bytes(folder: Folder, place: Place, begin: int, end: int) -> NDArray[np.uint8]:
    start = place.tensor.offset
    return np.frombuffer(folder.views[place.path][start + begin : start + end], np.uint8)


def _ranks(data: NDArray[np.uint8], dtype: Dtype) -> Numbers:
    """Numbers that differ by one between neighbours; -0 and 0 have the same."""
    if dtype not in _CODES:
        return _integers(data, dtype).astype(np.float64)
    bits = _integers(data, dtype)
    sign = bits.dtype.type(1 << (8 * dtype.size - 1))
    magnitude = (bits & ~sign).astype(np.float64)
    return np.where(bits & sign, -magnitude, magnitude)


def values(data: NDArray[np.uint8], dtype: Dtype) -> Numbers:
    """The numbers that bytes stand for; those of 8-bit floats and packed numbers are left out."""
    if dtype in _FLOATS:
        return data.view(_FLOATS[dtype]).astype(np.float64)
    if dtype is Dtype.BF16:
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if dtype in _CODES or dtype is Dtype.PACKED:
        return np.zeros(0)
    return _integers(data, dtype).astype(np.float64)


def _integers(data: NDArray[np.uint8], dtype: Dtype) -> NDArray[np.int64]:
    return data.view(f"<{'i' if dtype in _SIGNED else 'u'}{dtype.size}")
