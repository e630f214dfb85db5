"""An update, from the look at the repository to its commit or its undoing."""

from contextlib import closing, suppress
from dataclasses import dataclass, replace
from enum import Enum

from ..offer import Artefact, Offer, Source, Step
from ..refusal import Code, Refusal, short
from ..release import Release
from .agent import Agent, Applier
from .audit import Event
from .choose import candidates, check_artefact, wanted
from .disk import Kind, remove
from .health import Verdict
from .held import held, unwind
from .journal import Mark, Transaction
from .recover import settle
from .slots import SlotFiles
from .state import Installed, State, write_state
from .trial import attempt

DOWNLOADS = "downloads"
_SKEW = 300  # seconds by which the clocks of a device and of who signs may differ
_BLOCK = 1 << 12  # what a file takes on the disk is a multiple of this
_SPARE = 1 << 20  # for the journal, the state and the audit log
_ANOTHER = {Code.DIGEST, Code.BASE, Code.MALFORMED, Code.UNKNOWN}  # another file may do better


class Result(Enum):
    """How an update ended, if it was not refused."""

    UPDATED = "updated"
    CURRENT = "current"  # the newest release is installed
    WAITING = "waiting"  # there is a newer one, and it is not this device's turn


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an update ended, what is installed now, and what the health hook said."""

    result: Result
    state: State
    verdict: Verdict | None = None


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
        transaction = _stage_any(agent, source, applier, step, state)
        agent.journal.add(Mark.TRIAL, transaction)
        state, verdict = attempt(agent, state, transaction)
        if not verdict.passed:
            message = f"v{step.version} failed its trial: {verdict.text}"
            raise Refusal(Code.HEALTH, message, "publish a release that works on this device")
        with suppress(OSError):  # the update is done; the next one removes what is left
            _purge(agent, keep=())
        return Outcome(Result.UPDATED, state, verdict)


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


def _stage_any(
    agent: Agent, source: Source, applier: Applier, step: Step, state: State
) -> Transaction:
    """Stage the release from the smallest update file, or from the next where that is no good."""
    choice = candidates(step, state, memory=agent.memory())
    _purge(agent, keep=choice)
    for artefact in choice[:-1]:
        try:
            return _Staging(agent, source, applier, step, state).run(artefact)
        except Refusal as refusal:
            if refusal.code not in _ANOTHER:
                raise
            unwind(agent)
            agent.log(Event.REFUSED, step.release, f"{refusal.code.value} {refusal.message}")
            agent.progress.note(f"{refusal}; a larger update file is tried")
    return _Staging(agent, source, applier, step, state).run(choice[-1])


@dataclass(frozen=True, slots=True)
class _Staging:
    """Bringing one release into the spare slot."""

    agent: Agent
    source: Source
    applier: Applier
    step: Step
    state: State

    def run(self, artefact: Artefact) -> Transaction:
        """Fetch, apply and check; the slot then holds the release, and survives a power cut."""
        agent, path = self.agent, _download(artefact)
        check_artefact(artefact, agent.disk.free())
        self.source.fetch(artefact, agent.root / path, agent.progress)
        base = None
        if artefact.base and self.state.current:
            base = SlotFiles(agent.disk, self.state.current.folder)
        with closing(agent.disk.open(path)) as reader:
            release = self.applier.describe(reader, base)
            self._check(release)
            transaction = Transaction(
                to=self.state.spare, back=self.state.current, installed=Installed.of(release)
            )
            agent.journal.begin(Mark.BEGIN, transaction)
            agent.log(Event.BEGIN, release.digest, f"from {artefact.path}")
            sink = agent.slots.stage(transaction.to)
            self.applier.apply(reader, base, sink, agent.progress)
        agent.slots.put(transaction.to)
        agent.slots.check(transaction.to, self.step.release)
        return transaction

    def _check(self, release: Release) -> None:
        """Compare what the update file leads to with what is signed, and with this device."""
        step = self.step
        if release.digest != step.release:
            message = (
                f"the update file leads to {short(release.digest)}, signed is {short(step.release)}"
            )
            raise Refusal(Code.DIGEST, message, "publish the update files again")
        said = (release.product, release.seq, release.sec_epoch)
        if said != (step.product, step.seq, step.sec_epoch):
            message = f"bundle.json says {said}, metadata say otherwise"
            raise Refusal(Code.NOT_SIGNED, message, "publish the release again")
        self.agent.machine.check(release.compatibility, self.agent.memory())
        sizes = [file.size for file in release.files] + [len(release.text())]
        need = sum(-(-size // _BLOCK) * _BLOCK for size in sizes) + _SPARE
        free = self.agent.disk.free() + self.agent.slots.size(self.state.spare)
        if need > free:
            message = f"the release needs {need} B of disk, {free} B are or can be freed"
            raise Refusal(Code.DISK, message, "free some space, then try again")


def _download(artefact: Artefact) -> str:
    return f"{DOWNLOADS}/{artefact.sha256}.hwcu"


def _purge(agent: Agent, keep: tuple[Artefact, ...]) -> None:
    """Remove downloads, finished or begun, that are for none of these, and links among them."""
    wanted_names = tuple(artefact.sha256 for artefact in keep)
    for name in agent.disk.list(DOWNLOADS):
        path = f"{DOWNLOADS}/{name}"
        if not name.startswith(wanted_names) or agent.disk.kind(path) is not Kind.FILE:
            remove(agent.disk, path)
