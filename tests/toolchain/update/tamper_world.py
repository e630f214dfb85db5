"""A signed repository, a device with its first release, and what must hold after any attack."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from hwc.toolchain.progress import Progress, Silent
from hwc.toolchain.update.agent.agent import Agent
from hwc.toolchain.update.agent.health import Unchecked
from hwc.toolchain.update.agent.machine import Machine
from hwc.toolchain.update.agent.real_disk import RealDisk
from hwc.toolchain.update.agent.state import State, read_state
from hwc.toolchain.update.agent.update import Outcome, Result, update
from hwc.toolchain.update.applier import UpdateFiles
from hwc.toolchain.update.content.describe import describe, write_release
from hwc.toolchain.update.delta import files
from hwc.toolchain.update.delta.strategies import make
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Compatibility, Release
from hwc.toolchain.update.trust.client import TufSource
from hwc.toolchain.update.trust.keys import Keyring
from hwc.toolchain.update.trust.link import Folder, Link
from hwc.toolchain.update.trust.repository import NewArtefact, Repository
from hwc.toolchain.update.trust.roles import Role
from hwc.toolchain.update.trust.rollout import Rollout

PRODUCT = "door"
NOW = datetime.now(UTC).replace(microsecond=0)
OLDER, INSTALLED, NEW = 10, 11, 12  # counters of the releases 1.0, 1.1 and 1.2
ROLES = (
    (Role.ROOT, ""),
    (Role.TARGETS, ""),
    (Role.BUNDLES, PRODUCT),
    (Role.DELTAS, PRODUCT),
    (Role.ROLLOUT, PRODUCT),
)


@dataclass(frozen=True, slots=True)
class Ground:
    """What all attacks start from; nobody writes to it.

    Attributes:
        home: Folder of the folders below.
        releases: By their counter.
    """

    home: Path
    releases: Mapping[int, Release]

    @property
    def keyring(self) -> Keyring:
        """All keys, but one of root: two sign it, and no signature is one too many."""
        return Keyring(self.home / "keys", lambda _: "correct horse")

    def repository(self, name: str = "fleet") -> Repository:
        """The server's side of a repository."""
        return Repository(self.home / name, self.keyring, NOW)

    @property
    def older(self) -> Path:
        """The repository when release 1.0 was its newest."""
        return self.home / "older"

    @property
    def known(self) -> Path:
        """The same with release 1.1: what the device knows."""
        return self.home / "known"

    @property
    def fleet(self) -> Path:
        """The same with release 1.2 and a delta to it; all roles have new metadata."""
        return self.home / "fleet"

    @property
    def later(self) -> Path:
        """The same some time later: all was signed twice more, and 1.2 can be had in full."""
        return self.home / "later"

    @property
    def device(self) -> Path:
        """The folder of an agent that has installed release 1.1."""
        return self.home / "device"

    def update_file(self, seq: int, base: int = 0) -> Path:
        """An update file to a release, from a base or in full."""
        return self.home / f"{seq}-{base}.hwcu"

    def contents(self, seq: int) -> dict[str, bytes]:
        """The files of a release."""
        return _contents(self.home / str(seq))


@dataclass(frozen=True, slots=True)
class During(Silent):
    """A Progress that does something when a release is about to be written, or is written.

    Attributes:
        begin: When the spare slot was made, and nothing is in it.
        end: When all files but `bundle.json` are in it.
    """

    begin: Callable[[], object] = lambda: None
    end: Callable[[], object] = lambda: None

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """See `Progress.stage`."""
        del total
        if name == "apply":
            self.begin()
        yield lambda: None
        if name == "apply":
            self.end()


@dataclass(frozen=True, slots=True)
class Around:
    """What an agent finds on its device: watchers, the time, and bytes of free memory."""

    progress: Progress = field(default_factory=Silent)
    clock: Callable[[], float] = time.time
    memory: int = 1 << 30


USUAL = Around()
Seen = tuple[str, dict[str, bytes], State]


@dataclass(frozen=True, slots=True)
class Device:
    """A device with release 1.1 in slot A.

    Attributes:
        root: The agent's folder.
        ground: Where it has its release from.
    """

    root: Path
    ground: Ground

    def update(self, link: Link, around: Around = USUAL) -> Outcome:
        """Run the whole agent, as `hwc update` does."""
        with RealDisk(self.root) as disk:
            agent = Agent(
                root=self.root,
                disk=disk,
                health=Unchecked(),
                device="d1",
                machine=Machine(arch="aarch64"),
                clock=around.clock,
                memory=lambda: around.memory,
                progress=around.progress,
            )
            root = self.ground.repository("older").root_text()
            return update(agent, TufSource(link, PRODUCT, self.metadata, root), UpdateFiles())

    @property
    def metadata(self) -> Path:
        """Where it keeps what it has seen of a repository."""
        return self.root / "metadata"

    def seen(self) -> Seen:
        """What runs: the link, every byte of both slots, and the counters."""
        with RealDisk(self.root) as disk:
            state = read_state(disk)
        assert state is not None
        return str((self.root / "current").readlink()), _contents(self.root / "slots"), state

    def refused(self, link: Link, *codes: Code, around: Around = USUAL) -> Code:
        """An update has to be refused for one of these reasons, and to leave all as it was."""
        code = self.attacked(link, *codes, around=around)
        assert code is not None, "nothing was refused"
        return code

    def attacked(self, link: Link, *codes: Code, around: Around = USUAL) -> Code | None:
        """The same, or it has to lead to release 1.2 as it was signed; None then."""
        before = self.seen()
        refusal = self._refusal(link, around)
        if refusal is None:
            self.check_new()
            return None
        assert refusal.code in codes, refusal
        assert refusal.kept == before[2].kept, refusal
        self.check_same(before)
        return refusal.code

    def _refusal(self, link: Link, around: Around) -> Refusal | None:
        try:
            self.update(link, around)
        except Refusal as refusal:
            return refusal
        return None

    def check_same(self, before: Seen) -> None:
        """Whether all is as it was; only the time of metadata that were honest may be noted."""
        link, slots, state = self.seen()
        assert (link, slots) == before[:2]
        assert replace(state, trusted_time=before[2].trusted_time) == before[2]
        assert state.trusted_time in {before[2].trusted_time, int(NOW.timestamp())}
        assert not (self.root / "state/journal").exists()

    def forget(self) -> None:
        """Bring back all but the slots as it was, for the next attack to begin from the same."""
        for part in ("metadata", "state"):
            shutil.rmtree(self.root / part)
            shutil.copytree(self.ground.device / part, self.root / part, symlinks=True)

    def check_updates(self, link: Link | None = None) -> None:
        """Whether it goes on to release 1.2; by default from what is honest."""
        assert self.update(link or Folder(self.ground.later)).result is Result.UPDATED
        self.check_new()

    def check_new(self) -> None:
        """Whether it runs release 1.2, to the last byte."""
        current, slots, state = self.seen()
        assert (current, state.seq) == ("slots/b", NEW)
        new = {name[2:]: data for name, data in slots.items() if name.startswith("b/")}
        assert new == self.ground.contents(NEW)


def make_ground(home: Path) -> Ground:
    """Make keys, releases, the repository at four times, and the device."""
    ground = Ground(home, {seq: _release(home / str(seq), seq) for seq in (OLDER, INSTALLED, NEW)})
    ground.keyring.create_all((PRODUCT,))
    (home / "keys/root-3.pem").unlink()
    repository = ground.repository()
    repository.init([PRODUCT])
    _publish(ground, OLDER, 0)
    shutil.copytree(ground.fleet, ground.older)
    _publish(ground, INSTALLED, 0)
    shutil.copytree(ground.fleet, ground.known)
    ground.device.mkdir()
    assert Device(ground.device, ground).update(Folder(ground.known)).result is Result.UPDATED
    for role, product in ROLES:
        assert repository.renew(role, product) == ()
    _publish(ground, NEW, INSTALLED)
    repository.set_rollout(PRODUCT, Rollout(ground.releases[NEW].digest))
    shutil.copytree(ground.fleet, ground.later)
    later = ground.repository("later")
    for role, product in ROLES * 2:
        assert later.renew(role, product) == ()
    later.add(ground.releases[NEW], [make_artefact(ground, NEW, 0)])
    return ground


def frozen(ground: Ground, folder: Path, age: timedelta) -> Path:
    """The repository as nobody has signed it since some time."""
    shutil.copytree(ground.fleet, folder)
    Repository(folder, ground.keyring, NOW - age).touch()
    return folder


def _publish(ground: Ground, seq: int, base: int) -> None:
    artefact = make_artefact(ground, seq, base)
    assert ground.repository().publish(ground.releases[seq], [artefact]) == ()


def make_artefact(ground: Ground, seq: int, base: int) -> NewArtefact:
    """Make an update file to a release, from a base or in full."""
    path = ground.update_file(seq, base)
    with files.Folder(ground.home / str(seq)) as new:
        if not base:
            make(new, None, path)
            return NewArtefact(path, "", 1 << 20)
        with files.Folder(ground.home / str(base)) as old:
            made = make(new, old, path)
    assert made.base
    return NewArtefact(path, made.base, 1 << 20)


def _release(folder: Path, seq: int) -> Release:
    """Two files of numbers that move a little, and one of text; coded in several ways."""
    (folder / "weights").mkdir(parents=True)
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seq)
    wide = fixed.standard_normal(70_000).astype(np.float32)
    wide += np.float32(1e-6) * rng.standard_normal(70_000).astype(np.float32)
    half = fixed.standard_normal(4000).astype(np.float16)
    half[rng.integers(0, 4000, 40)] *= np.float16(1.5)
    bytes_ = fixed.integers(-128, 128, 4000).astype(np.int8)
    bytes_[rng.integers(0, 4000, 40)] += 1
    head = (
        b'{"w":{"dtype":"F32","shape":[70000],"data_offsets":[0,280000]},'
        b'"h":{"dtype":"F16","shape":[4000],"data_offsets":[280000,288000]},'
        b'"b":{"dtype":"I8","shape":[4000],"data_offsets":[288000,292000]}}'
    )
    data = len(head).to_bytes(8, "little") + head
    data += wide.tobytes() + half.tobytes() + bytes_.tobytes()
    (folder / "model.safetensors").write_bytes(data)
    engine = fixed.bytes(3000) + rng.bytes(500) + fixed.bytes(3000)
    (folder / "weights/engine.plan").write_bytes(engine)
    (folder / "notes.txt").write_text(f"release {seq}")
    release = describe(
        folder,
        product=PRODUCT,
        version=f"1.{seq - OLDER}",
        seq=seq,
        sec_epoch=min(seq, INSTALLED) - OLDER,
        compatibility=Compatibility(),
        golden=None,
        provenance={},
    )
    write_release(folder, release)
    return release


def _contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
