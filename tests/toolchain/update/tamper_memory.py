"""Something done by a child that is given little more memory than it has."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

from hwc.toolchain.update.refusal import Refusal

STATM = Path("/proc/self/statm")


def in_little_memory(run: Callable[[], object], room: int) -> str:
    """What became of it: `done`, the code of its Refusal, or the name of another exception.

    Args:
        run: What is done.
        room: Bytes of addresses that the child may take above those that this process has.
    """
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writer, _ended(run, room).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        found = told.read()
    os.waitpid(child, 0)
    return found


def _ended(run: Callable[[], object], room: int) -> str:
    has = int(STATM.read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (has + room, hard))
    try:
        run()
    except Refusal as refusal:
        return refusal.code.name
    except BaseException as error:  # noqa: BLE001 - the child ends here, and says what it was
        return type(error).__name__
    return "done"
