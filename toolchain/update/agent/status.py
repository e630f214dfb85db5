"""What an agent's folder says of itself; nothing is changed, and another agent may be at work."""

from dataclasses import dataclass

from ..refusal import Refusal
from .audit import Audit, Entry, Event
from .disk import Disk
from .journal import Journal, Mark, Record
from .slots import Slots
from .state import State, read_state


@dataclass(frozen=True, slots=True)
class Status:
    """What is installed, and what is under way.

    Attributes:
        state: What is installed where, and the counters.
        linked: Whether `current` leads to what is to run.
        under_way: The last mark of a change that is not finished; None between two.
        boots: How often its trial was tried again.
        audit: Entries of the audit log.
        fault: Why the audit log cannot be relied upon; empty where it can.
        way: What led to the release that runs, and why it, as the audit log has it; empty where it
            no longer does.
    """

    state: State
    linked: bool
    under_way: Record | None
    boots: int
    audit: int
    fault: str
    way: str


def status(disk: Disk) -> Status:
    """Read the state, the journal and the audit log.

    Raises:
        Refusal: The state is damaged.
    """
    state = read_state(disk) or State()
    records = Journal(disk).read()
    entries: tuple[Entry, ...] = ()
    fault = ""
    try:
        entries = Audit(disk).entries()
    except Refusal as refusal:
        fault = refusal.message
    return Status(
        state=state,
        linked=Slots(disk).points(state.current),
        under_way=records[-1] if records else None,
        boots=sum(record.mark is Mark.BOOT for record in records),
        audit=len(entries),
        fault=fault,
        way=_way(entries, state),
    )


def _way(entries: tuple[Entry, ...], state: State) -> str:
    if state.installed is None:
        return ""
    began = (e for e in reversed(entries) if e.event is Event.BEGIN)
    return next((e.note for e in began if e.release == state.installed.release), "")
