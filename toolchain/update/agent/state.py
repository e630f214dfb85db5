"""What an agent knows between updates: what is installed where, and counters that only rise."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self

from ..refusal import Code, Refusal
from ..release import Release
from . import disk as files
from .disk import Disk
from .frame import frame, unframe

STATE = "state/state.json"
_CAP = 1 << 16


class Slot(Enum):
    """One of the two places for a release."""

    A = "a"
    B = "b"

    @property
    def other(self) -> "Slot":
        """The one beside it."""
        return Slot.B if self is Slot.A else Slot.A

    @property
    def folder(self) -> str:
        """Where its release lies."""
        return f"slots/{self.value}"

    @property
    def stage(self) -> str:
        """Where its next release is written."""
        return f"slots/{self.value}.tmp"

    def between(self, number: int) -> str:
        """Where a release is written that is only on the way to the next one."""
        return f"slots/{self.value}.{number}.tmp"


@dataclass(frozen=True, slots=True)
class Installed:
    """A release in a slot: digest of its `bundle.json`, and what that says."""

    release: str
    product: str
    version: str
    seq: int
    sec_epoch: int

    @classmethod
    def of(cls, release: Release) -> Self:
        """What is remembered of a release."""
        return cls(
            release=release.digest,
            product=release.product,
            version=release.version,
            seq=release.seq,
            sec_epoch=release.sec_epoch,
        )


@dataclass(frozen=True, slots=True)
class State:
    """All that is remembered; what a transaction does to it is in the journal until it is done.

    Attributes:
        slots: What is in each slot.
        current: The slot that is to run; None where nothing was ever installed.
        seq: The highest of a release that was committed.
        sec_epoch: The same; no release with a lower one runs again.
        trusted_time: Seconds since 1970 of the newest signed metadata that was seen.
        rejected: Digest of the release that last failed its trial or was gone back from.
        format: Version of this format.
    """

    slots: Mapping[Slot, Installed] = field(default_factory=dict)
    current: Slot | None = None
    seq: int = 0
    sec_epoch: int = 0
    trusted_time: int = 0
    rejected: str = ""
    format: int = 1

    @property
    def installed(self) -> Installed | None:
        """What is to run."""
        return self.slots[self.current] if self.current else None

    @property
    def spare(self) -> Slot:
        """Where the next release goes."""
        return self.current.other if self.current else Slot.A

    @property
    def kept(self) -> str:
        """What a refusal says of it: `kept v1.4, slot A`."""
        if self.installed is None or self.current is None:
            return "nothing is installed"
        return f"kept {name(self.installed)}, slot {self.current.name}"

    def without(self, slot: Slot) -> Self:
        """The same with nothing in a slot."""
        return replace(self, slots={k: v for k, v in self.slots.items() if k is not slot})

    def committed(self, slot: Slot, installed: Installed) -> Self:
        """After a release in a slot passed its trial; counters rise or stay."""
        return replace(
            self,
            slots={**self.slots, slot: installed},
            current=slot,
            seq=max(self.seq, installed.seq),
            sec_epoch=max(self.sec_epoch, installed.sec_epoch),
        )


def name(installed: Installed) -> str:
    """A version as people write it: `v1.4`."""
    return f"v{installed.version.removeprefix('v')}"


def read_state(disk: Disk) -> State | None:
    """The state; None where the folder was never set up.

    Raises:
        Refusal: It is damaged: the counters are lost, and with them what must not be installed.
    """
    try:
        data = files.read(disk, STATE, _CAP)
    except FileNotFoundError:
        return None
    found, end = unframe(State, data)
    if len(found) != 1 or end != len(data) or not _sound(found[0]):
        hint = "set the device up again: its counters are lost; what is installed was not touched"
        raise Refusal(Code.STATE, f"{STATE} is damaged", hint)
    return found[0]


def write_state(disk: Disk, state: State) -> None:
    """Replace the state; whenever the power is cut, it is the old or the new one."""
    files.replace(disk, STATE, frame(state))


def _sound(state: State) -> bool:
    return state.format == 1 and (state.current is None or state.current in state.slots)
