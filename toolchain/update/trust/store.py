"""Files of a repository, written so that a reader, or a power cut, finds the old or the new one."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..refusal import Code, Refusal


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others from publishing at the same time.

    Raises:
        Refusal: Someone is publishing, or there is no such folder.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as cause:
        hint = "make it with hwc repo init"
        raise Refusal(Code.STATE, f"{folder}: {cause.strerror}", hint) from cause
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            message = f"{folder}: someone else is publishing"
            raise Refusal(Code.BUSY, message, "wait, then try again") from cause
        yield
    finally:
        os.close(handle)


def write(path: Path, data: bytes) -> None:
    """Put a file in place at once, and on the disk for good."""
    _make(path.parent)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _place(part, path)


def copy(source: Path, path: Path) -> None:
    """Copy a file the same way."""
    _make(path.parent)
    part = path.with_name(f".{path.name}.part")
    with source.open("rb") as read, part.open("wb") as file:
        shutil.copyfileobj(read, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    _place(part, path)


def _make(folder: Path) -> None:
    """Make a folder, and each that it is in, such that a power cut leaves them there."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _place(part: Path, path: Path) -> None:
    part.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
