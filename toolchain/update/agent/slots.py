"""The two slots: what is in them, writing and checking them, and the link to the one that runs."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from ..delta.files import Reader, Writer
from ..limits import LIMITS, Limits
from ..refusal import Code, Refusal, short
from ..release import RELEASE, Release
from . import disk as files
from .disk import Disk, File, Kind
from .state import Slot

CURRENT = "current"
_NEXT = "current.tmp"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class SlotFiles:
    """The Files of a release that lies in a slot."""

    disk: Disk
    folder: str

    def open(self, path: str) -> Reader:
        """Open a file for reading.

        Raises:
            Refusal: It is missing or no plain file.
        """
        try:
            return self.disk.open(f"{self.folder}/{path}")
        except FileNotFoundError as cause:
            message = f"{self.folder}/{path} is missing"
            raise Refusal(Code.DIGEST, message, "take the full update") from cause


@dataclass(frozen=True, slots=True)
class SlotWriter:
    """A Writer of one file of a slot; once it is closed, the file survives a power cut if it is to.

    Attributes:
        file: The file.
        lasts: Whether it is to.
    """

    file: File
    lasts: bool

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        self.file.write(data)

    def close(self) -> None:
        """Flush the file to the disk, and close it."""
        with closing(self.file):
            if self.lasts:
                self.file.sync()


@dataclass(frozen=True, slots=True)
class SlotSink(SlotFiles):
    """The Sink that the files of a new release are written to.

    Attributes:
        lasts: Whether they are to survive a power cut.
    """

    lasts: bool = True

    def create(self, path: str) -> Writer:
        """Begin a file, and the folders that it lies in.

        Raises:
            Refusal: Something is there, which somebody else must have put there.
        """
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join((self.folder, *parts[:depth]))
            if self.disk.kind(folder) is None:
                self.disk.mkdir(folder)
        place = f"{self.folder}/{path}"
        try:
            return SlotWriter(self.disk.create(place), self.lasts)
        except FileExistsError as cause:
            raise Refusal(Code.PATH, f"{place} was put there by somebody else", _PLANTED) from cause


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of an agent's folder."""

    disk: Disk
    limits: Limits = LIMITS

    def stage(self, slot: Slot) -> SlotSink:
        """Empty a slot, and open the place where its next release is written."""
        self.empty(slot)
        self.disk.mkdir(slot.stage)
        return SlotSink(self.disk, slot.stage)

    def between(self, slot: Slot, number: int) -> SlotSink:
        """Open a place, beside what is staged, for a release that never runs: a base of the next.

        It is not kept over a power cut, and is emptied with the slot.
        """
        folder = slot.between(number)
        self.disk.mkdir(folder)
        return SlotSink(self.disk, folder, lasts=False)

    def drop(self, sink: SlotSink) -> None:
        """Remove what was written to such a place."""
        files.remove(self.disk, sink.folder)

    def put(self, slot: Slot) -> None:
        """Make what was staged the contents of the slot; it survives a power cut."""
        for folder in _folders(self.disk, slot.stage):
            self.disk.sync(folder)
        self.disk.rename(slot.stage, slot.folder)
        self.disk.sync("slots")

    def size(self, slot: Slot) -> int:
        """Bytes of what is in a slot."""
        if self.disk.kind(slot.folder) is not Kind.FOLDER:
            return 0
        total = 0
        for path in _paths(self.disk, slot.folder):
            if self.disk.kind(f"{slot.folder}/{path}") is Kind.FILE:
                with closing(self.disk.open(f"{slot.folder}/{path}")) as reader:
                    total += reader.size
        return total

    def empty(self, slot: Slot) -> None:
        """Remove what is in a slot, and what is staged for it and on the way there."""
        for name in self.disk.list("slots"):
            if name.partition(".")[0] == slot.value:
                files.remove(self.disk, f"slots/{name}")

    def check(self, slot: Slot, release: str) -> Release:
        """Read all of a slot and compare it with the digest of its release.

        Raises:
            Refusal: A file is missing, is one too many, is no plain file, or has another digest.
        """
        found = self._release(slot.folder, release)
        expected = {file.path for file in found.files} | {RELEASE}
        if strange := sorted(set(_paths(self.disk, slot.folder)) ^ expected):
            message = f"{slot.folder}/{strange[0]} is missing, or is not listed in {RELEASE}"
            raise Refusal(Code.DIGEST, message, _DAMAGED)
        for file in found.files:
            self._check_file(f"{slot.folder}/{file.path}", file.size, file.sha256)
        return found

    def point(self, slot: Slot | None) -> None:
        """Make `current` lead to a slot, or nowhere, in one step; `hold` makes that last."""
        if slot is None:
            files.remove(self.disk, CURRENT)
        elif not self.points(slot):
            files.remove(self.disk, _NEXT)
            self.disk.link(_NEXT, slot.folder)
            if self.disk.kind(CURRENT) is Kind.FOLDER:
                files.remove(self.disk, CURRENT)  # somebody put it there; no link replaces it
            self.disk.rename(_NEXT, CURRENT)

    def hold(self) -> None:
        """Return once `current` survives a power cut as it is."""
        self.disk.sync("")

    def points(self, slot: Slot | None) -> bool:
        """Whether `current` leads there."""
        kind = self.disk.kind(CURRENT)
        if slot is None or kind is not Kind.LINK:
            return slot is None and kind is None
        return self.disk.target(CURRENT) == slot.folder

    def clear(self) -> None:
        """Remove what was staged and never put, and a link that was never placed."""
        for name in self.disk.list("slots"):
            if name.endswith(".tmp"):
                files.remove(self.disk, f"slots/{name}")
        files.remove(self.disk, _NEXT)

    def sweep(self, keep: frozenset[str]) -> None:
        """Remove all but the named entries of the slots' folder."""
        for name in self.disk.list("slots"):
            if name not in keep:
                files.remove(self.disk, f"slots/{name}")

    def _release(self, folder: str, release: str) -> Release:
        with closing(SlotFiles(self.disk, folder).open(RELEASE)) as reader:
            text = reader.read(0, self.limits.release + 1)
        found = hashlib.sha256(text).hexdigest()
        if found != release:
            message = f"{folder}/{RELEASE} has SHA-256 {short(found)}, not {short(release)}"
            raise Refusal(Code.DIGEST, message, _DAMAGED)
        return Release.parse(text, self.limits)

    def _check_file(self, path: str, size: int, sha256: str) -> None:
        found, end = hashlib.sha256(), 0
        with closing(self.disk.open(path)) as reader:
            while end <= size and (data := reader.read(end, _CHUNK)):
                found.update(data)
                end += len(data)
        if end != size or found.hexdigest() != sha256:
            message = (
                f"{path} has {end} B, SHA-256 {short(found.hexdigest())}, "
                f"not {size} B, {short(sha256)}"
            )
            raise Refusal(Code.DIGEST, message, _DAMAGED)


def _paths(disk: Disk, folder: str, prefix: str = "") -> Iterator[str]:
    for name in disk.list(folder):
        path = f"{folder}/{name}"
        if disk.kind(path) is Kind.FOLDER:
            yield from _paths(disk, path, f"{prefix}{name}/")
        else:
            yield prefix + name


def _folders(disk: Disk, folder: str) -> Iterator[str]:
    for name in disk.list(folder):
        if disk.kind(f"{folder}/{name}") is Kind.FOLDER:
            yield from _folders(disk, f"{folder}/{name}")
    yield folder


_PLANTED = "see who else writes to this folder, then update again"
_DAMAGED = "the storage may be failing; update again"
