"""Times graphs on a device for an hwc elsewhere, which starts it there over ssh.

`python3 -m hwc.backends.ort_agent` speaks frames on its standard input and output, needs nothing
but numpy and onnxruntime, and ends, leaving nothing behind, when the other side hangs up.
"""

import os
import platform
import re
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from ..toolchain.errors import HwcError
from ..toolchain.host import detect
from ..toolchain.output import scratch_folder
from ..toolchain.version import __version__
from .agent_frames import Frame, Sink, read, write
from .agent_messages import (
    AGENT_LIMITS,
    PROTOCOL,
    Hello,
    Kind,
    Order,
    build_frame,
    error_frame,
    graph_of,
)
from .ort_session import VERSION
from .ort_timing import Graph, time_graphs

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NO_SENSE = 2  # exit code where what came made none


def main() -> int:
    """Serve until the other side hangs up; the exit code."""
    for number in _ENDING:
        signal.signal(number, _end)
    with scratch_folder("hwc-agent-") as folder:
        tempfile.tempdir = str(folder)
        requests = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
        replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is not a frame
        threading.Thread(target=_watch, args=(requests.fileno(),), daemon=True).start()
        try:
            return serve(requests, replies)
        except ConnectionError:  # nobody is left who could be told
            return 1
        finally:
            _take_no_more_signals()  # one that comes while the folder is removed would keep it


def serve(requests: BinaryIO, replies: Sink) -> int:
    """Answer requests until the stream ends; the exit code.

    Raises:
        ConnectionError: A stream ended within a message.
    """
    write(replies, _hello().frame())
    try:
        while (frame := read(requests, AGENT_LIMITS)) is not None:
            for reply in _answer(frame, requests, replies):
                write(replies, reply)
    except ValueError as cause:  # where the next message begins is not known any more
        write(replies, error_frame(f"the agent got {cause}", "see whether both hwc are the same"))
        return _NO_SENSE
    return 0


def _answer(frame: Frame, requests: BinaryIO, replies: Sink) -> list[Frame]:
    order = Order.of(frame)
    graphs = _graphs(requests, order.graphs)

    def told() -> None:
        write(replies, Frame(Kind.TURN))

    try:
        builds = time_graphs(graphs, order.feeds, runs=order.runs, threads=order.threads, told=told)
    except HwcError as error:
        for _ in graphs:
            pass  # the other side is still sending: the next request comes after them
        return [error_frame(error.message, error.hint)]
    return [*map(build_frame, builds), Frame(Kind.DONE)]


def _graphs(requests: BinaryIO, count: int) -> Iterator[Graph]:
    """The graphs as they come, so that only one of them is in memory."""
    for _ in range(count):
        yield Graph(graph_of(read(requests, AGENT_LIMITS)))


def _hello() -> Hello:
    return Hello(PROTOCOL, __version__, platform.python_version(), VERSION, detect(), _free_gib())


def _free_gib() -> float | None:
    """GiB of memory that new programs can have; None where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) / 2**20 if found else None


def _watch(descriptor: int) -> None:
    """End this process once the other side has hung up, in the middle of a measurement, too."""
    poll = select.poll()
    poll.register(descriptor, getattr(select, "POLLRDHUP", 0))  # and POLLHUP, always
    poll.poll()
    os.kill(os.getpid(), signal.SIGHUP)


def _end(number: int, frame: FrameType | None) -> None:
    """Leave through every `finally`, undisturbed by further signals."""
    del frame
    _take_no_more_signals()
    raise SystemExit(128 + number)


def _take_no_more_signals() -> None:
    for number in _ENDING:
        signal.signal(number, lambda *_: None)  # Python complains of SIG_IGN if one is under way


if __name__ == "__main__":
    sys.exit(main())
