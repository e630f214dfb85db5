"""A chain in miniature: from the old release by way of the new one to the newer one."""

from contextlib import closing
from dataclasses import dataclass, field, replace

from hwc.toolchain.progress import Progress
from hwc.toolchain.update.agent.agent import Agent
from hwc.toolchain.update.agent.update import Outcome, update
from hwc.toolchain.update.delta.files import Files, Reader, Sink
from hwc.toolchain.update.offer import Offer, Step
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import RELEASE, Release

from .world import NEW, NEWER, OLD, FakeApplier, FakeSource, contents, offer_of, step_to

FULL = 1000  # bytes of a full update file; a delta has 100 or 101
DELTAS = ("1.5/" + OLD.digest[:6], "1.6/" + NEW.digest[:6])


def told(step: Step, release: Release) -> Step:
    """The step as it is published now: with its size, and full update files that are large."""
    artefacts = tuple(a if a.base else replace(a, size=FULL) for a in step.artefacts)
    return replace(step, artefacts=artefacts, size=release.size)


def chain_offer(*bases: str) -> Offer:
    """What a repository offers: deltas from each release to the next, and these to the last."""
    steps = (
        told(step_to(OLD), OLD),
        told(step_to(NEW, OLD.digest, ""), NEW),
        told(step_to(NEWER, NEW.digest, *bases), NEWER),
    )
    return offer_of(steps=steps)


@dataclass(slots=True)
class ChainApplier(FakeApplier):
    """An Applier that does what the update file says, if its base is whole.

    Attributes:
        releases: What update files lead to, by version.
        applied: The update files that were applied.
        broken: Update files that cannot be.
    """

    release: Release = NEWER
    files: dict[str, bytes] = field(default_factory=dict)
    releases: tuple[Release, ...] = (OLD, NEW, NEWER)
    applied: list[str] = field(default_factory=list)
    broken: tuple[str, ...] = ()

    def describe(self, update: Reader, base: Files | None) -> Release:
        """The release; nothing of the base is read but its `bundle.json`."""
        target, source = self._ends(update)
        if source is not None:
            assert base is not None
            _read(base, RELEASE, source.text())
        return target

    def apply(self, update: Reader, base: Files | None, sink: Sink, progress: Progress) -> None:
        """Read the whole base, and write the release."""
        target, source = self._ends(update)
        self.applied.append(_text(update))
        if source is not None:
            assert base is not None
            for path, data in {**contents(source.version), RELEASE: source.text()}.items():
                _read(base, path, data)
        writing = FakeApplier(target, contents(target.version), self.during, self.size)
        writing.apply(update, base, sink, progress)
        if _text(update) in self.broken:
            raise Refusal(Code.DIGEST, "made to be broken")

    def _ends(self, update: Reader) -> tuple[Release, Release | None]:
        version, _, base = _text(update).partition("/")
        target = next((r for r in self.releases if r.version == version), None)
        if target is None:
            raise Refusal(Code.MALFORMED, "half an update file: a fake source was killed")
        return target, next((r for r in self.releases if r.digest.startswith(base)), None)


def run_chain(agent: Agent) -> Outcome:
    """Update by way of another release, for want of anything else that small."""
    return update(agent, FakeSource(chain_offer(""), agent.disk), ChainApplier())


def _text(update: Reader) -> str:
    return update.read(0, 1 << 10).decode()


def _read(files: Files, path: str, expected: bytes) -> None:
    with closing(files.open(path)) as reader:
        if reader.read(0, 1 << 20) != expected:
            raise Refusal(Code.BASE, f"{path} is not the base's")
