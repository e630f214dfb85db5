"""Output that is whole or absent: made beside its target, flushed to disk, then renamed."""

import errno
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_BELOW = 1 << 20  # bytes free under which a write that failed without a code means "full"


def check_target(target: Path, *, force: bool) -> None:
    """Refuse, before any long work, a target that could not be written after it.

    Raises:
        OutputError: The parent is missing or read-only, or the target exists without `force`.
    """
    parent = target.absolute().parent
    if not parent.is_dir():
        raise OutputError(f"{target}: there is no folder {parent}", "create it, or change -o")
    if os.path.lexists(target) and not force:
        raise OutputError(f"{target}: exists already", "--force replaces it, or change -o")
    stage = _stage(target)
    try:
        stage.touch(exist_ok=False)  # permissions alone do not tell: a trial does
        stage.unlink()
    except OSError as cause:
        raise OutputError(f"{target}: cannot be written: {cause.strerror}", "change -o") from cause


@contextmanager
def atomic_output(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a free path beside `target`; the file or folder made there becomes the target.

    Whatever ends the block early (an error, Ctrl-C, a full disk) leaves nothing behind. A target
    that is replaced is moved aside first and put back should the new one not take its place.

    Raises:
        OutputError: See `check_target`; or the disk is full, or the rename was refused.
    """
    check_target(target, force=force)
    final, stage = target.absolute(), _stage(target)
    try:
        with disk_full_is_output_error(target):
            yield stage
            try:
                _sync_tree(stage)
                _put(stage, final, force=force)
            except OSError as cause:
                if cause.errno in _FULL:
                    raise
                raise OutputError(f"{target}: {cause.strerror}", "change -o") from cause
    finally:
        _remove(stage)


@contextmanager
def disk_full_is_output_error(target: Path) -> Iterator[None]:
    """Turn a write that failed for want of space into an OutputError that names the target."""
    try:
        yield
    except OSError as cause:
        if not _is_full(cause, target.absolute().parent):
            raise
        raise OutputError(
            f"{target}: the disk is full", "free some space, or write to another disk with -o"
        ) from cause


def _stage(target: Path) -> Path:
    """A free path beside the target, on the same disk, so that it can be renamed."""
    final = target.absolute()
    return final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")


def _is_full(error: OSError, folder: Path) -> bool:
    # numpy's tofile raises OSError without a code when a write falls short.
    if error.errno is not None:
        return error.errno in _FULL
    return shutil.disk_usage(folder).free < _FULL_BELOW


def _put(stage: Path, target: Path, *, force: bool) -> None:
    old = stage.with_suffix(".old")
    if os.path.lexists(target):
        if not force:
            raise OutputError(f"{target}: was made by another program meanwhile", "change -o")
        target.rename(old)
    try:
        stage.rename(target)
    except BaseException:
        if os.path.lexists(old):
            old.rename(target)
        raise
    _remove(old)
    _sync(target.parent)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_tree(path: Path) -> None:
    for folder, _, names in os.walk(path):
        for name in names:
            _sync(Path(folder) / name)
        _sync(Path(folder))
    if path.is_file():
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that goes with the block, whenever a signal ends it.

    A signal between the folder's making and the note that it must go would leave it behind, so
    signals wait for that moment.
    """
    held = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    with folder as name:
        yield Path(name)
