"""An agent: a folder of a device, and what it needs to work there."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ...progress import Progress, Silent
from ..delta.files import Files, Reader, Sink
from ..release import Release
from .audit import Audit, Event
from .disk import Disk
from .health import Health
from .journal import Journal
from .machine import Machine, free_memory
from .slots import Slots

BOOTS = 3


class Applier(Protocol):
    """Reads update files."""

    def describe(self, update: Reader, base: Files | None) -> Release:
        """The release that an update leads to, before anything is written.

        Raises:
            Refusal: It is damaged, or starts from another base.
        """
        ...

    def apply(self, update: Reader, base: Files | None, sink: Sink, progress: Progress) -> None:
        """Write all files of the new release, `bundle.json` among them.

        Raises:
            Refusal: Something does not have its digest; what was written is thrown away.
        """
        ...


@dataclass(frozen=True, slots=True)
class Agent:
    """What works in a folder.

    Attributes:
        root: The folder.
        disk: The same, as the agent sees it.
        health: Tries new releases.
        device: Name of this device in the fleet.
        machine: What this device is.
        boots: How often a trial that a power cut ended is tried again before it has failed.
        clock: Seconds since 1970.
        memory: Bytes of free memory; None where that is not known.
        progress: Told how far an update has come.
    """

    root: Path
    disk: Disk
    health: Health
    device: str = ""
    machine: Machine = field(default_factory=Machine)
    boots: int = BOOTS
    clock: Callable[[], float] = time.time
    memory: Callable[[], int | None] = free_memory
    progress: Progress = field(default_factory=Silent)

    @property
    def slots(self) -> Slots:
        """Its two slots."""
        return Slots(self.disk)

    @property
    def journal(self) -> Journal:
        """Its journal."""
        return Journal(self.disk)

    def log(self, event: Event, release: str = "", note: str = "") -> None:
        """Write to its audit log."""
        Audit(self.disk).add(self.clock(), event, release=release, note=note)
