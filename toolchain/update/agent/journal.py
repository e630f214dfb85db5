"""What is under way in the agent's folder, so that it can be finished after a power cut."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum

from . import disk as files
from .disk import Disk
from .frame import frame, unframe
from .state import Installed, Slot

JOURNAL = "state/journal"
_CAP = 1 << 16


class Mark(Enum):
    """How far a transaction has come."""

    BEGIN = "begin"  # the spare slot may be half written
    TRIAL = "trial"  # the spare slot is whole and checked; the switch may or may not be done
    BOOT = "boot"  # a trial was found unfinished, and is tried again
    COMMIT = "commit"  # it passed: what is left to do leads forward
    ROLLBACK = "rollback"  # it failed: what is left to do leads back


@dataclass(frozen=True, slots=True)
class Transaction:
    """One change of what runs.

    Attributes:
        to: The slot that is to run.
        back: The slot that runs if this fails; None where nothing was installed.
        installed: What is, or is to be, in `to`.
        rejects: Digest of a release that is not to come back by itself after the commit.
    """

    to: Slot
    back: Slot | None
    installed: Installed
    rejects: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the journal."""

    mark: Mark
    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Journal:
    """The records of the transaction that is under way; none between two."""

    disk: Disk

    def read(self) -> tuple[Record, ...]:
        """The records; what a power cut tore at the end is left out."""
        try:
            data = files.read(self.disk, JOURNAL, _CAP)
        except FileNotFoundError:
            return ()
        records, _ = unframe(Record, data)
        return records

    def begin(self, mark: Mark, transaction: Transaction) -> None:
        """Start a transaction."""
        self._replace([Record(mark, transaction)])

    def add(self, mark: Mark, transaction: Transaction) -> None:
        """Note how far it has come; after this returns, a power cut does not undo it."""
        with closing(self.disk.append(JOURNAL)) as file:
            file.write(frame(Record(mark, transaction)))
            file.sync()

    def settle(self) -> tuple[Record, ...]:
        """The records, made to last: one that was read may have been in memory alone."""
        if records := self.read():
            self._replace(records)
        elif self.disk.kind(JOURNAL) is not None:
            self.clear()
        return records

    def clear(self) -> None:
        """The transaction is over; after this returns, a power cut does not bring it back."""
        files.remove(self.disk, JOURNAL)
        self.disk.sync("state")

    def _replace(self, records: Sequence[Record]) -> None:
        files.replace(self.disk, JOURNAL, b"".join(frame(record) for record in records))
