"""Every file of a new release as steps: what is copied, what is told from what, and in which order.

Files with tensors are written first, so that opaque ones, such as engines, can refer to them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import PurePosixPath

from ..codec import block, zstd
from ..release import Dtype, ReleaseFile, Tensor
from .files import Folder
from .find import WORD, Finder, Known, same
from .header import BASED, Op
from .match import match, places, stretches
from .script import Step
from .skeleton import SMALL, Skeleton
from .turned import TurnedFinder

_WORTH = 4096  # bytes of an opaque file of the base from which a copy beats zstd with a prefix
_SAMPLE = 1 << 14  # bytes of an opaque file that tell what numbers they are
_NUMBERS = 1 << 14  # bytes of an opaque file from which they may be worth blocks of numbers
_FRESH = 1024  # bytes of a tensor told from nothing from which it is worth a block


@dataclass(frozen=True, slots=True)
class Draft:
    """One file to be written.

    Attributes:
        file: The file.
        told_from: The file of the base whose skeleton it is told from; None where there is none.
        steps: What to do, in order; none of them is empty.
    """

    file: ReleaseFile
    told_from: str | None
    steps: tuple[Step, ...]

    def bones(self) -> Skeleton:
        """The file's skeleton."""
        ends = accumulate(step.size for step in self.steps)
        pairs = zip(self.steps, ends, strict=True)
        spans = ((end - step.size, end) for step, end in pairs if step.op is Op.SKELETON)
        return Skeleton.of(spans)


def drafts(new: Folder, old: Folder | None) -> list[Draft]:
    """The files of the new release, in the order in which they are to be written."""
    drafter = _Drafter(new, old)
    files = sorted(new.release.files, key=lambda file: (not file.tensors, file.path))
    return [drafter.draft(file) for file in files]


class _Drafter:
    def __init__(self, new: Folder, old: Folder | None) -> None:
        self._new = new
        self._old_files = old.release.files if old is not None else ()
        self._olds = old.views if old is not None else {}
        self._matched = match(new, old) if old is not None else {}
        self._written: dict[str, tuple[str, int]] = {}  # digest to path and offset
        self._finder: Finder | None = None
        self._turned: TurnedFinder | None = None

    def draft(self, file: ReleaseFile) -> Draft:
        """Say how one file comes into being."""
        steps = self._whole(file)
        if not steps:
            steps = self._by_tensors(file) if file.tensors else self._opaque(file)
        self._written.setdefault(file.sha256, (file.path, 0))
        done = tuple(merged(steps))
        return Draft(file, self._told_from(file, done), done)

    def _whole(self, file: ReleaseFile) -> list[Step]:
        """A copy of a file of the base, or a reference to one that is written."""
        for other in self._old_files:
            if file.size and other.sha256 == file.sha256:
                return [Step(Op.COPY, Dtype.U8, other.path, 0, file.size)]
        return self._reference(file.size, file.sha256)

    def _by_tensors(self, file: ReleaseFile) -> list[Step]:
        steps: list[Step] = []
        end = 0
        for tensor in file.tensors:
            if tensor.size >= SMALL:
                own = self._tensor(file.path, tensor)
                steps += self._gap(file.path, end, tensor.offset, (steps[-1:], own))
                steps += own
                end = tensor.offset + tensor.size
                self._written.setdefault(tensor.sha256, (file.path, tensor.offset))
        return steps + self._gap(file.path, end, file.size, (steps[-1:], []))

    def _tensor(self, path: str, tensor: Tensor) -> list[Step]:
        matched = self._matched.get((path, tensor.offset), ())
        if [step.op for step in matched] == [Op.COPY]:
            return list(matched)
        known = self._reference(tensor.size, tensor.sha256)
        if known or matched:
            return known or list(matched)
        op = Op.FRESH if tensor.size >= _FRESH else Op.SKELETON
        return [Step(op, tensor.dtype, "", 0, tensor.size)]

    def _reference(self, size: int, digest: str) -> list[Step]:
        if not size or digest not in self._written:
            return []
        where, start = self._written[digest]
        return [Step(Op.REFERENCE, Dtype.U8, where, start, size)]

    def _gap(
        self, path: str, begin: int, end: int, sides: tuple[list[Step], list[Step]]
    ) -> list[Step]:
        """What lies between two tensors: a copy, where the base goes on in the same way."""
        size = end - begin
        if not size:
            return []
        own = self._new.views[path][begin:end]
        before, behind = sides
        starts = [(step.path, step.offset + step.size) for step in before if step.op in BASED]
        starts += [(step.path, step.offset - size) for step in behind[:1] if step.op in BASED]
        for where, start in starts:
            if start >= 0 and same(self._olds[where][start : start + size], own):
                return [Step(Op.COPY, Dtype.U8, where, start, size)]
        return [Step(Op.SKELETON, Dtype.U8, "", 0, size)]

    def _opaque(self, file: ReleaseFile) -> list[Step]:
        """A file that says nothing of its layout: what is known of it, and the rest."""
        if not file.size:
            return []
        self._finder = self._finder or Finder(self._known())
        steps: list[Step] = []
        begin = at = 0
        for step in stretches(self._new.views[file.path], self._finder, Dtype.U8):
            if step.op is Op.REFERENCE or (step.op is Op.COPY and step.size >= _WORTH):
                steps += [*self._unknown(file.path, begin, at), step]
                begin = at + step.size
            at += step.size
        return steps + self._unknown(file.path, begin, at)

    def _unknown(self, path: str, begin: int, end: int) -> list[Step]:
        """A stretch of an opaque file: tensors of the release in another layout, and the rest."""
        self._turned = self._turned or TurnedFinder(places(self._new.release), self._new)
        steps: list[Step] = []
        low = -(-begin // WORD) * WORD
        for at, step in self._turned.search(self._new.views[path][low:end]):
            steps += [*self._rest(path, begin, low + at), step]
            begin = low + at + step.size
        return steps + self._rest(path, begin, end)

    def _rest(self, path: str, begin: int, end: int) -> list[Step]:
        """Numbers, if a stretch of an opaque file looks so, else part of the skeleton."""
        if begin >= end:
            return []
        low, high = -(-begin // WORD) * WORD, end // WORD * WORD
        if high - low < _NUMBERS:
            return [Step(Op.SKELETON, Dtype.U8, "", 0, end - begin)]
        new, old = self._new.views[path][low:high], self._olds.get(path, memoryview(b""))
        told_from = old[low:high] if len(old) >= high else None
        dtype = looks_like(new, told_from)
        if dtype is None:
            return [Step(Op.SKELETON, Dtype.U8, "", 0, end - begin)]
        op = Op.FRESH if told_from is None else Op.CODED
        steps = (
            Step(Op.SKELETON, Dtype.U8, "", 0, low - begin),
            Step(op, dtype, path if told_from is not None else "", low, high - low),
            Step(Op.SKELETON, Dtype.U8, "", 0, end - high),
        )
        return [step for step in steps if step.size]

    def _known(self) -> list[Known]:
        """What an opaque file may hold: opaque files of the base, and tensors of the release."""
        opaque = [file.path for file in self._old_files if not file.tensors]
        known = [Known(self._olds[path], path, 0, new=False) for path in opaque]
        for place in places(self._new.release):
            begin, end = place.tensor.offset, place.tensor.offset + place.tensor.size
            view = self._new.views[place.path][begin:end]
            known.append(Known(view, place.path, begin, new=True))
        return known

    def _told_from(self, file: ReleaseFile, steps: tuple[Step, ...]) -> str | None:
        """The file of the base of the same path, or that most is read from, or of the same kind."""
        if all(step.op is not Op.SKELETON for step in steps):
            return None
        if file.path in self._olds:
            return file.path
        read: Counter[str] = Counter()
        for step in steps:
            if step.op in BASED:
                read[step.path] += step.size
        suffix = PurePosixPath(file.path).suffix
        alike = [path for path in self._olds if PurePosixPath(path).suffix == suffix]
        return next((path for path, _ in read.most_common(1)), next(iter(alike), None))


def looks_like(new: memoryview, old: memoryview | None) -> Dtype | None:
    """As what numbers a sample of some bytes is told best; None where zstd alone does better."""
    begin = (len(new) - min(len(new), _SAMPLE)) // 2 // WORD * WORD
    sample = bytes(new[begin : begin + _SAMPLE])
    told_from = bytes(old[begin : begin + _SAMPLE]) if old is not None else None
    sizes: dict[Dtype | None, int] = {None: len(zstd.compress(sample, prefix=told_from or b""))}
    for dtype in (Dtype.F32, Dtype.F16, Dtype.I8):
        sizes[dtype] = len(block.encode(sample, told_from, dtype)[1])
    return min(sizes, key=sizes.__getitem__)


def merged(steps: Iterable[Step]) -> Iterator[Step]:
    """The same, with steps joined that go on where the last one ended."""
    last: Step | None = None
    for step in steps:
        if last is not None and _goes_on(last, step):
            last = replace(last, size=last.size + step.size)
            continue
        if last is not None:
            yield last
        last = step
    if last is not None:
        yield last


def _goes_on(last: Step, step: Step) -> bool:
    if last.op is not step.op or step.op in (Op.CODED, Op.FRESH, Op.TRANSPOSED):
        return False  # blocks do not cross the ends of tensors
    if step.op is Op.SKELETON:
        return True
    return last.path == step.path and last.offset + last.size == step.offset
