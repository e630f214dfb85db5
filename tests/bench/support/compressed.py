"""Artefacts of a compression beside their fp32 reference: scored on all data, timed in turns."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hwc.toolchain.bundle import Bundle
from hwc.toolchain.engine import Feeds
from hwc.toolchain.report import Report
from hwc.toolchain.timing import Interval
from hwc.tools.backends import open_backend
from hwc.tools.loaded import input_specs, load_engine

from .answers import recording
from .contest import THREADS, Arena, Engines
from .devkit import Case, Run, as_run, calibration_feeds, evaluate, kit

Right = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Beside:
    """The fp32 reference that artefacts are held against.

    Attributes:
        case: The development model.
        path: Its ONNX file.
        right: Of each evaluation sample whether it answers it.
        seconds: That one comparison of speeds may take.
        limit: Evaluation samples; None: all.
    """

    case: Case
    path: Path
    right: Right
    seconds: float
    limit: int | None

    @classmethod
    def of(cls, case: Case, path: Path, seconds: float, limit: int | None) -> "Beside":
        """Score the reference."""
        runner = Engines.of_file(path).parallel()
        right = _right(case, lambda feeds: list(runner(feeds).values()), limit)
        return cls(case, path, right, seconds, limit)

    @property
    def score(self) -> float:
        """Top-1 of the reference."""
        return float(self.right.mean())

    def drop(self, run: Run) -> Interval:
        """What an artefact answers less, with the 95 % interval of the paired difference."""
        lost = self.right.astype(float) - _right(self.case, run, self.limit)
        half = 1.96 * float(lost.std()) / math.sqrt(len(lost))
        mean = float(lost.mean())
        return Interval(mean, mean - half, mean + half)

    def faster(self, base: Engines, other: Engines) -> Interval:
        """How many times faster one is than another: process CPU time on one thread."""
        arena = Arena(self.case, base, [], self._feeds(), self.seconds, self.limit)
        return arena.speed(base, other).cpu

    def _feeds(self) -> Feeds:
        return next(iter(calibration_feeds(self.case)))


@contextmanager
def opened(path: Path) -> Iterator[tuple[Engines, Run, Report]]:
    """The engines of a bundle, how the kit calls it, and its report."""
    with Bundle.open(path) as bundle:
        backend = open_backend(bundle.manifest.backend)
        single, parallel = (partial(load_engine, bundle, backend, n) for n in (1, THREADS))
        engines = Engines(single, parallel)
        yield engines, as_run(engines.parallel(), input_specs(bundle)), bundle.report()


def _right(case: Case, run: Run, limit: int | None) -> Right:
    recorded, answers = recording(case, run)
    evaluate(case, recorded, limit)
    labels = kit().data(kit().SPEC[case.name]["data"])["y"][: len(answers)]
    return np.array([int(answer) for answer in answers]) == labels
