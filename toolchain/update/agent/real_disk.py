"""A folder of this machine, opened part by part, so that no link in a path is ever followed."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ...archive import check_member
from ...errors import IntegrityError
from ..refusal import Code, Refusal
from .disk import Kind
from .lock import exclusive

_COMMON = os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = _COMMON | os.O_RDONLY | os.O_DIRECTORY
_READ = _COMMON | os.O_RDONLY | os.O_NONBLOCK  # a pipe that was put there must not hold us up
_CREATE = _COMMON | os.O_WRONLY | os.O_CREAT | os.O_EXCL
_APPEND = _COMMON | os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK
_NOT_FOLLOWED = {errno.ELOOP, errno.ENOTDIR}
_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}
_HINT = "remove it; somebody put it there"


@dataclass(frozen=True, slots=True)
class RealFile:
    """A File, and a Reader, of this machine."""

    descriptor: int

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]

    def sync(self) -> None:
        """Return once what was written survives a power cut."""
        os.fsync(self.descriptor)

    @property
    def size(self) -> int:
        """Bytes of the file now."""
        return os.fstat(self.descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on."""
        return os.pread(self.descriptor, size, offset)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


class RealDisk:
    """A Disk that is a folder of this machine; a context manager.

    Args:
        root: The folder; whoever names it may name it through a link.

    Raises:
        Refusal: There is no such folder, or it cannot be opened.
    """

    def __init__(self, root: Path) -> None:
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as cause:
            message = f"{root}: {cause.strerror}"
            raise Refusal(Code.DISK, message, "name the agent's folder with --root-dir") from cause

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._root)

    def lock(self) -> AbstractContextManager[None]:
        """Be the only one at work in this folder."""
        return exclusive(self._root)

    def free(self) -> int:
        """Bytes that can be written by who is not the superuser."""
        found = os.fstatvfs(self._root)
        return found.f_bavail * found.f_frsize

    def kind(self, path: str) -> Kind | None:
        """What is there, or None; None as well where the folder that it would be in is missing."""
        try:
            with self._parent(path) as (folder, name):
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        return _KINDS.get(stat.S_IFMT(mode), Kind.OTHER)

    def list(self, path: str) -> tuple[str, ...]:
        """Names in a folder."""
        with self._folder(path) as folder:
            return tuple(sorted(os.listdir(folder)))  # noqa: PTH208 - a Path cannot name a descriptor

    def open(self, path: str) -> RealFile:
        """Open a plain file for reading; what is in the page cache is dropped where it is clean."""
        file = self._open(path, _READ)
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # a file system need not know this advice
                os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return file

    def target(self, path: str) -> str:
        """What a link says."""
        with self._parent(path) as (folder, name):
            return os.readlink(name, dir_fd=folder)

    def create(self, path: str) -> RealFile:
        """Make a file."""
        return self._open(path, _CREATE)

    def append(self, path: str) -> RealFile:
        """Open a file to write behind its end."""
        return self._open(path, _APPEND)

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        with self._parent(path) as (folder, name):
            os.mkdir(name, 0o755, dir_fd=folder)

    def link(self, path: str, target: str) -> None:
        """Make a link."""
        with self._parent(path) as (folder, name):
            os.symlink(target, name, dir_fd=folder)

    def rename(self, path: str, to: str) -> None:
        """Give it another name."""
        with self._parent(path) as (folder, name), self._parent(to) as (new_folder, new_name):
            os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=new_folder)

    def unlink(self, path: str) -> None:
        """Remove what is not a folder."""
        with self._parent(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        with self._parent(path) as (folder, name):
            os.rmdir(name, dir_fd=folder)

    def sync(self, path: str) -> None:
        """Return once the names in a folder survive a power cut."""
        with self._folder(path) as folder:
            os.fsync(folder)

    def _open(self, path: str, flags: int) -> RealFile:
        try:
            with self._parent(path) as (folder, name):
                descriptor = os.open(name, flags, 0o644, dir_fd=folder)
        except OSError as cause:
            if cause.errno in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:
                raise Refusal(Code.PATH, f"{path} is not a plain file", _HINT) from cause
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Refusal(Code.PATH, f"{path} is not a plain file", _HINT)
        return RealFile(descriptor)

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        parent, _, name = path.rpartition("/")
        with self._folder(parent) as folder:
            yield folder, name

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        descriptor = os.open(".", _FOLDER, dir_fd=self._root)
        try:
            for part in _parts(path):
                inner = _enter(part, descriptor, path)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def _parts(path: str) -> list[str]:
    if not path:
        return []
    try:
        check_member(path)
    except IntegrityError as cause:
        raise Refusal(Code.PATH, cause.message, cause.hint) from cause
    return path.split("/")


def _enter(name: str, folder: int, path: str) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as cause:
        if cause.errno in _NOT_FOLLOWED:
            raise Refusal(Code.PATH, f"{path}: {name} is not a folder", _HINT) from cause
        raise
