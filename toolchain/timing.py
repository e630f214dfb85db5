"""Time of one engine beside another: runs in turns, both clocks, and an honest interval."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

import numpy as np
import numpy.typing as npt

from .engine import Feeds, Runner

_RESAMPLES = 500
_NO_TIME = 1e-3  # microseconds, what a clock that did not move is taken for
_Durations = npt.NDArray[np.float64]  # microseconds, shape (runs,)
_Samples = npt.NDArray[np.float64]  # microseconds; the last axis is the clock


class Clock(StrEnum):
    """What is counted: CPU time ignores the neighbours, wall time is what a user waits."""

    CPU = "process CPU time"
    WALL = "wall time"


_COLUMN = {Clock.CPU: 0, Clock.WALL: 1}


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and tenth and ninetieth percentile of one runner's times, in microseconds."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, us: _Durations) -> Self:
        """Summarise durations of shape (runs,)."""
        p10, median, p90 = (float(value) for value in np.percentile(us, (10, 50, 90)))
        return cls(median, p10, p90)


@dataclass(frozen=True, slots=True)
class Timing:
    """How to measure.

    Attributes:
        clock: The clock whose ratio must settle.
        warm_up: Runs of each engine before any that counts.
        min_runs: Runs of each engine at least.
        max_runs: Runs of each engine at most.
        width: Settled when the interval is within this fraction around its ratio.
        seconds: Stop there even if not settled.
        sample_us: Runs shorter than this are timed several at once, so that reading the clock
            does not count.
    """

    clock: Clock = Clock.CPU
    warm_up: int = 5
    min_runs: int = 30
    max_runs: int = 5000
    width: float = 0.01
    seconds: float = 10.0
    sample_us: float = 200.0


@dataclass(frozen=True, slots=True)
class Times:
    """One engine measured alone: its times by clock, in microseconds, and how many runs."""

    spread: Mapping[Clock, Spread]
    runs: int


@dataclass(frozen=True, slots=True)
class Paired:
    """Two engines measured in turns; no run is left out.

    Attributes:
        a: Times of the first by clock, in microseconds.
        b: Times of the second.
        ratio: Median of a/b over the pairs, by clock: how many times faster b is.
        runs: Counted runs of each.
        settled: The interval became narrow before the time was up.
    """

    a: Mapping[Clock, Spread]
    b: Mapping[Clock, Spread]
    ratio: Mapping[Clock, Interval]
    runs: int
    settled: bool

    @classmethod
    def with_itself(cls, times: Times) -> Self:
        """One engine on both sides: exactly as fast."""
        one = Interval(1.0, 1.0, 1.0)
        return cls(times.spread, times.spread, dict.fromkeys(Clock, one), times.runs, settled=True)


DEFAULT = Timing()
OPENINGS = 4
_FEWEST = 5  # runs of an engine that is measured apart
_T_975 = 3.182  # 97.5th percentile of Student's t with OPENINGS - 1 degrees of freedom

Open = Callable[[], Runner]


def paired_latency(a: Runner, b: Runner, feeds: Feeds, timing: Timing = DEFAULT) -> Paired:
    """Measure two engines on the same input, in turns, first one ahead and then the other.

    What disturbs the machine for longer than a pair takes falls on both alike, so the ratio of a
    pair is steadier than either time. Runs until the interval of the ratio is narrow.
    """
    return _summary(*_runs(a, b, feeds, timing))


def paired_openings(
    open_a: Open, open_b: Open, feeds: Feeds, timing: Timing = DEFAULT, *, together: bool = True
) -> Paired:
    """Measure two engines as `paired_latency` does, each opened anew several times.

    Two sessions of one and the same model differ by up to 3 % for as long as they live (where
    their memory came to lie), and the later one is not seldom the faster. So each is opened
    `OPENINGS` times, first one ahead and then the other, and the interval of the ratio is at least
    that of the openings' medians (Student's t). Where both at once would fill the memory, they are
    opened one after the other (not `together`), and only whole openings are in turns.
    """
    share = replace(timing, seconds=timing.seconds / OPENINGS)
    parts, settled = [], True
    for opening in range(OPENINGS):
        if not together:
            times, done = _runs_apart((open_a, open_b), feeds, share, swapped=opening % 2 > 0)
        elif opening % 2:
            b, a = open_b(), open_a()
            times, done = _runs(a, b, feeds, share)
        else:
            a, b = open_a(), open_b()
            times, done = _runs(a, b, feeds, share)
        parts.append(times)
        settled = settled and done
    pooled = _summary(np.concatenate(parts), settled)
    ratio = {clock: _over_openings(parts, clock, pooled.ratio[clock]) for clock in Clock}
    return replace(pooled, ratio=ratio)


def _over_openings(parts: Sequence[_Samples], clock: Clock, pooled: Interval) -> Interval:
    """The pooled interval, widened to that of the medians of the openings."""
    column = _COLUMN[clock]
    ratios = (part[:, 0, column] / np.maximum(part[:, 1, column], _NO_TIME) for part in parts)
    medians = [float(np.log(np.median(ratio))) for ratio in ratios]
    centre, error = np.mean(medians), np.std(medians, ddof=1) / math.sqrt(len(medians))
    low, high = (float(np.exp(centre + sign * _T_975 * error)) for sign in (-1, 1))
    return Interval(pooled.value, min(low, pooled.low), max(high, pooled.high))


def _runs_apart(
    openers: tuple[Open, Open], feeds: Feeds, timing: Timing, *, swapped: bool
) -> tuple[_Samples, bool]:
    """As `_runs`, but never with both engines open."""
    found: list[_Samples] = []
    for opener in reversed(openers) if swapped else openers:
        runner = opener()
        repeat = _repeats(runner, feeds, timing)
        stop = time.perf_counter() + timing.seconds / 2
        times: list[tuple[float, float]] = []
        while len(times) < _FEWEST or (len(times) < timing.max_runs and time.perf_counter() < stop):
            times.append(_sample(runner, feeds, repeat))
        found.append(np.array(times))
        del runner  # before the next is opened
    runs = min(map(len, found))
    a, b = reversed(found) if swapped else found
    return np.stack([a[:runs], b[:runs]], axis=1), False


def _runs(a: Runner, b: Runner, feeds: Feeds, timing: Timing) -> tuple[_Samples, bool]:
    """Times of pairs, shape (runs, engines, clocks), and whether their ratio settled."""
    started = time.perf_counter()
    repeat = max(_repeats(runner, feeds, timing) for runner in (a, b))
    times = np.empty((timing.max_runs, 2, 2))  # run, engine, clock
    column = _COLUMN[timing.clock]
    look_at, done = timing.min_runs, False
    for run in range(timing.max_runs):
        for engine in (0, 1) if run % 2 == 0 else (1, 0):
            times[run, engine] = _sample((a, b)[engine], feeds, repeat)
        late = time.perf_counter() - started > timing.seconds and run + 1 >= timing.min_runs
        if run + 1 == look_at or late:
            ratio = ratio_interval(times[: run + 1, 0, column], times[: run + 1, 1, column])
            done = ratio.high - ratio.low <= 2 * timing.width * ratio.value
            look_at = math.ceil(look_at * 1.5)
        if done or late:
            break
    return times[: run + 1], done


def latency(runner: Runner, feeds: Feeds, timing: Timing = DEFAULT) -> Times:
    """Measure one engine alone, for at most a tenth of the time that a comparison may take."""
    stop = time.perf_counter() + timing.seconds / 10
    repeat = _repeats(runner, feeds, timing)
    times: list[tuple[float, float]] = []
    while len(times) < timing.min_runs or (
        len(times) < timing.max_runs and time.perf_counter() < stop
    ):
        times.append(_sample(runner, feeds, repeat))
    return Times(_spreads(np.array(times)), len(times))


def ratio_interval(a: _Durations, b: _Durations) -> Interval:
    """Median of a/b with its 95 % interval, for paired durations of shape (runs,).

    The wider of two bootstraps. Neighbouring runs share the machine's state, and resampling single
    pairs would then call the interval narrower than it is: so blocks are drawn too (moving-block
    bootstrap, Kunsch 1989). Where runs are independent, single pairs cover better.
    """
    ratios = a / np.maximum(b, _NO_TIME)
    blocks = (1, max(1, round(len(ratios) ** (1 / 3))))
    bounds = [_bootstrap(ratios, block) for block in blocks]
    return Interval(float(np.median(ratios)), min(x for x, _ in bounds), max(x for _, x in bounds))


def _bootstrap(ratios: _Durations, block: int) -> tuple[float, float]:
    """Bounds of the median's 95 % interval, from resamples made of `block` runs in a row."""
    runs = len(ratios)
    shape = _RESAMPLES, math.ceil(runs / block)
    starts = np.random.default_rng(0).integers(0, runs - block + 1, shape)
    picks = (starts[..., None] + np.arange(block)).reshape(_RESAMPLES, -1)[:, :runs]
    low, high = np.percentile(np.median(ratios[picks], axis=1), (2.5, 97.5))
    return float(low), float(high)


def _summary(times: _Samples, settled: bool) -> Paired:  # noqa: FBT001 - what `_runs` returns
    ratio = {clock: ratio_interval(*times[:, :, column].T) for clock, column in _COLUMN.items()}
    return Paired(_spreads(times[:, 0]), _spreads(times[:, 1]), ratio, len(times), settled)


def _spreads(times: _Samples) -> dict[Clock, Spread]:
    return {clock: Spread.of(times[:, column]) for clock, column in _COLUMN.items()}


def _repeats(runner: Runner, feeds: Feeds, timing: Timing) -> int:
    """Warm an engine up, and say how many of its runs make one sample."""
    fastest = min(_sample(runner, feeds, 1)[1] for _ in range(timing.warm_up))
    return math.ceil(timing.sample_us / max(fastest, 1.0))


def _sample(runner: Runner, feeds: Feeds, repeat: int) -> tuple[float, float]:
    """CPU and wall time of one run, in microseconds: the mean over `repeat` of them."""
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    for _ in range(repeat):
        runner(feeds)
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    return cpu / repeat / 1e3, wall / repeat / 1e3
