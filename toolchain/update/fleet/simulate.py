"""A rollout to a simulated fleet, event by event: bytes, times, and failures until it stops."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..offer import BUCKETS, bucket
from .inventory import Device
from .rollout import Rollout
from .timeline import Array, Timeline, Update

TICK = 0.25  # hours between two looks at what came in; the metadata are signed anew then
SHARES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a release does to devices.

    Attributes:
        failures: Part of the devices on which its trial fails, so that they go back.
        silent: Part of these that never report.
        power_cuts: How often an hour a device loses power.
    """

    failures: float
    silent: float = 0.0
    power_cuts: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one rollout.

    Attributes:
        begun: Devices that began the update.
        updated: Of these, those that have it.
        failed: Of these, those on which it failed, told or not.
        wire: Bytes over all links.
        opened: The hour at which each phase began.
        stopped: The hour of the stop; None where there was none.
        stalled: Whether a phase never had enough reports.
        finished: Hours at which devices got it, rising.
        devices: Of the fleet.
    """

    begun: int
    updated: int
    failed: int
    wire: float
    opened: tuple[float, ...]
    stopped: float | None
    stalled: bool
    finished: Array
    devices: int

    def hours(self, share: float) -> float:
        """When this part of the fleet had it; NaN where it never did."""
        count = math.ceil(share * self.devices)
        return float(self.finished[count - 1]) if count <= len(self.finished) else math.nan


def simulate(
    devices: Sequence[Device], update: Update, rollout: Rollout, behaviour: Behaviour, *, seed: int
) -> Run:
    """Roll a release out once.

    Args:
        devices: The fleet.
        update: What each device fetches and applies.
        rollout: Phases and stop rule.
        behaviour: Of the release.
        seed: Decides everything that is left to chance, the salt of the buckets too.
    """
    rng = np.random.default_rng(seed)
    fleet = _Fleet(
        np.array([bucket(f"{seed}:", device.id) for device in devices]),
        Timeline.draw(devices, update, behaviour.power_cuts, rng),
        rng.uniform(size=len(devices)) < behaviour.failures,
        rng.uniform(size=len(devices)) < behaviour.silent,
    )
    return fleet.roll_out(rollout)


class _Fleet:
    """The devices of one run: hours at which each begins, finishes and reports, once it may."""

    def __init__(
        self,
        buckets: npt.NDArray[np.int64],
        timeline: Timeline,
        fails: npt.NDArray[np.bool_],
        silent: npt.NDArray[np.bool_],
    ) -> None:
        self._buckets, self._timeline, self._fails = buckets, timeline, fails
        self._silent = silent & fails
        self._begun, self._finished, self._told = np.full((3, len(buckets)), math.inf)

    def roll_out(self, rollout: Rollout) -> Run:
        """Phase by phase, until all have it, or it stops or stalls."""
        opened: list[float] = []
        now, before = 0.0, 0
        for share in rollout.shares:
            opened.append(now)
            self._open(now, (self._buckets >= before) & (self._buckets < share))
            gate = _tick(max(now + rollout.hours, self._quorum(rollout, share)))
            last = share == BUCKETS
            stop = self._stop(rollout, math.inf if last else gate)
            if stop is not None or last or gate == math.inf:
                stalled = stop is None and not last
                return self._run(opened, stop, stalled=stalled)
            now, before = gate, share
        raise AssertionError("the last share is the whole fleet")

    def _open(self, now: float, chosen: npt.NDArray[np.bool_]) -> None:
        who = np.flatnonzero(chosen)
        self._begun[who] = self._timeline.begin(now, who)
        self._finished[who] = self._timeline.finish(self._begun[who], who)
        told = self._timeline.report(self._finished[who], who)
        self._told[who] = np.where(self._silent[who], math.inf, told)

    def _quorum(self, rollout: Rollout, share: int) -> float:
        """When enough devices have reported; never, where too few will."""
        needed = rollout.needed(int((self._buckets < share).sum()))
        return float(np.sort(self._told)[needed - 1]) if needed else 0.0

    def _stop(self, rollout: Rollout, until: float) -> float | None:
        """When the stop is signed, if that is before the next phase begins or as it would."""
        order = np.argsort(self._told, kind="stable")
        order = order[self._told[order] <= min(until, np.finfo(np.float64).max)]
        count = rollout.stopped_at(self._fails[order])
        return None if count is None else _tick(float(self._told[order[count - 1]]))

    def _run(self, opened: Sequence[float], stop: float | None, *, stalled: bool) -> Run:
        begun = self._begun < (math.inf if stop is None else stop)
        updated = begun & ~self._fails
        return Run(
            begun=int(begun.sum()),
            updated=int(updated.sum()),
            failed=int((begun & self._fails).sum()),
            wire=float(self._timeline.wire[begun].sum()),
            opened=tuple(opened),
            stopped=stop,
            stalled=stalled,
            finished=np.sort(self._finished[updated]),
            devices=len(begun),
        )


def _tick(hour: float) -> float:
    """The next look from this hour on."""
    return math.ceil(hour / TICK) * TICK if math.isfinite(hour) else hour
