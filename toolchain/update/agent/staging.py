"""Bringing one release into the spare slot, by one update file or by a chain of them."""

from contextlib import closing
from dataclasses import dataclass

from ..delta.files import Files, ViewReader
from ..offer import Artefact, Source, Step
from ..refusal import Code, Refusal, short
from ..release import RELEASE, Release
from .agent import Agent, Applier
from .audit import Event
from .choose import check_way
from .journal import Mark, Transaction
from .slots import SlotFiles, SlotSink
from .state import Installed, Slot, State
from .way import Way, peak

DOWNLOADS = "downloads"
_BLOCK = 1 << 12  # what a file takes on the disk is a multiple of this
_SPARE = 1 << 20  # for the journal, the state and the audit log


@dataclass(frozen=True, slots=True)
class _OnlyText:
    """The Files of a release that is not there yet: what the next update file is told from."""

    text: bytes

    def open(self, path: str) -> ViewReader:
        """Open `bundle.json`, whatever is asked for: no description reads anything else."""
        if path != RELEASE:
            raise Refusal(Code.MALFORMED, f"{path} is read before it is there", "publish again")
        return ViewReader(memoryview(self.text))


@dataclass(frozen=True, slots=True)
class Staging:
    """What brings a release into the spare slot.

    The releases on a way but the last are written beside it, become the base of the next, and are
    removed: no slot ever holds them, so they are never tried and never run.

    Attributes:
        agent: Whose slot it is.
        source: Where update files come from.
        applier: What reads them.
        state: What is installed.
    """

    agent: Agent
    source: Source
    applier: Applier
    state: State

    def room(self) -> int:
        """Bytes of disk that are free, or can be freed."""
        return self.agent.disk.free() + self.agent.slots.size(self.state.spare)

    def run(self, way: Way, told: str) -> Transaction:
        """Fetch, apply and check; the slot then holds the release, and survives a power cut.

        All is fetched and asked for before anything is written to the slot.

        Args:
            way: What is fetched.
            told: The same in words, and why; for the audit log.
        """
        agent = self.agent
        check_way(way, agent.disk.free())
        agent.progress.note(f"v{way.legs[-1].step.version}: {told}")
        for artefact in way.artefacts:
            self.source.fetch(artefact, agent.root / _download(artefact), agent.progress)
        releases = self._describe(way)
        self._check_room(releases)
        transaction = Transaction(
            to=self.state.spare, back=self.state.current, installed=Installed.of(releases[-1])
        )
        agent.journal.begin(Mark.BEGIN, transaction)
        paths = " and ".join(artefact.path for artefact in way.artefacts)
        agent.log(Event.BEGIN, releases[-1].digest, f"{told}: {paths}")
        self._apply(way, transaction.to)
        agent.slots.put(transaction.to)
        agent.slots.check(transaction.to, releases[-1].digest)
        return transaction

    def _describe(self, way: Way) -> list[Release]:
        """The releases on a way, each compared with what is signed; nothing is written."""
        releases: list[Release] = []
        base = self._base(way)
        for leg in way.legs:
            with closing(self.agent.disk.open(_download(leg.artefact))) as reader:
                release = self.applier.describe(reader, base)
            _check_signed(release, leg.step)
            releases.append(release)
            base = _OnlyText(release.text())
        self.agent.machine.check(releases[-1].compatibility, self.agent.memory())
        return releases

    def _check_room(self, releases: list[Release]) -> None:
        need, room = peak([_taken(release) for release in releases]) + _SPARE, self.room()
        if need > room:
            message = f"the release needs {need} B of disk, {room} B are or can be freed"
            raise Refusal(Code.DISK, message, "free some space, then try again")

    def _apply(self, way: Way, slot: Slot) -> None:
        """Write each release of a way from the one before, and the last one where it is staged."""
        slots = self.agent.slots
        staged, base = slots.stage(slot), self._base(way)
        for number, artefact in enumerate(way.artefacts, start=1):
            sink = staged if number == len(way.legs) else slots.between(slot, number)
            with closing(self.agent.disk.open(_download(artefact))) as reader:
                self.applier.apply(reader, base, sink, self.agent.progress)
            if isinstance(base, SlotSink):
                slots.drop(base)
            base = sink

    def _base(self, way: Way) -> Files | None:
        """What the first update file starts from."""
        if not way.artefacts[0].base or self.state.current is None:
            return None
        return SlotFiles(self.agent.disk, self.state.current.folder)


def _check_signed(release: Release, step: Step) -> None:
    """Compare what an update file leads to with what is signed."""
    if release.digest != step.release:
        found, signed = short(release.digest), short(step.release)
        message = f"the update file leads to {found}, signed is {signed}"
        raise Refusal(Code.DIGEST, message, "publish the update files again")
    said = (release.product, release.seq, release.sec_epoch)
    if said != (step.product, step.seq, step.sec_epoch):
        message = f"bundle.json says {said}, metadata say otherwise"
        raise Refusal(Code.NOT_SIGNED, message, "publish the release again")


def _taken(release: Release) -> int:
    """Bytes that a release takes on the disk."""
    sizes = [file.size for file in release.files] + [len(release.text())]
    return sum(-(-size // _BLOCK) * _BLOCK for size in sizes)


def _download(artefact: Artefact) -> str:
    return f"{DOWNLOADS}/{artefact.sha256}.hwcu"
