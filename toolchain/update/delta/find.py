"""Where stretches of known bytes lie in a file that says nothing of its layout, such as an engine.

Known bytes are cut into windows of 64 bytes and kept by a hash; every fourth byte of the file is
then asked for the window that begins there, and what is found grows in both directions. So any
stretch of at least 124 bytes is found that lies a multiple of four bytes from where it lay.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WORD = 4  # bytes that everything is aligned to
_WINDOW = 16  # words of a window: twice the last width of _FACTORS
_GOLDEN = 0x9E3779B97F4A7C15  # odd; 2**64 over the golden ratio, as in Fibonacci hashing
_FACTORS = [(width, np.uint64(pow(_GOLDEN, width, 1 << 64))) for width in (1, 2, 4, 8)]
_PART = 1 << 18  # words of the file that are looked at together
_COMPARED = 1 << 16  # bytes that are compared at once where a match grows

Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Known:
    """A stretch of bytes that is there already.

    Attributes:
        data: The bytes.
        path: Their file.
        offset: Where they lie in it.
        new: It is a file of the new release, not of the base.
    """

    data: memoryview
    path: str
    offset: int
    new: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A stretch of the file that is known.

    Attributes:
        begin: Where it begins in the file.
        size: Its bytes.
        known: What it lies in.
        offset: Where in `known.data`.
    """

    begin: int
    size: int
    known: Known
    offset: int


class Finder:
    """Looks for known stretches; windows of one repeated word are not looked for."""

    def __init__(self, known: Sequence[Known]) -> None:
        self._known = [stretch for stretch in known if len(stretch.data) >= _WINDOW * WORD]
        hashes, owners, places = [], [], []
        for owner, stretch in enumerate(self._known):
            for found, where in _windows(_words(stretch.data)):
                hashes.append(found)
                places.append(where)
                owners.append(np.full(len(where), owner))
        empty = np.zeros(0, np.int64)
        joined = np.concatenate([empty.astype(np.uint64), *hashes])
        self._hashes, first = np.unique(joined, return_index=True)
        self._owners = np.concatenate([empty, *owners])[first]
        self._places = np.concatenate([empty, *places])[first]
        self._bits = max(10, int(len(first) * 8).bit_length())
        self._seen = np.zeros(1 << self._bits, np.bool_)  # most windows end at this table
        self._seen[self._slot(self._hashes)] = True

    def search(self, data: memoryview) -> Iterator[Found]:
        """The known stretches of a file, in order and apart from each other."""
        if not len(self._hashes):
            return
        words, end = _words(data), 0
        for start in range(0, len(words), _PART):
            hashes = _hash(words[start : start + _PART + _WINDOW - 1])
            for at, index in self._hits(hashes, start):
                if at < end:
                    continue
                found = self._grown(data, at, index, end)
                if found is not None:
                    end = found.begin + found.size
                    yield found

    def _slot(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return hashes >> np.uint64(64 - self._bits)

    def _hits(self, hashes: NDArray[np.uint64], start: int) -> Iterator[tuple[int, int]]:
        """Byte in the file and number of the window, where the hashes are the same."""
        maybe = np.flatnonzero(self._seen[self._slot(hashes)])
        index = np.searchsorted(self._hashes, hashes[maybe])
        index = np.minimum(index, len(self._hashes) - 1)
        same = self._hashes[index] == hashes[maybe]
        yield from zip(((maybe[same] + start) * WORD).tolist(), index[same].tolist(), strict=True)

    def _grown(self, data: memoryview, at: int, index: int, low: int) -> Found | None:
        known, place = self._known[self._owners[index]], int(self._places[index])
        before = _common(data[low:at], known.data[:place], backwards=True)
        behind = _common(data[at:], known.data[place:])
        if behind < _WINDOW * WORD:
            return None  # only the hash was the same
        return Found(at - before, before + behind, known, place - before)


def same(one: memoryview, other: memoryview) -> bool:
    """Whether two stretches have the same bytes; Python's own comparison goes byte by byte."""
    return len(one) == len(other) and _common(one, other) == len(one)


def _words(data: memoryview) -> Words:
    return np.frombuffer(data, "<u4", len(data) // WORD)


def _windows(words: Words) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
    """Hash and byte of each window to be kept, some at a time."""
    for start in range(0, len(words) // _WINDOW * _WINDOW, _PART):
        part = words[start : start + _PART]
        rows = part[: len(part) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
        varied = np.flatnonzero((rows != rows[:, :1]).any(axis=1))
        yield _hash(part)[varied * _WINDOW], (start + varied * _WINDOW) * WORD


def _hash(words: Words) -> NDArray[np.uint64]:
    """A hash of each window of words: a polynomial, by doubling the window's width."""
    result = words.astype(np.uint64) + np.uint64(1)
    for width, factor in _FACTORS:
        result = result[:-width] * factor + result[width:]
    return result * _FACTORS[0][1]


def _common(one: memoryview, other: memoryview, *, backwards: bool = False) -> int:
    """How many bytes two stretches share at their beginnings, or at their ends."""
    size, done = min(len(one), len(other)), 0
    while done < size:
        count = min(_COMPARED, size - done)
        if backwards:
            first = one[len(one) - done - count : len(one) - done]
            second = other[len(other) - done - count : len(other) - done]
        else:
            first, second = one[done : done + count], other[done : done + count]
        differ = np.flatnonzero(np.frombuffer(first, "u1") != np.frombuffer(second, "u1"))
        if len(differ):
            return done + (count - 1 - int(differ[-1]) if backwards else int(differ[0]))
        done += count
    return size
