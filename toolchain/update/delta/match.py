"""From which bytes of the base, or of the new release itself, each tensor is told."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..release import Dtype, Release, Tensor
from .files import Folder
from .find import Finder, Known
from .header import Op
from .script import Step
from .skeleton import SMALL

_CANDIDATES = 64  # tensors of the same size that are compared by a sample
_SAMPLE = 4096  # elements of it

Key = tuple[str, int]  # a tensor: its file, and where it begins


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor and its file."""

    path: str
    tensor: Tensor

    @property
    def key(self) -> Key:
        """What it is told apart by: names may be empty, or the same twice."""
        return self.path, self.tensor.offset


def match(new: Folder, old: Folder) -> dict[Key, tuple[Step, ...]]:
    """What each tensor of the new release is told from; one that is not in it, from nothing.

    By content first, whatever its name; then by name, type and size; then by type and size, the
    most alike first come; a tensor whose shape has changed by its rows, wherever they lay.
    """
    matcher = _Matcher(new, old)
    wanted = [place for place in places(new.release) if place.tensor.size >= SMALL]
    for ways in (matcher.by_content, matcher.by_name, matcher.by_size, matcher.by_rows):
        wanted = [place for place in wanted if not ways(place)]
    return matcher.steps


def places(release: Release) -> list[Place]:
    """All tensors of a release."""
    return [Place(file.path, tensor) for file in release.files for tensor in file.tensors]


class _Matcher:
    def __init__(self, new: Folder, old: Folder) -> None:
        self.steps: dict[Key, tuple[Step, ...]] = {}
        self._new, self._old = new, old
        self._unused: defaultdict[tuple[Dtype, int], dict[Key, Place]] = defaultdict(dict)
        self._contents: defaultdict[str, list[Place]] = defaultdict(list)
        self._names: defaultdict[str, list[Place]] = defaultdict(list)
        for place in places(old.release):
            if place.tensor.size >= SMALL:
                self._unused[_kind(place)][place.key] = place
                self._contents[place.tensor.sha256].append(place)
                self._names[place.tensor.name].append(place)

    def by_content(self, place: Place) -> bool:
        """The same bytes, best of all under the same name."""
        alike = self._contents[place.tensor.sha256][:_CANDIDATES]
        if not alike:
            return False
        found = min(alike, key=lambda other: _distance(place, other))
        return self._take(place, found, Op.COPY)

    def by_name(self, place: Place) -> bool:
        """As many bytes of the same type under the same name."""
        named = self._names[place.tensor.name][:_CANDIDATES]
        alike = [other for other in named if _kind(other) == _kind(place)]
        if not alike:
            return False
        found = min(alike, key=lambda other: _distance(place, other))
        return self._take(place, found, Op.CODED)

    def by_size(self, place: Place) -> bool:
        """As many bytes of the same type that nothing else is told from, by a sample of them."""
        alike = list(islice(self._unused[_kind(place)].values(), _CANDIDATES))
        if not alike:
            return False
        found = max(alike, key=lambda other: self._likeness(place, other))
        return self._take(place, found, Op.CODED)

    def by_rows(self, place: Place) -> bool:
        """A tensor of the same name and type with more or fewer rows."""
        for other in self._names[place.tensor.name]:
            if other.tensor.dtype is place.tensor.dtype:
                self.steps[place.key] = tuple(self._rows(place, other))
                return True
        return False

    def _rows(self, place: Place, other: Place) -> Iterable[Step]:
        known = Known(self._view(self._old, other), other.path, other.tensor.offset, new=False)
        steps = stretches(self._view(self._new, place), Finder([known]), place.tensor.dtype)
        if any(step.op is Op.COPY for step in steps):
            return steps
        shared = min(place.tensor.size, other.tensor.size)
        rest = place.tensor.size - shared
        dtype = place.tensor.dtype
        coded = Step(Op.CODED, dtype, other.path, other.tensor.offset, shared)
        return (coded, Step(Op.FRESH, dtype, "", 0, rest)) if rest else (coded,)

    def _take(self, place: Place, found: Place, op: Op) -> bool:
        self._unused[_kind(found)].pop(found.key, None)
        tensor = place.tensor
        step = Step(op, tensor.dtype, found.path, found.tensor.offset, tensor.size)
        self.steps[place.key] = (step,)
        return True

    def _likeness(self, place: Place, other: Place) -> float:
        """Share of elements whose highest bytes (sign and most of an exponent) are the same."""
        width = place.tensor.dtype.size
        one = np.frombuffer(self._view(self._new, place), np.uint8)[width - 1 :: width]
        two = np.frombuffer(self._view(self._old, other), np.uint8)[width - 1 :: width]
        stride = max(1, len(one) // _SAMPLE)
        return float((one[::stride] == two[::stride]).mean())

    @staticmethod
    def _view(folder: Folder, place: Place) -> memoryview:
        tensor = place.tensor
        return folder.views[place.path][tensor.offset : tensor.offset + tensor.size]


def stretches(data: memoryview, finder: Finder, dtype: Dtype) -> list[Step]:
    """Copies of what is known of some bytes, and fresh blocks of the rest, by whole elements."""
    steps, end = [], 0
    for found in finder.search(data):
        begin = -(-found.begin // dtype.size) * dtype.size
        size = (found.begin + found.size - begin) // dtype.size * dtype.size
        if size <= 0:
            continue
        if begin > end:
            steps.append(Step(Op.FRESH, dtype, "", 0, begin - end))
        known = found.known
        op = Op.REFERENCE if known.new else Op.COPY
        offset = known.offset + found.offset + begin - found.begin
        steps.append(Step(op, dtype, known.path, offset, size))
        end = begin + size
    if end < len(data):
        steps.append(Step(Op.FRESH, dtype, "", 0, len(data) - end))
    return steps


def _kind(place: Place) -> tuple[Dtype, int]:
    return place.tensor.dtype, place.tensor.size


def _distance(place: Place, other: Place) -> tuple[bool, bool, int]:
    one, two = place.tensor, other.tensor
    return one.name != two.name, place.path != other.path, abs(one.offset - two.offset)
