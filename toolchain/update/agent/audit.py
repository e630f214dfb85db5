"""What the agent did, line by line, each line with the digest of the one before."""

import hashlib
from contextlib import closing
from dataclasses import dataclass
from enum import Enum

from ...codec import canonical
from ..refusal import Code, Refusal
from . import disk as files
from .disk import Disk
from .frame import frame, unframe

AUDIT = "state/audit.log"
EARLIER = "state/audit.1.log"
_ROTATE = 1 << 18  # bytes at which the log becomes the earlier one
_CAP = _ROTATE + (1 << 16)
_FIRST = ""
_NOTE = 500  # characters
_HINT = "somebody changed it, or the storage fails; move it away to begin a new one"


class Event(Enum):
    """What happened."""

    SETUP = "setup"  # the folder was made
    BEGIN = "begin"  # an update starts to write the spare slot
    TRIAL = "trial"  # a release is about to be tried
    RETRY = "retry"  # a trial was cut off, and is tried again
    COMMIT = "commit"  # a release passed its trial
    ROLLBACK = "rollback"  # a release failed its trial
    ABANDON = "abandon"  # an update ended before its trial
    REFUSED = "refused"  # an update was refused


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        time: Seconds since 1970 by the device's clock, which may be wrong.
        event: What happened.
        release: Digest of the release that it happened to; may be empty.
        note: In words.
        previous: SHA-256 of the entry before; empty for the first of all.
    """

    time: int
    event: Event
    release: str
    note: str
    previous: str

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical form."""
        return hashlib.sha256(canonical(self).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Audit:
    """The log of an agent's folder: the present file and one earlier one."""

    disk: Disk

    def entries(self) -> tuple[Entry, ...]:
        """All entries that are there, oldest first; what a power cut tore at the end is left out.

        Raises:
            Refusal: A line was changed, taken out or put in, or stands behind one that was.
        """
        earlier, log = self._read(EARLIER), self._read(AUDIT)
        old, old_end = unframe(Entry, earlier)
        new, end = unframe(Entry, log)
        entries = (*old, *new)
        if old_end != len(earlier) or b"\n" in log[end:-1]:
            damaged = len(old if old_end != len(earlier) else entries) + 1
            raise Refusal(Code.STATE, f"the audit log's line {damaged} is damaged", _HINT)
        previous = old[0].previous if old else _FIRST
        for number, entry in enumerate(entries, start=1):
            if entry.previous != previous:
                message = f"the audit log's line {number} does not follow the one before"
                raise Refusal(Code.STATE, message, _HINT)
            previous = entry.digest
        return entries

    def add(self, time: float, event: Event, *, release: str = "", note: str = "") -> None:
        """Write an entry; after this returns, a power cut does not undo it."""
        data = self._read(AUDIT)
        if len(data) > _ROTATE:
            self.disk.rename(AUDIT, EARLIER)
            self.disk.sync("state")
            data = b""
        known, end = unframe(Entry, data)
        if not data:
            known, _ = unframe(Entry, self._read(EARLIER))
        previous = known[-1].digest if known else _FIRST
        line = frame(Entry(int(time), event, release, note[:_NOTE], previous))
        if data and end == len(data):
            with closing(self.disk.append(AUDIT)) as file:
                file.write(line)
                file.sync()
        else:  # there is no log yet, or it ends with half a line
            files.replace(self.disk, AUDIT, data[:end] + line)

    def _read(self, path: str) -> bytes:
        try:
            return files.read(self.disk, path, _CAP)
        except FileNotFoundError:
            return b""
