"""The last steps of a change of what runs: try it, then forward or back, whatever happens."""

from dataclasses import replace

from .agent import Agent
from .audit import Event
from .health import Verdict
from .journal import Mark, Transaction
from .state import State, write_state


def attempt(agent: Agent, state: State, transaction: Transaction) -> tuple[State, Verdict]:
    """Try a release that lies checked in its slot, and is noted in the journal as on trial."""
    release = transaction.installed.release
    agent.slots.point(transaction.to)  # for the trial alone: after a power cut it begins again
    agent.log(Event.TRIAL, release)
    verdict = agent.health.check(agent.root / transaction.to.folder)
    if verdict.passed:
        agent.journal.add(Mark.COMMIT, transaction)
        return forward(agent, state, transaction), verdict
    agent.journal.add(Mark.ROLLBACK, transaction)
    return back(agent, state, transaction, note=verdict.text), verdict


def forward(agent: Agent, state: State, transaction: Transaction) -> State:
    """Finish a change that passed; may be done twice."""
    agent.slots.point(transaction.to)
    agent.slots.hold()
    new = state.committed(transaction.to, transaction.installed)
    new = replace(new, rejected=transaction.rejects)
    write_state(agent.disk, new)
    agent.log(Event.COMMIT, transaction.installed.release)
    agent.journal.clear()
    return new


def back(agent: Agent, state: State, transaction: Transaction, note: str) -> State:
    """Undo a change that failed its trial, and do not make it again; may be done twice."""
    new = _undone(agent, state, transaction)
    if not transaction.rejects:
        new = replace(new, rejected=transaction.installed.release)
    write_state(agent.disk, new)
    agent.log(Event.ROLLBACK, transaction.installed.release, note)
    agent.journal.clear()
    return new


def abandon(agent: Agent, state: State, transaction: Transaction) -> State:
    """Undo a change that came to no verdict; may be done twice."""
    new = _undone(agent, state, transaction)
    write_state(agent.disk, new)
    agent.log(Event.ABANDON, transaction.installed.release)
    agent.journal.clear()
    return new


def _undone(agent: Agent, state: State, transaction: Transaction) -> State:
    agent.slots.point(transaction.back)
    agent.slots.hold()
    if transaction.rejects:  # it leads to an older release, which is good for another try
        return state
    agent.slots.empty(transaction.to)  # before anything is written: the disk may be full
    return state.without(transaction.to)
