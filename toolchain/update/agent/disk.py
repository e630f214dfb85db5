"""What the agent asks of a disk: every call that reads or changes something, one by one.

Paths are relative to the agent's folder, with forward slashes; the empty path is that folder. A
test takes the place of the disk and cuts the power between any two of these calls.
"""

from contextlib import AbstractContextManager, closing
from enum import Enum
from typing import Protocol

from ..delta.files import Reader


class Kind(Enum):
    """What a path names, without following it."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"  # a device, a socket, a pipe


class File(Protocol):
    """A file that is written from where it ends."""

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        ...

    def sync(self) -> None:
        """Return once what was written survives a power cut."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Disk(Protocol):
    """A folder and what is in it; no call follows a link, and all raise OSError as `os` does."""

    def lock(self) -> AbstractContextManager[None]:
        """Be the only one at work in this folder.

        Raises:
            Refusal: Another one is.
        """
        ...

    def free(self) -> int:
        """Bytes that can be written."""
        ...

    def kind(self, path: str) -> Kind | None:
        """What is there; None where nothing is."""
        ...

    def list(self, path: str) -> tuple[str, ...]:
        """Names in a folder, sorted."""
        ...

    def open(self, path: str) -> Reader:
        """Open a plain file for reading, past what memory still holds of it where that can be."""
        ...

    def target(self, path: str) -> str:
        """What a link says."""
        ...

    def create(self, path: str) -> File:
        """Make a file where nothing is."""
        ...

    def append(self, path: str) -> File:
        """Open a file that is there, to write behind its end."""
        ...

    def mkdir(self, path: str) -> None:
        """Make a folder where nothing is."""
        ...

    def link(self, path: str, target: str) -> None:
        """Make a link where nothing is."""
        ...

    def rename(self, path: str, to: str) -> None:
        """Give it another name in the same folder, in place of what has that name, in one step."""
        ...

    def unlink(self, path: str) -> None:
        """Remove what is not a folder."""
        ...

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        ...

    def sync(self, path: str) -> None:
        """Return once the names in a folder survive a power cut, as they are."""
        ...


def read(disk: Disk, path: str, cap: int) -> bytes:
    """A file's bytes, `cap` and one at the most."""
    with closing(disk.open(path)) as reader:
        return reader.read(0, cap + 1)


def write_new(disk: Disk, path: str, data: bytes) -> None:
    """Put a file beside `path`, in place of what an earlier try left; it survives a power cut."""
    if disk.kind(path) is not None:
        remove(disk, path)
    with closing(disk.create(path)) as file:
        file.write(data)
        file.sync()


def replace(disk: Disk, path: str, data: bytes) -> None:
    """Give a file new contents: whenever the power is cut, it has the old or the new ones."""
    folder, _, _ = path.rpartition("/")
    write_new(disk, f"{path}.tmp", data)
    disk.rename(f"{path}.tmp", path)
    disk.sync(folder)


def remove(disk: Disk, path: str) -> None:
    """Remove whatever is there and, if it is a folder, all in it; follows no link."""
    if disk.kind(path) is Kind.FOLDER:
        for name in disk.list(path):
            remove(disk, f"{path}/{name}")
        disk.rmdir(path)
    elif disk.kind(path) is not None:
        disk.unlink(path)
