"""The session options under which a graph is fastest on this machine.

They are tried one at a time against the best so far, and a change is kept only where the whole 95 %
interval says faster. None of them changes more than the last digits: denormals as zero, which would
(and for every other session of the thread, too), is not among them.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..toolchain.engine import Feeds, Runner
from ..toolchain.errors import BackendError
from ..toolchain.neighbours import Neighbours
from ..toolchain.timing import (
    Clock,
    Interval,
    Paired,
    Timing,
    latency,
    paired_latency,
    paired_openings,
)
from .ort_session import DEFAULT, Layout, Options

SECONDS, RUNS = 2.0, 60  # no trial begins after so long, or after the time of so many inferences
_WORTH = 1.03  # two sessions of one graph may differ by as much
_BUSY = 0.05  # of the cores' time: with such neighbours, trials of threads tell nothing
_GLANCE = Timing(clock=Clock.CPU, warm_up=2, min_runs=5, seconds=0.1)
_ALONE = Timing(clock=Clock.WALL, warm_up=3, min_runs=8, seconds=0.5)
_PROOF = Timing(warm_up=2, min_runs=8, seconds=0.8)
_NORMALISATIONS = ({"LayerNormalization"}, {"ReduceMean", "Sqrt"})  # by itself, and in pieces
_SKIP = "SkipLayerNormFusion"

_KERNELS: tuple[tuple[str, Callable[[Options], Options]], ...] = (
    ("layout plain", lambda options: replace(options, layout=Layout.PLAIN)),
    ("arena off", lambda options: replace(options, arena=False)),
    ("prepack off", lambda options: replace(options, prepack=False)),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A graph whose session is tuned.

    Attributes:
        open: Opens it.
        feeds: One inference's inputs.
        ops: The op types in it.
    """

    open: Callable[[Options], Runner]
    feeds: Feeds
    ops: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Trial:
    """One change that was tried.

    Attributes:
        change: What was changed.
        ratio: How many times faster it is, with its 95 % interval; None where a glance showed
            that there is nothing to gain.
        kept: Whether it was surely faster.
        why_not: What spoiled the trial; empty where nothing did.
    """

    change: str
    ratio: Interval | None
    kept: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning found.

    Attributes:
        options: The best; its `threads` are 0 where each core should have one, or where the
            caller said how many.
        trials: What was tried, in order.
    """

    options: Options
    trials: tuple[Trial, ...] = ()


def tune(
    subject: Subject,
    threads: int = 0,
    *,
    start: Options = DEFAULT,
    told: Callable[[], None] = lambda: None,
) -> Tuned:
    """Find the options under which a graph is fastest.

    What kernels depend on is judged on one thread by CPU time, which ignores the neighbours; how
    threads wait, and how many there should be, by wall time, on the threads that are asked for.

    Args:
        subject: The graph.
        threads: Threads of one inference; 0: as many as are best.
        start: What to begin with; its `threads` do not count.
        told: Called after each trial.
    """
    trials = _Trials(subject, replace(start, threads=1), told)
    for name, change in _KERNELS:
        trials.attempt(name, change(trials.best), Clock.CPU)
    if any(ops <= subject.ops for ops in _NORMALISATIONS):
        trials.attempt(_SKIP, _other_skip(trials.best), Clock.CPU)
    cores = threads or os.cpu_count() or 1
    if cores > 1:
        trials.best = replace(trials.best, threads=cores)
        half = 0 if threads else cores // 2
        while half and trials.attempt(
            f"threads {half}", replace(trials.best, threads=half), Clock.WALL
        ):
            half //= 2
        if trials.best.threads > 1:
            trials.attempt("spinning off", replace(trials.best, spinning=False), Clock.WALL)
    found = 0 if threads or trials.best.threads == cores else trials.best.threads
    return Tuned(replace(trials.best, threads=found), tuple(trials.made))


class _Trials:
    """Holds changes, one after the other, against the best options so far."""

    def __init__(self, subject: Subject, start: Options, told: Callable[[], None]) -> None:
        self.best = start
        self.made: list[Trial] = []
        self._subject = subject
        self._told = told
        self._neighbours = Neighbours()
        begun = time.perf_counter()
        runner = subject.open(start)
        opened = time.perf_counter()
        runner(subject.feeds)
        self._until = begun + max(SECONDS, RUNS * (time.perf_counter() - opened))

    def attempt(self, name: str, changed: Options, clock: Clock) -> bool:
        """Try a change; whether it was kept."""
        trial = self._trial(name, changed, clock)
        self.made.append(trial)
        self._told()
        if trial.kept:
            self.best = changed
        return trial.kept

    def _trial(self, name: str, changed: Options, clock: Clock) -> Trial:
        if time.perf_counter() > self._until:
            return Trial(name, None, kept=False, why_not="no time was left")
        if spoiled := self._spoiled(clock):
            return Trial(name, None, kept=False, why_not=spoiled)
        try:
            if self._glance(changed, clock) <= _WORTH:
                return Trial(name, None, kept=False)
            self._neighbours = Neighbours()
            paired = self._proof(changed, clock)
        except BackendError as refused:
            return Trial(name, None, kept=False, why_not=refused.message)
        ratio, spoiled = paired.ratio[clock], self._spoiled(clock)
        # What disturbs a session for a moment does not reach its fastest runs.
        fastest = paired.a[clock].p10 / paired.b[clock].p10
        faster = ratio.low > 1.0 and fastest > _WORTH
        return Trial(name, ratio, kept=faster and not spoiled, why_not=spoiled)

    def _spoiled(self, clock: Clock) -> str:
        """Why a trial would not count beside such neighbours; empty where it does."""
        if clock is Clock.CPU:
            return ""
        share = self._neighbours.share()
        if share is None:
            return "what else ran is not known"
        return f"other programs had {share:.0%} of the cores" if share > _BUSY else ""

    def _glance(self, changed: Options, clock: Clock) -> float:
        """How many times faster the change seems in one opening; most are not worth more."""
        opened, feeds = self._subject.open, self._subject.feeds
        if clock is Clock.CPU:
            paired = paired_latency(opened(self.best), opened(changed), feeds, _GLANCE)
            return paired.ratio[clock].value
        before, after = (
            latency(opened(options), feeds, _ALONE).spread[clock].median
            for options in (self.best, changed)
        )
        return before / after

    def _proof(self, changed: Options, clock: Clock) -> Paired:
        """The same over several openings.

        Threads that spin would take the cores from the other session, so two sessions that use
        several are never open at once.
        """
        return paired_openings(
            lambda: self._subject.open(self.best),
            lambda: self._subject.open(changed),
            self._subject.feeds,
            replace(_PROOF, clock=clock),
            together=clock is Clock.CPU,
        )


def _other_skip(options: Options) -> Options:
    """Add + LayerNormalization as one kernel where they were two, or as two where they were one."""
    others = tuple(name for name in options.disabled if name != _SKIP)
    left_out = others if _SKIP in options.disabled else (_SKIP, *others)
    return replace(options, disabled=left_out)
