"""Work in an agent's folder, alone, and with every refusal saying what the agent did."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..refusal import Code, Refusal
from .agent import Agent
from .audit import Event
from .journal import Mark
from .state import read_state
from .trial import abandon, back, forward

_QUIET = {Code.NETWORK, Code.BUSY}  # too common, and no business of an audit


@contextmanager
def held(agent: Agent) -> Iterator[None]:
    """Hold the folder's lock; an error undoes what is under way and becomes a Refusal.

    Raises:
        Refusal: Another agent is at work; or what the block raised, with what was kept.
    """
    try:
        with agent.disk.lock():
            try:
                yield
            except Refusal as refusal:
                refusal.kept = _undo(agent, refusal)
                raise
            except (OSError, MemoryError) as cause:
                failure = _failed(cause)
                failure.kept = _undo(agent, failure)
                raise failure from cause
    except Refusal as refusal:
        refusal.kept = refusal.kept or _kept(agent)
        raise


def unwind(agent: Agent) -> None:
    """Undo what is under way; what was decided already is finished as it was decided."""
    state = read_state(agent.disk)
    records = agent.journal.settle()
    if state is None or not records:
        return
    last = records[-1]
    if last.mark is Mark.COMMIT:
        forward(agent, state, last.transaction)
    elif last.mark is Mark.ROLLBACK:
        back(agent, state, last.transaction, "finished after an error")
    else:
        abandon(agent, state, last.transaction)


def _undo(agent: Agent, refusal: Refusal) -> str:
    try:
        unwind(agent)
        if refusal.code not in _QUIET:
            agent.log(Event.REFUSED, note=f"{refusal.code.value} {refusal.message}")
    except (Refusal, OSError):
        return "the update is unfinished, hwc recover goes on with it"
    return _kept(agent)


def _kept(agent: Agent) -> str:
    with suppress(Refusal, OSError):
        if state := read_state(agent.disk):
            return state.kept
    return "nothing was changed"


def _failed(cause: OSError | MemoryError) -> Refusal:
    if isinstance(cause, MemoryError):
        return Refusal(Code.MEMORY, "the memory did not suffice", "end other programs; try again")
    where = f"{cause.filename}: " if isinstance(cause.filename, str) else ""
    message = f"{where}{cause.strerror or cause}"
    return Refusal(Code.DISK, message, "free some space, or check the storage; then try again")
