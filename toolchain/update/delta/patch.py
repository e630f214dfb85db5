"""A patch of a text as bsdiff writes it (Percival, "Naive differences of executable code", 2003).

Rows say how many bytes to add to old ones, how many to insert behind them, and how far to move in
the old text. Behind them come the bytes to add, most of which are 0, and those to insert; all of
that is under zstd, behind the number of rows.
"""

import struct
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..codec import zstd
from .align import Bytes, Run, align
from .header import malformed

_ROW = np.dtype([("same", "<u4"), ("fresh", "<u4"), ("skip", "<i4")])
_COUNT = struct.Struct("<I")


def encode(new: bytes, old: bytes) -> bytes:
    """The patch that makes `new` of `old`."""
    after, before = np.frombuffer(new, np.uint8), np.frombuffer(old, np.uint8)
    runs = [*align(after, before), Run(len(new), len(new), 0)]
    rows, added, inserted = [], [], []
    for run, follower in pairwise(runs):
        low, high = run.begin + run.shift, run.end + run.shift
        there = follower.begin + follower.shift if follower is not runs[-1] else high
        rows.append((run.end - run.begin, follower.begin - run.end, there - high))
        added.append((after[run.begin : run.end] - before[low:high]).tobytes())
        inserted.append(new[run.end : follower.begin])
    columns = np.array(rows, _ROW).view(np.uint8).reshape(-1, _ROW.itemsize).T
    return _COUNT.pack(len(rows)) + zstd.compress(b"".join((columns.tobytes(), *added, *inserted)))


def decode(patch: bytes, old: bytes, size: int) -> bytes:
    """The new text of exactly `size` bytes.

    Raises:
        Refusal: The patch is damaged.
    """
    if len(patch) < _COUNT.size:
        raise malformed("a patch without rows")
    (count,) = _COUNT.unpack_from(patch)
    if count > size + 1:
        raise malformed(f"a patch of {count} rows for {size} B")
    length = count * _ROW.itemsize
    data = zstd.decompress(patch[_COUNT.size :], length + size)
    columns = np.frombuffer(data, np.uint8, length).reshape(_ROW.itemsize, count)
    rows = np.ascontiguousarray(columns.T).reshape(-1).view(_ROW)
    same, fresh, skip = (rows[name].astype(np.int64) for name in ("same", "fresh", "skip"))
    places = np.cumsum(same + skip) - same - skip
    outside = (places < 0) | (places + same > len(old))
    if outside.any() or int((same + fresh).sum()) != size:
        raise malformed("a patch reads or writes what is not there")
    texts = (np.frombuffer(old, np.uint8), data[length:])
    return b"".join(_pieces(np.stack((same, fresh, places), 1), *texts))


def _pieces(rows: NDArray[np.int64], old: Bytes, data: bytes) -> Iterator[bytes]:
    at, done = 0, int(rows[:, 0].sum())
    for same, fresh, place in rows.tolist():
        added = np.frombuffer(data, np.uint8, same, at)
        yield (old[place : place + same] + added).tobytes()
        yield data[done : done + fresh]
        at, done = at + same, done + fresh
