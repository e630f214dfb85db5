"""Frames between hwc and its agent on a device: a JSON header and binary parts, all of stated size.

    b"hwcA"  length of the header (4 bytes, big-endian)  header  parts
    header = {"kind": text, "fields": {...}, "parts": [size, ...]}

Both sides may be of different versions, and what comes from the other one is not trusted: sizes are
checked before anything of that size is read.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

MARK = b"hwcA"
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one frame may hold, in bytes where it is not a count.

    Attributes:
        header: Of the header.
        part: Of one part.
        total: Of all parts.
        count: How many parts.
    """

    header: int
    part: int
    total: int
    count: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One message.

    Attributes:
        kind: What it is about.
        fields: What fits into JSON.
        parts: What does not.
    """

    kind: str
    fields: Mapping[str, object] = field(default_factory=dict)
    parts: tuple[bytes, ...] = ()


class Sink(Protocol):
    """Where bytes go; it may take fewer than it is given."""

    def write(self, data: memoryview, /) -> int | None:
        """Write some of the bytes; how many."""
        ...


def write(stream: Sink, frame: Frame) -> None:
    """Write a frame to an unbuffered stream.

    Raises:
        BrokenPipeError: Nobody reads.
    """
    sizes = [len(part) for part in frame.parts]
    content = {"kind": frame.kind, "fields": frame.fields, "parts": sizes}
    header = json.dumps(content).encode()
    for data in (MARK + _LENGTH.pack(len(header)) + header, *frame.parts):
        left = memoryview(data)
        while left:
            left = left[stream.write(left) or 0 :]


def read(stream: BinaryIO, limits: Limits, *, noise: int = 0) -> Frame | None:
    """Read a frame; None where the stream ends before one begins.

    Args:
        stream: A buffered stream.
        limits: What is refused.
        noise: Bytes that may come before the frame: shells greet.

    Raises:
        ValueError: What comes is not a frame, or larger than the limits.
        ConnectionError: The stream ends within the frame.
    """
    if not _skip_to_mark(stream, noise):
        return None
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > limits.header:
        raise ValueError(f"a header of {length} bytes, and {limits.header} is the most")
    kind, fields, sizes = _header(_exactly(stream, length))
    if len(sizes) > limits.count:
        raise ValueError(f"{len(sizes)} parts, and {limits.count} is the most")
    if max(sizes, default=0) > limits.part or sum(sizes) > limits.total:
        raise ValueError(f"parts of {sum(sizes)} bytes, and {limits.total} is the most")
    return Frame(kind, fields, tuple(_exactly(stream, size) for size in sizes))


def _skip_to_mark(stream: BinaryIO, noise: int) -> bool:
    """Read up to the end of the mark; False where the stream ends before it."""
    seen = stream.read(len(MARK))
    for _ in range(noise):
        if seen == MARK or len(seen) < len(MARK):
            break
        seen = seen[1:] + stream.read(1)
    if len(seen) == len(MARK) and seen != MARK:
        raise ValueError(f"no frame begins with {seen!r}")
    return seen == MARK


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError(f"the stream ended {size - len(data)} bytes early")
    return data


def _header(data: bytes) -> tuple[str, dict[str, object], list[int]]:
    try:
        content = json.loads(data)
    except RecursionError as cause:
        raise ValueError("a header that is nested too deeply") from cause
    match content:
        case {"kind": str(kind), "fields": dict(fields), "parts": list(sizes)}:
            if all(type(size) is int and size >= 0 for size in sizes):
                return kind, fields, sizes
    raise ValueError("a header without kind, fields and parts")
