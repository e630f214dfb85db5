"""Measured kernels that compare, and the time of another kernel that is like them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ..slots import Work
from .borrow_trend import Guess, Trend, spread
from .wiring import Floats

_OTHER_KIND = 2.0  # distance between kernels of two classes: as far as 7.4 times the work
_OTHER_OPS = 1.0  # distance between kernels that share no op
_TRIED = 500  # kernels that are left out in turn to learn the error


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a kernel is in every precision: `key`, `kind` and `work` as a `Slot` has them."""

    key: str
    kind: str
    work: Work

    @property
    def ops(self) -> frozenset[str]:
        """The ops in it: three in `Add||1x8&Conv+Clip||1x8,w8x8x1x1`."""
        parts = (part.partition("|")[0] for part in self.key.split("&"))
        return frozenset(op for part in parts for op in part.split("+"))

    @property
    def multiplies(self) -> bool:
        """Whether it multiplies matrices; others only read, compute and write elements."""
        return self.work.macs > 0


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """N kernels with their times under one choice; all of them multiply matrices, or none.

    Attributes:
        kernels: The kernels.
        space: How unlike they are.
        trend: What their work costs.
    """

    kernels: tuple[Kernel, ...]
    space: "_Space"
    trend: Trend

    @classmethod
    def fit(cls, times: Mapping[Kernel, float]) -> Self:
        """Learn from the time of each kernel, in microseconds."""
        kernels = tuple(times)
        space = _Space.of(kernels)
        tried = [kernels[i] for i in spread(len(kernels), _TRIED)]
        trend = Trend.fit(
            np.array([_features(kernel) for kernel in kernels]),
            np.array(list(times.values()), np.float64),
            np.array([space.distances(kernel) for kernel in tried]),
        )
        return cls(kernels, space, trend)

    def count(self, kind: str) -> int:
        """How many kernels of a class there are."""
        return int(np.count_nonzero(self.space.kinds == kind))

    def guess(self, kernel: Kernel) -> Guess:
        """The time of another kernel."""
        return self.trend.guess(_features(kernel), self.space.distances(kernel))


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """N kernels by what tells how well their times carry over to another.

    Attributes:
        kinds: Their classes; shape (N,).
        sizes: The logarithms of their work; shape (N, 4).
        columns: The column of each op in `ops`.
        ops: Whether each kernel has each op; shape (N, W).
    """

    kinds: npt.NDArray[np.str_]
    sizes: Floats
    columns: dict[str, int]
    ops: Floats

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> Self:
        """Lay the kernels out."""
        words = sorted({op for kernel in kernels for op in kernel.ops})
        return cls(
            np.array([kernel.kind for kernel in kernels]),
            np.array([_sizes(kernel.work) for kernel in kernels]),
            {op: column for column, op in enumerate(words)},
            np.array([[float(op in kernel.ops) for op in words] for kernel in kernels]),
        )

    def distances(self, kernel: Kernel) -> Floats:
        """How unlike a kernel is to each: 1 where all its work is e times theirs; shape (N,)."""
        ops = kernel.ops
        shared = self.ops[:, [self.columns[op] for op in ops if op in self.columns]].sum(axis=1)
        either = self.ops.sum(axis=1) + len(ops) - shared
        size = np.sqrt(((self.sizes - _sizes(kernel.work)) ** 2).mean(axis=1))
        distances: Floats = (
            size + _OTHER_KIND * (self.kinds != kernel.kind) + _OTHER_OPS * (1.0 - shared / either)
        )
        return distances


def _sizes(work: Work) -> Floats:
    counts = (work.macs, work.weights, work.reads, work.writes)
    sizes: Floats = np.log1p(np.array(counts, np.float64))
    return sizes


def _features(kernel: Kernel) -> Floats:
    """What costs time: a launch, multiplying (depthwise apart), weights and moved elements.

    A Gather has a large table and reads a few rows of it: no more of it counts than is written.
    """
    work = kernel.work
    weights = work.weights if kernel.multiplies else min(work.weights, work.writes)
    depthwise = work.macs if kernel.kind == "depthwise" else 0
    costs = (1.0, work.macs, depthwise, weights, work.reads + work.writes)
    return np.array(costs, np.float64)
