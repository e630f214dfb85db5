"""Records that tell whether they are whole: a line with length, SHA-256 and canonical JSON."""

import hashlib
from typing import TypeVar

from ...codec import canonical, parse
from ...errors import InputError

T = TypeVar("T")

_LENGTH = 8  # hexadecimal digits
_HEAD = _LENGTH + 1 + 64 + 1  # length, blank, SHA-256, blank


def frame(value: object) -> bytes:
    """One record, a dataclass."""
    text = canonical(value).encode()
    return b"%08x %s " % (len(text), hashlib.sha256(text).hexdigest().encode()) + text + b"\n"


def unframe(kind: type[T], data: bytes) -> tuple[tuple[T, ...], int]:
    """The records that `data` begins with, up to the first that is torn or damaged; their bytes."""
    found, start = [], 0
    while (text := _text(data, start)) is not None:
        try:
            found.append(parse(kind, text))
        except InputError:
            break
        start += _HEAD + len(text) + 1
    return tuple(found), start


def _text(data: bytes, start: int) -> bytes | None:
    head = data[start : start + _HEAD]
    try:
        size = int(head[:_LENGTH], 16)
    except ValueError:
        return None
    text = data[start + _HEAD : start + _HEAD + size]
    whole = b"%08x %s " % (size, hashlib.sha256(text).hexdigest().encode()) == head
    return (
        text if whole and data[start + _HEAD + size : start + _HEAD + size + 1] == b"\n" else None
    )
