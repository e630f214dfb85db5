"""One agent at a time in a folder; the kernel lets go when its process ends, however it does."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from ..refusal import Code, Refusal


@contextmanager
def exclusive(folder: int) -> Iterator[None]:
    """Hold the lock of an open folder; there is no file that could be planted or left behind.

    Raises:
        Refusal: Another process holds it.
    """
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        message = "another agent is at work in this folder"
        raise Refusal(Code.BUSY, message, "wait until it is done; then try again") from cause
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)
