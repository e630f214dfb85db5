"""A device in miniature: two releases, a repository, and what must hold after any power cut."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from hwc.toolchain.progress import Progress
from hwc.toolchain.update.agent.agent import Agent
from hwc.toolchain.update.agent.audit import Audit, Event
from hwc.toolchain.update.agent.disk import Disk, Kind, read
from hwc.toolchain.update.agent.health import Verdict
from hwc.toolchain.update.agent.journal import JOURNAL
from hwc.toolchain.update.agent.machine import Machine
from hwc.toolchain.update.agent.state import Slot, State, read_state
from hwc.toolchain.update.agent.update import Outcome, update
from hwc.toolchain.update.delta.files import Files, Reader, Sink
from hwc.toolchain.update.offer import Artefact, Offer, Step
from hwc.toolchain.update.release import RELEASE, Compatibility, Release, ReleaseFile

NOW = 1_800_000_000
ROOT = Path("/nowhere")

Contents = dict[str, bytes]


def sha256(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def make_release(version: str, seq: int, *, sec_epoch: int = 0, **more: object) -> Release:
    """A release of two files, one of them in a folder."""
    files = contents(version)
    listed = [ReleaseFile(path, len(d), sha256(d)) for path, d in sorted(files.items())]
    release = Release(
        product="doorbell",
        version=version,
        seq=seq,
        sec_epoch=sec_epoch,
        compatibility=Compatibility(),
        golden=None,
        provenance={},
        files=tuple(listed),
    )
    return replace(release, **more)


def contents(version: str) -> Contents:
    """The files of a release but its `bundle.json`."""
    return {"model.onnx": f"model {version}".encode() * 3, "weights/w.bin": version.encode() * 40}


OLDER = make_release("1.3", 13)
OLD = make_release("1.4", 14)
OLD_1 = make_release("1.4", 14, sec_epoch=1)  # one that may be gone back to from the new one
NEW = make_release("1.5", 15, sec_epoch=1)
NEWER = make_release("1.6", 16, sec_epoch=1)
WHOLE = {
    (release.version, release.sec_epoch): {**contents(release.version), RELEASE: release.text()}
    for release in (OLDER, OLD, OLD_1, NEW, NEWER)
}
RELEASES = {release.digest: release for release in (OLDER, OLD, OLD_1, NEW, NEWER)}


def step_to(release: Release, *bases: str) -> Step:
    """A step with an update file from each of these bases, the first the smallest."""
    artefacts = tuple(
        Artefact(
            f"{release.version}/{base[:6] or 'full'}",
            100 + i,
            sha256(release.text() + base.encode()),
            base,
            0,
        )
        for i, base in enumerate(bases or ("",))
    )
    return Step(
        release.digest, release.product, release.version, release.seq, release.sec_epoch, artefacts
    )


def offer_of(*releases: Release, **more: object) -> Offer:
    """What a repository offers, to the whole fleet."""
    steps = tuple(step_to(release) for release in releases)
    offer = Offer(steps, share=10_000, salt="s", halted=False, trusted_time=NOW - 1000)
    return replace(offer, **more)


@dataclass(slots=True)
class FakeSource:
    """A Source; what it fetches is the text of `bundle.json`, put on the agent's disk."""

    offer: Offer
    disk: Disk
    fetched: int = 0

    def refresh(self) -> Offer:
        """The offer."""
        return self.offer

    def fetch(self, artefact: Artefact, into: Path, progress: Progress) -> None:  # noqa: ARG002 - the protocol's signature
        """Put some bytes there."""
        self.fetched += 1
        path = f"downloads/{into.name}"
        if self.disk.kind(path) is None:
            with closing(self.disk.create(path)) as file:
                file.write(artefact.path.encode())


@dataclass(slots=True)
class FakeApplier:
    """An Applier that knows what all releases hold."""

    release: Release
    files: Contents
    during: Callable[[], None] = lambda: None
    size: int = 64  # bytes that are written at once

    def describe(self, update: Reader, base: Files | None) -> Release:  # noqa: ARG002 - the protocol's signature
        """The release."""
        return self.release

    def apply(self, update: Reader, base: Files | None, sink: Sink, progress: Progress) -> None:  # noqa: ARG002 - the protocol's signature
        """Write all files."""
        for path, data in [*self.files.items(), (RELEASE, self.release.text())]:
            with closing(sink.create(path)) as writer:
                for start in range(0, len(data), max(self.size, len(data) // 2)):
                    writer.write(data[start : start + max(self.size, len(data) // 2)])
            self.during()


@dataclass(slots=True)
class FakeHealth:
    """A Health with a fixed answer, that counts how often it was asked."""

    passed: bool = True
    asked: int = 0
    during: Callable[[], None] = lambda: None

    def check(self, folder: Path) -> Verdict:  # noqa: ARG002 - the protocol's signature
        """The answer."""
        self.asked += 1
        self.during()
        return Verdict(passed=self.passed, note="" if self.passed else "made to fail")


def make_agent(disk: Disk, *, root: Path = ROOT, **more: object) -> Agent:
    """An agent whose clock stands still."""
    agent = Agent(
        root=root,
        disk=disk,
        health=FakeHealth(),
        device="d1",
        machine=Machine(arch="aarch64"),
        clock=lambda: NOW,
        memory=lambda: 1 << 30,
    )
    return replace(agent, **more)


def run_update(agent: Agent, release: Release = NEW, **more: object) -> Outcome:
    """Update to a release that a repository offers."""
    source = FakeSource(offer_of(release), agent.disk)
    return update(agent, source, FakeApplier(release, contents(release.version)), **more)


def state_of(disk: Disk) -> State:
    """The state; there is one."""
    state = read_state(disk)
    assert state is not None
    return state


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be installed after a power cut.

    Attributes:
        releases: Any of these; None among them: nothing.
        least: The counters may not be below these.
        event: Of the audit log, which has to be there.
        linked: What `current` may lead to before the agent recovers; empty: any of the releases.
    """

    releases: tuple[Release | None, ...]
    least: State
    event: Event | None = None
    linked: tuple[Release | None, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """Tells it from another."""
        names = tuple(release and (release.version, release.sec_epoch) for release in self.releases)
        return (*names, self.least.seq, self.least.trusted_time, self.event)


def faults_before(agent: Agent, allowed: Allowed) -> str:
    """What is wrong with what a program finds that starts before the agent; empty if nothing."""
    linked = allowed.linked or allowed.releases
    running = [r for r in linked if r is not None and _runs(agent, r)]
    if running or (None in linked and agent.slots.points(None)):
        return ""
    return "what current leads to is neither the old nor the new release"


def faults_after(agent: Agent, allowed: Allowed) -> str:
    """What is wrong after `recover`; empty if nothing."""
    state = state_of(agent.disk)
    events = [entry.event for entry in Audit(agent.disk).entries()]
    installed = RELEASES[state.installed.release] if state.installed else None
    faults = (
        (faults_before(agent, replace(allowed, linked=())), "current leads astray"),
        (not agent.slots.points(state.current), "current is not what the state says"),
        (installed not in allowed.releases, f"installed: {state}"),
        (_fell(state, allowed.least), "a counter fell, or is higher than what is installed"),
        (_lies(agent, state), "a slot does not hold what the state says"),
        (_litter(agent.disk, state), "there is litter"),
        (allowed.event and allowed.event not in events, f"the log lacks {allowed.event}"),
    )
    return next((fault for wrong, fault in faults if wrong), "")


def _fell(state: State, least: State) -> bool:
    old = (least.seq, least.sec_epoch, least.trusted_time)
    new = (state.seq, state.sec_epoch, state.trusted_time)
    runs = state.installed.sec_epoch if state.installed else state.sec_epoch
    return any(b < a for a, b in zip(old, new, strict=True)) or runs < state.sec_epoch


def _lies(agent: Agent, state: State) -> bool:
    slots = state.slots.items()
    return not all(_holds(agent.disk, s.folder, RELEASES[known.release]) for s, known in slots)


def _litter(disk: Disk, state: State) -> bool:
    names = [name for folder in ("", "slots", "state") for name in disk.list(folder)]
    slots = {slot.value for slot in state.slots}
    there = disk.kind(JOURNAL) is not None or set(disk.list("slots")) != slots
    return there or any(name.endswith(".tmp") for name in names)


def _runs(agent: Agent, release: Release) -> bool:
    """Whether `current` leads to a folder with this release and nothing else."""
    slots = [slot for slot in Slot if agent.slots.points(slot)]
    return bool(slots) and _holds(agent.disk, slots[0].folder, release)


def _holds(disk: Disk, folder: str, release: Release) -> bool:
    found = {path: read(disk, f"{folder}/{path}", 1 << 20) for path in _paths(disk, folder)}
    return found == WHOLE[release.version, release.sec_epoch]


def _paths(disk: Disk, folder: str) -> list[str]:
    if disk.kind(folder) is not Kind.FOLDER:
        return []
    found = []
    for name in disk.list(folder):
        inner = [f"{name}/{path}" for path in _paths(disk, f"{folder}/{name}")]
        found += inner if disk.kind(f"{folder}/{name}") is Kind.FOLDER else [name]
    return found
