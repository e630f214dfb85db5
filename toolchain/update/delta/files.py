"""Where the bytes of releases are read and written: a folder here, a slot of an agent elsewhere."""

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

from ..limits import LIMITS, Limits
from ..refusal import Code, Refusal
from ..release import RELEASE, Release, ReleaseFile

_NOTHING: Mapping[str, memoryview] = MappingProxyType({})


class Reader(Protocol):
    """One file that is read in any order."""

    @property
    def size(self) -> int:
        """Bytes of the file now."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on; fewer than `size` only where the file ends."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Writer(Protocol):
    """One file that is written from its beginning to its end."""

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        ...

    def close(self) -> None:
        """The file is as it is to stay, or is given up: then the apply ends with a Refusal."""
        ...


class Files(Protocol):
    """The files of a release that is there, `bundle.json` among them."""

    def open(self, path: str) -> Reader:
        """Open a file for reading, whose path was checked.

        Raises:
            Refusal: It is missing or no plain file.
        """
        ...


class Sink(Files, Protocol):
    """Where the files of a release come into being; `open` reads what was written so far."""

    def create(self, path: str) -> Writer:
        """Begin a file that is not there yet, whose path was checked."""
        ...


@dataclass(frozen=True, slots=True)
class PlainReader:
    """A Reader of a file of this machine."""

    file: FileIO

    @property
    def size(self) -> int:
        """Bytes of the file now."""
        return os.fstat(self.file.fileno()).st_size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on."""
        return os.pread(self.file.fileno(), size, offset)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


@dataclass(frozen=True, slots=True)
class ViewReader:
    """A Reader of bytes in memory."""

    view: memoryview

    @property
    def size(self) -> int:
        """Bytes there are."""
        return len(self.view)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on."""
        return bytes(self.view[offset : offset + size])

    def close(self) -> None:
        """Nothing is to be let go of."""


@dataclass(frozen=True, slots=True)
class PlainWriter:
    """A Writer of a file of this machine, without a buffer: what was written can be read."""

    file: FileIO

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.file.write(rest) :]

    def close(self) -> None:
        """Close the file."""
        self.file.close()


@dataclass(frozen=True, slots=True)
class PlainSink:
    """A Sink that is a folder of this machine; what is in it already is not replaced."""

    root: Path

    def create(self, path: str) -> Writer:
        """Begin a file, and the folders that it lies in."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return PlainWriter(target.open("xb", buffering=0))

    def open(self, path: str) -> PlainReader:
        """Open a file for reading."""
        return PlainReader(_opened(self.root, path))


class Folder:
    """A release in a folder of this machine, its files mapped into memory; a context manager.

    Args:
        root: The folder, with `bundle.json` in it.
        limits: What is accepted of it.

    Raises:
        Refusal: A file is missing or has another size than `bundle.json` says, or that is no good.
    """

    def __init__(self, root: Path, limits: Limits = LIMITS) -> None:
        self.root = root
        with _opened(root, RELEASE) as file:
            self.text = file.read(limits.release + 1)
        self.release = Release.parse(self.text, limits)
        self._files = {file.path: file for file in self.release.files}
        self.views = _NOTHING

    def __enter__(self) -> Self:
        self.views = {file.path: self._view(file.path, file.size) for file in self.release.files}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.views = _NOTHING  # the mappings go with the last array that looks at them

    def open(self, path: str) -> PlainReader:
        """Open a file for reading."""
        return PlainReader(_opened(self.root, path))

    def file(self, path: str) -> ReleaseFile:
        """What the release says of a file that it has."""
        return self._files[path]

    def _view(self, path: str, size: int) -> memoryview:
        with _opened(self.root, path) as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                message = f"{self.root / path} has {found} B, its {RELEASE} says {size}"
                raise Refusal(Code.DIGEST, message, "make the release again from its model")
            if size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _opened(root: Path, path: str) -> FileIO:
    try:
        return (root / path).open("rb", buffering=0)
    except OSError as cause:
        message = f"{root / path}: {cause.strerror}"
        raise Refusal(Code.PATH, message, "name the folder of a release") from cause
