"""From wherever a power cut left an agent's folder to exactly the old or the new release."""

from dataclasses import dataclass

from ..refusal import Code, Refusal
from .agent import Agent
from .audit import Event
from .disk import remove
from .held import held
from .journal import Mark, Record
from .slots import CURRENT
from .state import State, read_state, write_state
from .trial import abandon, attempt, back, forward

_FOLDERS = ("state", "slots", "downloads", "metadata")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found and what came of it.

    Attributes:
        found: How far a change had come; None where none was under way.
        state: After it was finished or undone.
    """

    found: Mark | None
    state: State


def recover(agent: Agent) -> Recovered:
    """Finish or undo what was under way; done twice, or cut off, it leads to the same.

    Raises:
        Refusal: Another agent is at work, the agent's files are damaged, or the disk fails.
    """
    with held(agent):
        return settle(agent)


def settle(agent: Agent) -> Recovered:
    """The same for who holds the lock, and makes the folder where it is new."""
    state = read_state(agent.disk)
    if state is None:
        state = _set_up(agent)
    agent.slots.clear()
    records = agent.journal.settle()
    if records:
        state = _finish(agent, state, records)
    _tidy(agent, state)
    return Recovered(records[-1].mark if records else None, state)


def _set_up(agent: Agent) -> State:
    disk = agent.disk
    if disk.kind(CURRENT) is not None or (disk.kind("slots") is not None and disk.list("slots")):
        message = "there are releases in this folder, but no record of their counters"
        raise Refusal(Code.STATE, message, "name an empty folder with --root-dir")
    for folder in _FOLDERS:
        if disk.kind(folder) is None:
            disk.mkdir(folder)
    disk.sync("")
    state = State()
    write_state(disk, state)
    agent.log(Event.SETUP)
    return state


def _finish(agent: Agent, state: State, records: tuple[Record, ...]) -> State:
    mark, transaction = records[-1].mark, records[-1].transaction
    if mark is Mark.COMMIT:
        return forward(agent, state, transaction)
    if mark is Mark.ROLLBACK:
        return back(agent, state, transaction, "finished after a power cut")
    if mark is Mark.BEGIN:
        return abandon(agent, state, transaction)
    return _again(agent, state, records)


def _again(agent: Agent, state: State, records: tuple[Record, ...]) -> State:
    """Go on with a trial that was cut off, unless it was cut off too often."""
    transaction = records[-1].transaction
    boots = sum(record.mark is Mark.BOOT for record in records)
    if boots >= agent.boots:
        agent.journal.add(Mark.ROLLBACK, transaction)
        return back(agent, state, transaction, f"its trial was cut off {boots + 1} times")
    agent.journal.add(Mark.BOOT, transaction)
    agent.log(Event.RETRY, transaction.installed.release)
    try:
        agent.slots.check(transaction.to, transaction.installed.release)
    except Refusal:
        return abandon(agent, state, transaction)
    state, _ = attempt(agent, state, transaction)
    return state


def _tidy(agent: Agent, state: State) -> None:
    """Remove what no record speaks of, and set right a link that somebody changed."""
    agent.slots.sweep(frozenset(slot.value for slot in state.slots))
    for name in agent.disk.list("state"):
        if name.endswith(".tmp"):
            remove(agent.disk, f"state/{name}")
    if not agent.slots.points(state.current):
        agent.slots.point(state.current)
        agent.slots.hold()
