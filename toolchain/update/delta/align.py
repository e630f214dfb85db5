"""Which stretches of a new text resemble which of an old one, though some bytes differ."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WINDOW = 8  # bytes that a stretch has in common somewhere: twice the last width of _FACTORS
_FACTORS = [(width, np.uint64(pow(0x9E3779B97F4A7C15, width, 1 << 64))) for width in (1, 2, 4)]
_GAIN = 8  # bytes that a jump to another place must have in common beyond what staying has
_NEAREST = 8  # places of one window that are tried
_TRIES = 1 << 12  # windows that are tried in all: half a second at most
_COMPARED = 1 << 12  # bytes that are compared at once

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of the new text that resembles one of the old text, `shift` bytes further on."""

    begin: int
    end: int
    shift: int


def align(new: Bytes, old: Bytes) -> list[Run]:
    """The runs of a new text, in order; the first begins with both texts, and may be empty."""
    return _fitted(_Walk(new, old).runs(), new, old)


class _Walk:
    """Goes along both texts and jumps in the old one where the new one goes on elsewhere."""

    def __init__(self, new: Bytes, old: Bytes) -> None:
        self._new, self._old = new, old
        hashes = _hash(old)
        self._places = np.argsort(hashes, kind="stable")
        wanted, there = _hash(new), hashes[self._places]
        self._low = np.searchsorted(there, wanted, "left")
        self._high = np.searchsorted(there, wanted, "right")
        self._known = np.flatnonzero(self._high > self._low)  # windows that the old text has

    def runs(self) -> Iterator[Run]:
        """What is walked between two jumps, from a window in common to the next difference."""
        at = begin = shift = 0
        tries = iter(range(_TRIES))
        while True:
            at += self._same(at, at + shift)
            found = self._next(at, shift, tries)
            if found is None:
                yield Run(begin, at, shift)
                return
            where, place = found
            if place - where != shift:
                yield Run(begin, at, shift)
                begin, shift = where, place - where
            at = where

    def _next(self, at: int, shift: int, tries: Iterator[int]) -> tuple[int, int] | None:
        """The next window from which to go on, and its place in the old text."""
        for k in range(int(np.searchsorted(self._known, at)), len(self._known)):
            where = int(self._known[k])
            if self._same(where, where + shift) >= _WINDOW:
                return where, where + shift
            if next(tries, None) is None:
                return None
            place, size = self._best(where, shift)
            if size > self._shared(where, where + shift, size) + _GAIN:
                return where, place
        return None

    def _best(self, where: int, shift: int) -> tuple[int, int]:
        """Of the places of a window near the present one, the one with most bytes in common."""
        places = self._places[self._low[where] : self._high[where]]
        if len(places) > _NEAREST:
            nearest = np.argpartition(np.abs(places - (where + shift)), _NEAREST)
            places = places[nearest[:_NEAREST]]
        sizes = [self._same(where, place) for place in places.tolist()]
        best = int(np.argmax(sizes))
        return int(places[best]), sizes[best]

    def _same(self, where: int, place: int) -> int:
        """How many bytes both texts have in common from there on, without a difference."""
        size, done = min(len(self._new) - where, len(self._old) - place), 0
        if place < 0:
            return 0
        while done < size:
            count = min(_COMPARED, size - done)
            one = self._new[where + done : where + done + count]
            differ = one != self._old[place + done : place + done + count]
            first = int(differ.argmax())
            if differ[first]:
                return done + first
            done += count
        return done

    def _shared(self, where: int, place: int, size: int) -> int:
        """How many bytes are the same, wherever, of so many from there on."""
        if place < 0:
            return 0
        old = self._old[place : place + size]
        return int(np.count_nonzero(self._new[where : where + len(old)] == old))


def _hash(data: Bytes) -> NDArray[np.uint64]:
    """A hash of each window: a polynomial, by doubling the window's width."""
    result = data.astype(np.uint64) + np.uint64(1)
    for width, factor in _FACTORS:
        result = result[:-width] * factor + result[width:]
    return result


def _fitted(runs: Iterable[Run], new: Bytes, old: Bytes) -> list[Run]:
    """The same runs, grown into what lies between them."""
    fitted: list[Run] = []
    for run in runs:
        begin = run.begin
        if fitted:
            last = fitted[-1]
            between = range(last.end, run.begin)
            forward = _scores(new, old, between, last.shift)
            backward = _scores(new, old, between, run.shift)
            end, begin = _split(forward, backward, last.end)
            fitted[-1] = Run(last.begin, end, last.shift)
        fitted.append(Run(begin, run.end, run.shift))
    last = fitted[-1]
    rest = _scores(new, old, range(last.end, len(new)), last.shift)
    fitted[-1] = Run(last.begin, last.end + _best(rest), last.shift)
    return fitted


def _scores(new: Bytes, old: Bytes, where: range, shift: int) -> NDArray[np.int64]:
    """1 where a byte is the old one, -1 where it differs, and far less where there is none."""
    places = np.arange(where.start, where.stop) + shift
    there = (places >= 0) & (places < len(old))
    same = new[where.start : where.stop] == old[np.clip(places, 0, len(old) - 1)]
    return np.where(there, np.where(same, 1, -1), -len(new))


def _best(scores: NDArray[np.int64]) -> int:
    """How far to grow so that more bytes are the same than not."""
    return int(np.concatenate(([0], np.cumsum(scores))).argmax())


def _split(forward: NDArray[np.int64], backward: NDArray[np.int64], start: int) -> tuple[int, int]:
    """Where the run before a stretch is to end, and the run behind it to begin."""
    ahead, behind = _best(forward), len(backward) - _best(backward[::-1])
    if ahead <= behind:
        return start + ahead, start + behind
    both = np.concatenate(([0], np.cumsum(forward))) - np.concatenate(([0], np.cumsum(backward)))
    at = behind + int(both[behind : ahead + 1].argmax())
    return start + at, start + at
