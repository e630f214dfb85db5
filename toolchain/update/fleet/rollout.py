"""A release reaches the fleet in phases; signed metadata say how far, and whether it stopped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..offer import BUCKETS
from .looks import calibrated, looks
from .wilson import StopRule

# Devices that may have the release after each phase. A release that fails on one device in twenty
# needs about 60 of them to show it: until then the steps are small, for a phase is begun whole.
DEVICES = (20, 40, 60, 80, 120, 200, 400, 800, 1600, 3200)
HOURS = 4.0
QUORUM = 0.75

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Setting:
    """What the signed metadata of a rollout say; the fields of `Offer`.

    Attributes:
        share: Parts per 10,000 of the fleet that are to have the newest release.
        salt: What the bucket of a device is hashed with, new for each release.
        halted: Nobody is to begin an update to it any more.
    """

    share: int
    salt: str
    halted: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a release is brought to a fleet.

    Attributes:
        shares: Parts per 10,000 after each phase, rising; the last is all of them.
        hours: The least time between two phases.
        quorum: Part of the devices in the share that have to have reported before the next phase: a
            release that silences devices comes to stand instead of spreading.
        rule: When to stop.
        looks: Numbers of reports at which the rule is asked.
    """

    shares: tuple[int, ...]
    hours: float
    quorum: float
    rule: StopRule
    looks: tuple[int, ...]

    @classmethod
    def of(
        cls, devices: int, *, tolerated: float = 0.005, alpha: float = 0.02, least: int = 3
    ) -> "Rollout":
        """The usual phases for a fleet of this size.

        Args:
            devices: How many there are.
            tolerated: Rate of failures that is still acceptable.
            alpha: In how many rollouts at most a release at that rate may be stopped; better ones
                are stopped far less often.
            least: Failures below which nothing is stopped.
        """
        # No phase for most of a small fleet: all of it is next.
        counts = [count for count in DEVICES if count <= devices / 2]
        shares = [math.ceil(count * BUCKETS / devices) for count in counts]
        at = looks(devices)
        return cls(
            tuple(sorted({min(share, BUCKETS) for share in (*shares, BUCKETS)})),
            HOURS,
            QUORUM,
            calibrated(at, tolerated=tolerated, alpha=alpha, least=least),
            at,
        )

    def stopped_at(self, failed: Flags) -> int | None:
        """After how many reports the rule stopped; None where it did not.

        Args:
            failed: Whether each report tells a failure, shape (n,), in the order they came in.
        """
        at = np.array(self.looks[: int(np.searchsorted(self.looks, len(failed), side="right"))])
        if not len(at):
            return None
        stops = np.cumsum(failed)[at - 1] >= self.rule.critical(at)
        return int(at[np.argmax(stops)]) if stops.any() else None

    def needed(self, members: int) -> int:
        """Reports that a phase waits for, of so many devices that may have the release."""
        return math.ceil(self.quorum * members)

    def next(
        self, setting: Setting, failed: Sequence[bool], *, members: int, hours: float
    ) -> Setting:
        """What the metadata are to say next: the same, a larger share, or halted for good.

        Args:
            setting: What they say now.
            failed: Each report so far, in the order they came in.
            members: Devices whose bucket is in the present share.
            hours: Since the present phase began.
        """
        if setting.halted or self.stopped_at(np.array(failed, dtype=np.bool_)) is not None:
            return replace(setting, halted=True)
        waits = hours < self.hours or len(failed) < self.needed(members)
        larger = [share for share in self.shares if share > setting.share]
        return setting if waits or not larger else replace(setting, share=larger[0])
