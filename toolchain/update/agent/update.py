"""An update, from the look at the repository to its commit or its undoing."""

from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum

from ..offer import Offer, Source
from ..refusal import Code, Refusal
from .agent import Agent, Applier
from .audit import Event
from .choose import candidates, reason, wanted
from .disk import Kind, remove
from .health import Verdict
from .held import held, unwind
from .journal import Mark, Transaction
from .recover import settle
from .staging import DOWNLOADS, Staging
from .state import State, write_state
from .trial import attempt
from .way import Way

_SKEW = 300  # seconds by which the clocks of a device and of who signs may differ
_ANOTHER = {Code.DIGEST, Code.BASE, Code.MALFORMED, Code.UNKNOWN}  # another file may do better
_OF_A_CHAIN = _ANOTHER | {Code.DISK}  # and need less disk


class Result(Enum):
    """How an update ended, if it was not refused."""

    UPDATED = "updated"
    CURRENT = "current"  # the newest release is installed
    WAITING = "waiting"  # there is a newer one, and it is not this device's turn


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an update ended.

    Attributes:
        result: How.
        state: What is installed now.
        verdict: What the health hook said.
        way: What led there, full update, delta or chain, and why it; empty where nothing did.
    """

    result: Result
    state: State
    verdict: Verdict | None = None
    way: str = ""


def update(agent: Agent, source: Source, applier: Applier, *, again: bool = False) -> Outcome:
    """Bring the device to the newest release of a repository, or leave it as it is.

    Args:
        agent: Whose folder is updated; it is set up where it is new.
        source: Where releases come from.
        applier: What reads update files.
        again: Whether a release that failed here before is tried again.

    Raises:
        Refusal: For whatever reason; what was installed runs on, as its `kept` says.
    """
    with held(agent):
        state = settle(agent).state
        offer, state = _look(agent, source, state)
        step = wanted(offer, state, device=agent.device, again=again)
        if step is None:
            newest = state.installed is not None and state.installed.release == offer.newest.release
            return Outcome(Result.CURRENT if newest else Result.WAITING, state)
        told, transaction = _stage_any(Staging(agent, source, applier, state), offer)
        agent.journal.add(Mark.TRIAL, transaction)
        state, verdict = attempt(agent, state, transaction)
        if not verdict.passed:
            message = f"v{step.version} failed its trial: {verdict.text}"
            raise Refusal(Code.HEALTH, message, "publish a release that works on this device")
        with suppress(OSError):  # the update is done; the next one removes what is left
            _purge(agent, keep=())
        return Outcome(Result.UPDATED, state, verdict, told)


def _look(agent: Agent, source: Source, state: State) -> tuple[Offer, State]:
    """Ask the repository, with a clock that is not before what was seen signed."""
    _check_clock(agent, state.trusted_time)
    offer = source.refresh()
    _check_clock(agent, offer.trusted_time)  # before it counts: a false one would lock us out
    if offer.trusted_time > state.trusted_time:
        state = replace(state, trusted_time=offer.trusted_time)
        write_state(agent.disk, state)
    return offer, state


def _check_clock(agent: Agent, trusted: int) -> None:
    if (now := agent.clock()) + _SKEW < trusted:
        message = f"this device's clock says {now:.0f}, signed metadata are from {trusted}"
        raise Refusal(Code.CLOCK, message, "set the clock")


def _stage_any(staging: Staging, offer: Offer) -> tuple[str, Transaction]:
    """Stage the newest release by the cheapest way, or by the next where that is no good.

    Returns:
        The way in words, and why it was taken; what is to be tried.
    """
    agent, state, memory = staging.agent, staging.state, staging.agent.memory()
    choice = candidates(offer, state, memory=memory, room=staging.room())
    why = reason(choice, offer, state, memory=memory)
    _purge(agent, keep=choice)
    for index, way in enumerate(choice[:-1], start=1):
        try:
            told = f"{way} ({why})"
            return told, staging.run(way, told)
        except Refusal as refusal:
            if refusal.code not in (_OF_A_CHAIN if way.is_chain else _ANOTHER):
                raise
            unwind(agent)
            if refusal.code is Code.DISK:
                _purge(agent, keep=choice[index:])
            agent.log(
                Event.REFUSED, offer.newest.release, f"{refusal.code.value} {refusal.message}"
            )
            agent.progress.note(f"{refusal}; a larger update is tried")
            why = f"the {way.kind} was refused: {refusal.code.value}"
    told = f"{choice[-1]} ({why})"
    return told, staging.run(choice[-1], told)


def _purge(agent: Agent, keep: tuple[Way, ...]) -> None:
    """Remove downloads, finished or begun, that are for none of these, and links among them."""
    wanted_names = tuple(artefact.sha256 for way in keep for artefact in way.artefacts)
    for name in agent.disk.list(DOWNLOADS):
        path = f"{DOWNLOADS}/{name}"
        if not name.startswith(wanted_names) or agent.disk.kind(path) is not Kind.FILE:
            remove(agent.disk, path)
