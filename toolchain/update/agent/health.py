"""Whether a release works on this device: what is asked, and what is answered."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol


class Kind(Enum):
    """What was looked at."""

    LOAD = "load"  # the model could be loaded
    GOLDEN = "golden"  # its outputs are the stored ones
    LATENCY = "latency"  # its 95th percentile is low enough
    CANARY = "canary"  # its accuracy on data of this device is high enough


@dataclass(frozen=True, slots=True)
class Check:
    """One answer: what, whether it passed, and the measured value in words."""

    kind: Kind
    passed: bool
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a release may stay.

    Attributes:
        passed: It may.
        note: Why not, where no check says so.
        checks: What was looked at.
    """

    passed: bool
    note: str = ""
    checks: tuple[Check, ...] = ()

    @property
    def text(self) -> str:
        """The failed checks, or the note, in a line."""
        failed = [f"{check.kind.value}: {check.note}" for check in self.checks if not check.passed]
        return "; ".join([*failed, self.note] if self.note else failed)


class Health(Protocol):
    """Tries a release while `current` leads to it."""

    def check(self, folder: Path) -> Verdict:
        """Say whether the release in this folder works; never raises, and ends in bounded time."""
        ...


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A Health that nobody configured: the digests of all files have to do."""

    def check(self, folder: Path) -> Verdict:  # noqa: ARG002 - the protocol's signature
        """Pass."""
        return Verdict(passed=True, note="no health hook is set: digests alone were checked")
