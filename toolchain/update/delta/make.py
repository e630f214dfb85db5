"""Write an update file: the base and the new release in, the smallest exact steps between out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...progress import Progress
from ..codec import block
from . import skeleton, text
from .draft import Draft, drafts
from .file import Spool
from .files import Folder, ViewReader
from .header import (
    BLOCK,
    DTYPES,
    FILE,
    NO_FILE,
    READING,
    SEGMENT,
    WRITTEN,
    Header,
    Op,
    Strategy,
)
from .script import Step
from .skeleton import Skeleton, prefix_spans, read_spans

_THOROUGH = 4 << 20  # bytes of skeletons up to which coding them may take its time


@dataclass(frozen=True, slots=True)
class Options:
    """How an update is made.

    Attributes:
        strategy: AUTO chooses the smallest that leads to exactly the bytes of the release.
        layers: Tensors that an incremental update may change: names, patterns with `*`, or the
            name of a layer for all of its tensors.
        pco: Whether devices have pcodec; without it updates are larger.
        level: Of zstd, for blocks of tensors.
        share: Of the root mean square of a tensor's change, that the steps of a quantized update
            have at most; twice as much makes it smaller by about a bit for each weight.
    """

    strategy: Strategy = Strategy.AUTO
    layers: tuple[str, ...] = ()
    pco: bool = True
    level: int = 19
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        size: Bytes of the update file.
        from_base: Bytes of the new release that are copied or told from the base, skeletons aside.
    """

    size: int
    from_base: int


def write(
    new: Folder,
    old: Folder | None,
    target: Path,
    options: Options,
    progress: Progress,
) -> Written:
    """Write the update file that leads from `old` to `new`."""
    strategy = options.strategy
    plan = drafts(new, old)
    with Spool(target.parent) as spool, progress.stage(strategy.value, len(plan)) as step:
        spool.add(*text.encode(new.text, old.text if old is not None else b""))
        size = sum(draft.bones().size for draft in plan)
        maker = _Maker(new, old, spool, options, thorough=size <= _THOROUGH)
        for draft in plan:
            maker.file(draft)
            step()
        size = spool.finish(_header(plan, new, old, strategy), target)
        return Written(size, maker.from_base)


@dataclass(slots=True)
class _Maker:
    """Codes what the steps of files tell, in the order in which a device asks for it."""

    new: Folder
    old: Folder | None
    spool: Spool
    options: Options
    thorough: bool
    from_base: int = 0

    def file(self, draft: Draft) -> None:
        """Add the payloads of one file."""
        at = taken = 0
        bones = draft.bones()
        for step in draft.steps:
            if step.op is Op.SKELETON:
                first, taken = skeleton.blocks(taken), taken + step.size
                for number in range(first, skeleton.blocks(taken)):
                    self._skeleton(draft, bones, number)
            elif step.op in (Op.CODED, Op.FRESH):
                self._tensor(draft.file.path, at, step)
            elif step.axes is not None:
                self.spool.add(*step.axes.encode())
            elif step.op is Op.COPY:
                self.from_base += step.size
            at += step.size

    def _tensor(self, path: str, at: int, step: Step) -> None:
        new, old = self.new.views[path], None
        if self.old is not None and step.op is Op.CODED:
            old = self.old.views[step.path][step.offset :]
        for begin, size in step.blocks():
            told_from = bytes(old[begin : begin + size]) if old is not None else None
            data = bytes(new[at + begin : at + begin + size])
            options = self.options
            method, payload = block.encode(
                data, told_from, step.dtype, pco=options.pco, level=options.level
            )
            self.spool.add(method, payload)
            self.from_base += size if method.needs_old else 0

    def _skeleton(self, draft: Draft, bones: Skeleton, number: int) -> None:
        prefix = b""
        if self.old is not None and draft.told_from is not None:
            spans = prefix_spans(bones, number, self.old.file(draft.told_from))
            prefix = read_spans(ViewReader(self.old.views[draft.told_from]), spans)
        begin, view = number * skeleton.BLOCK, ViewReader(self.new.views[draft.file.path])
        data = read_spans(view, bones.part(begin, begin + skeleton.BLOCK))
        self.spool.add(*text.encode(data, prefix, thorough=self.thorough))


def _header(plan: list[Draft], new: Folder, old: Folder | None, strategy: Strategy) -> Header:
    news = {file.path: k for k, file in enumerate(new.release.files)}
    olds = {file.path: k for k, file in enumerate(old.release.files)} if old is not None else {}
    files = [
        (news[draft.file.path], olds.get(draft.told_from or "", NO_FILE), len(draft.steps))
        for draft in plan
    ]
    segments, end = [], 0
    for step in (step for draft in plan for step in draft.steps):
        file = skip = 0
        if step.op in READING:
            file = (news if step.op in WRITTEN else olds)[step.path]
            skip, end = step.offset - end, step.offset + step.size
        dtype = DTYPES.index(step.dtype) if step.op in (Op.CODED, Op.FRESH) else 0
        segments.append((step.op, dtype, file, skip, step.size))
    return Header(
        base=old.release.digest if old is not None else "",
        release=new.release.digest,
        strategy=strategy,
        text=len(new.text),
        files=np.array(files, FILE),
        segments=np.array(segments, SEGMENT),
        blocks=np.array([], BLOCK),
        digests=b"",
    )
