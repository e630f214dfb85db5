"""Files of a repository, written so that a reader, or a power cut, finds the old or the new one."""

import os
import shutil
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Put a file in place at once, and on the disk for good."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _place(part, path)


def copy(source: Path, path: Path) -> None:
    """Copy a file the same way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with source.open("rb") as read, part.open("wb") as file:
        shutil.copyfileobj(read, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    _place(part, path)


def _place(part: Path, path: Path) -> None:
    part.replace(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
