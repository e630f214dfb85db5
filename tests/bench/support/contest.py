"""Engines of one model beside each other: scored on the same data, timed in turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hwc.backends import ort
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.timing import Clock, Interval, Open, Timing, paired_openings

from .answers import agreement, recording
from .devkit import Case, Run, evaluate

THREADS = 2  # of the wall time


@dataclass(frozen=True, slots=True)
class Speed:
    """How many times faster one engine is than another: CPU time on one thread, wall on two."""

    cpu: Interval
    wall: Interval


@dataclass(frozen=True, slots=True)
class Contender:
    """One artefact beside the original.

    Attributes:
        score: On the evaluation data.
        agreement: With the original's answers there.
        size: Bytes.
        speed: Over the original.
        made: How.
    """

    score: float
    agreement: float
    size: int
    speed: Speed
    made: str


@dataclass(frozen=True, slots=True)
class Engines:
    """How to load one artefact, for each clock: anew for each part of a measurement."""

    single: Open
    parallel: Open

    @classmethod
    def of_file(cls, path: Path) -> "Engines":
        """An ONNX file as ONNX Runtime runs it by default."""
        single, parallel = (ort.Options(threads=n, disabled=()) for n in (1, THREADS))
        return cls(partial(ort.Session, path, single), partial(ort.Session, path, parallel))


@dataclass(frozen=True, slots=True)
class Arena:
    """Where the engines of one model meet.

    Attributes:
        case: The model.
        original: Its engines.
        answers: What the original answers on the evaluation data.
        feeds: The input of the timings.
        seconds: That one comparison may take.
        limit: How many evaluation samples; None: all.
    """

    case: Case
    original: Engines
    answers: Sequence[Array]
    feeds: Feeds
    seconds: float
    limit: int | None

    def speed(self, base: Engines, other: Engines) -> Speed:
        """How much faster `other` is, both clocks."""
        cpu = Timing(clock=Clock.CPU, seconds=self.seconds)
        wall = Timing(clock=Clock.WALL, seconds=self.seconds)
        return Speed(
            paired_openings(base.single, other.single, self.feeds, cpu).ratio[Clock.CPU],
            paired_openings(base.parallel, other.parallel, self.feeds, wall).ratio[Clock.WALL],
        )

    def contend(self, engines: Engines, run: Run, *, size: int, made: str) -> Contender:
        """Score and time one artefact."""
        recorded, answers = recording(self.case, run)
        score = evaluate(self.case, recorded, self.limit)
        agreed = agreement(self.case, answers, self.answers)
        return Contender(score, agreed, size, self.speed(self.original, engines), made)
