"""Rebuild a release from an update file and its base, in constant memory, checking all of it."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from ...progress import Progress, Silent
from ..codec import block
from ..codec.method import Method
from ..limits import LIMITS, Limits
from ..refusal import Code, Refusal, short
from ..release import RELEASE, Release
from . import skeleton, text
from .file import UpdateFile
from .files import Files, Reader, Sink, Writer
from .header import Header, Op, malformed
from .script import FileScript, Step, scripts
from .skeleton import prefix_spans, read_exactly, read_spans
from .transpose import Axes

_CHUNK = 1 << 18  # bytes that are copied at once
_MIB = 1 << 20
_OPEN = 32  # files that are open at once
_DAMAGED = "the installed release is damaged, or the update file is: take the full update"

Payloads = Iterator[tuple[int, bytes]]


def apply(
    update: UpdateFile,
    base: Files | None,
    sink: Sink,
    *,
    progress: Progress | None = None,
    limits: Limits = LIMITS,
) -> Release:
    """Write the files of the new release, and `bundle.json` as the last, into `sink`.

    Args:
        update: Whose header was checked; the caller compares its `release` with what is signed.
        base: The installed release; None where there is none.
        sink: Where nothing is yet. After a Refusal, what is there is to be thrown away.
        progress: Told of every MiB.
        limits: What is accepted of the new `bundle.json`.

    Returns:
        The new release, each file of which had its size and SHA-256 as it was written.

    Raises:
        Refusal: The base is another one, or anything does not have its size or digest.
    """
    old_text = base_text(update.header, base, limits)
    old = Release.parse(old_text, limits) if old_text else None
    payloads = update.payloads()
    new_text = _new_text(update.header, payloads, old_text)
    new = Release.parse(new_text, limits)
    todo = scripts(update.header, new, old)
    with (progress or Silent()).stage("apply", -(-new.size // _MIB)) as step:
        job = _Job(base, sink, payloads, _Meter(step))
        for script in todo:
            with closing(sink.create(script.file.path)) as writer:
                job.write(script, writer)
    with closing(sink.create(RELEASE)) as writer:
        writer.write(new_text)
    return new


def describe(update: UpdateFile, base: Files | None, limits: Limits = LIMITS) -> Release:
    """The release that an update leads to; nothing is written.

    Raises:
        Refusal: The base is another one, or `bundle.json` does not have its digest.
    """
    old_text = base_text(update.header, base, limits)
    return Release.parse(_new_text(update.header, update.payloads(), old_text), limits)


def base_text(header: Header, base: Files | None, limits: Limits = LIMITS) -> bytes:
    """The `bundle.json` of the base that an update needs; empty where it needs none.

    Raises:
        Refusal: There is none, or it is another release's.
    """
    if not header.base:
        return b""
    hint = "take the full update, or a delta from the release that is installed"
    if base is None:
        message = f"the update starts from {short(header.base)}, nothing is installed"
        raise Refusal(Code.BASE, message, hint)
    with closing(base.open(RELEASE)) as reader:
        found_text = reader.read(0, limits.release + 1)
    if (found := hashlib.sha256(found_text).hexdigest()) != header.base:
        message = f"the update starts from {short(header.base)}, installed is {short(found)}"
        raise Refusal(Code.BASE, message, hint)
    return found_text


def _new_text(header: Header, payloads: Payloads, old_text: bytes) -> bytes:
    new_text = text.decode(*next(payloads), old_text, header.text)
    if (found := hashlib.sha256(new_text).hexdigest()) != header.release:
        message = f"the new {RELEASE} has SHA-256 {short(found)}, not {short(header.release)}"
        raise Refusal(Code.DIGEST, message, _DAMAGED)
    return new_text


def _method(number: int) -> Method:
    try:
        return Method(number)
    except ValueError as cause:
        raise Refusal(Code.UNKNOWN, f"a block is coded by method {number}", "update hwc") from cause


@dataclass(slots=True)
class _Meter:
    """Tells progress of every MiB."""

    step: Callable[[], None]
    rest: int = 0

    def count(self, size: int) -> None:
        self.rest += size
        while self.rest >= _MIB:
            self.rest -= _MIB
            self.step()


@dataclass(frozen=True, slots=True)
class _Job:
    """What writing the files of one release needs."""

    base: Files | None
    sink: Sink
    payloads: Payloads
    meter: _Meter

    def write(self, script: FileScript, writer: Writer) -> None:
        """Write one file and compare it with its digest."""
        found = hashlib.sha256()
        with closing(_Sources(self, script)) as source:
            for step in script.steps:
                for data in source.pieces(step):
                    writer.write(data)
                    found.update(data)
                    self.meter.count(len(data))
        if found.hexdigest() != script.file.sha256:
            message = (
                f"{script.file.path} came out with SHA-256 {short(found.hexdigest())}, "
                f"not {short(script.file.sha256)}"
            )
            raise Refusal(Code.DIGEST, message, _DAMAGED)


class _Sources:
    """The bytes of one file's steps."""

    def __init__(self, job: _Job, script: FileScript) -> None:
        self._job, self._script = job, script
        self._readers: dict[tuple[bool, str], Reader] = {}
        self._skeleton = self._skeleton_blocks()
        self._rest = memoryview(b"")  # of the block of the skeleton that is begun

    def close(self) -> None:
        """Let go of all files."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def pieces(self, step: Step) -> Iterator[bytes]:
        """The bytes of one step, some at a time."""
        if step.op is Op.SKELETON:
            yield from self._bones(step.size)
        elif step.op in (Op.COPY, Op.REFERENCE):
            reader = self._open(step.path, new=step.op is Op.REFERENCE)
            for begin in range(0, step.size, _CHUNK):
                yield read_exactly(reader, step.offset + begin, min(_CHUNK, step.size - begin))
        elif step.op is Op.TRANSPOSED:
            axes = Axes.decode(*next(self._job.payloads), step.size)
            yield from axes.pieces(self._open(step.path, new=True), step.offset, step.size)
        else:
            yield from self._decoded(step)

    def _decoded(self, step: Step) -> Iterator[bytes]:
        for begin, size in step.blocks():
            method, payload = next(self._job.payloads)
            old = None
            if step.op is Op.CODED:
                old = read_exactly(self._open(step.path, new=False), step.offset + begin, size)
            yield block.decode(_method(method), payload, old, step.dtype, size)

    def _bones(self, size: int) -> Iterator[bytes]:
        while size:
            self._rest = self._rest or memoryview(next(self._skeleton))
            piece, self._rest = bytes(self._rest[:size]), self._rest[size:]
            size -= len(piece)
            yield piece

    def _skeleton_blocks(self) -> Iterator[bytes]:
        told_from, bones, size = self._script.told_from, self._script.bones, self._script.bones.size
        for k in range(skeleton.blocks(size)):
            prefix = b""
            if told_from is not None:
                reader = self._open(told_from.path, new=False)
                prefix = read_spans(reader, prefix_spans(bones, k, told_from))
            length = min(skeleton.BLOCK, size - k * skeleton.BLOCK)
            yield text.decode(*next(self._job.payloads), prefix, length)

    def _open(self, path: str, *, new: bool) -> Reader:
        if (new, path) not in self._readers:
            files = self._job.sink if new else self._job.base
            if files is None:
                raise malformed(f"{path} is read, but the update needs no base")
            if len(self._readers) >= _OPEN:
                self.close()
            self._readers[new, path] = files.open(path)
        return self._readers[new, path]
