"""Devices of a fleet on a real web server, over links that break and with power that fails."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hwc.tests.toolchain.update.trust.server import Handler, Server, serving
from hwc.toolchain.update.agent.journal import Mark
from hwc.toolchain.update.agent.recover import Recovered, recover
from hwc.toolchain.update.agent.update import Outcome, Result, update
from hwc.toolchain.update.applier import UpdateFiles
from hwc.toolchain.update.content.describe import describe, write_release
from hwc.toolchain.update.delta import files
from hwc.toolchain.update.delta.strategies import make
from hwc.toolchain.update.limits import Limits
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import RELEASE, Compatibility
from hwc.toolchain.update.trust.client import TufSource
from hwc.toolchain.update.trust.download import Download
from hwc.toolchain.update.trust.keys import Keyring
from hwc.toolchain.update.trust.link import link_to
from hwc.toolchain.update.trust.repository import NewArtefact, Repository
from hwc.tools.updates import device

PRODUCT = "door"
WEIGHTS = 60_000
HWC = (sys.executable, "-c", "from hwc.tools.cli import main; main()")
# The first trial lasts until its agent is killed; later ones pass, unless they were told to fail.
HOOK = """
cd "$(dirname "$0")"
if mkdir tried 2> /dev/null; then while kill -0 $PPID; do sleep 0.05; done; fi
test ! -e fail && echo '{"checks": [{"kind": "load", "passed": true, "note": "fine"}]}'
"""
SLOW = Limits(rate=20_000, patience=0.2)
PATIENCE = 10.0  # seconds that something may take which takes less than one


@dataclass(frozen=True, slots=True)
class Fleet:
    """A repository, and what devices have before and after.

    Attributes:
        home: Folder of it all.
        old: Files of the first release.
        new: Files of the second.
    """

    home: Path
    old: dict[str, bytes]
    new: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Device:
    """A device that has the first release, and its link to the server.

    Attributes:
        root: Its folder.
        server: Told what this device's link does.
        fleet: What it may have.
    """

    root: Path
    server: Server
    fleet: Fleet

    @property
    def asked(self) -> list[int]:
        """The first bytes of update files that it asked for."""
        return [begin for path, begin in self.server.asked if path.endswith(".hwcu")]

    def update(self, limits: Limits | None = None) -> Outcome:
        """What `hwc update` does, without the waits between tries."""
        with device.agent(self.root) as (agent, settings):
            link = link_to(settings.repo, limits) if limits else link_to(settings.repo)
            root = (self.root / device.ROOT).read_bytes()
            once = partial(Download, pause=lambda _: None, tries=2)
            source = TufSource(link, PRODUCT, self.root / device.METADATA, root, download=once)
            return update(agent, source, UpdateFiles())

    def recover(self) -> Recovered:
        """What `hwc recover` does."""
        with device.agent(self.root) as (agent, _):
            return recover(agent)

    def killed_when(self, reached: Callable[[], bool]) -> None:
        """Run `hwc update` in a process, and kill that and all its children at some moment."""
        words = ("update", "--root-dir", str(self.root), "-q")
        child = subprocess.Popen([*HWC, *words], start_new_session=True)
        end = time.monotonic() + PATIENCE
        while not reached() and child.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        came = reached()
        os.killpg(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert came

    def has(self, release: dict[str, bytes]) -> None:
        """Whether what runs is exactly this release, and nothing is under way."""
        assert contents(self.root / "current") == release
        assert not list(self.root.glob("slots/*.tmp"))
        assert not (self.root / "state/journal").exists()


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def made(home: Path, seq: int, weights: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> Path:
    """A release of one safetensors file."""
    folder = home / f"release{seq}"
    folder.mkdir()
    header = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}'
    text = header % (WEIGHTS, 4 * WEIGHTS)
    data = len(text).to_bytes(8, "little") + text + weights.tobytes()
    (folder / "model.safetensors").write_bytes(data)
    release = describe(
        folder,
        product=PRODUCT,
        version=f"1.{seq}",
        seq=seq,
        sec_epoch=0,
        compatibility=Compatibility(),
        golden=None,
        provenance={},
    )
    write_release(folder, release)
    return folder


def publish(repository: Repository, new: Path, *olds: Path) -> None:
    """Publish a release with the full update file and a delta from each of these."""
    artefacts = []
    with files.Folder(new) as target:
        for old in (None, *olds):
            path = new.with_name(f"{new.name}-{old.name if old else 'full'}.hwcu")
            if old is None:
                found = make(target, None, path)
            else:
                with files.Folder(old) as base:
                    found = make(target, base, path)
            artefacts.append(NewArtefact(path, found.base, 1 << 20))
        assert repository.publish(target.release, artefacts) == ()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A repository of two releases, and a device that has the first."""
    home = tmp_path_factory.mktemp("loopback")
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(WEIGHTS).astype(np.float32)
    moved = weights + np.float32(1e-4) * rng.standard_normal(WEIGHTS).astype(np.float32)
    old, new = made(home, 1, weights), made(home, 2, moved)
    keyring = Keyring(home / "keys", lambda _: "correct horse")
    keyring.create_all((PRODUCT,))
    repository = Repository.at(home / "fleet", keyring)
    repository.init([PRODUCT])
    publish(repository, old)
    told = device.Settings(PRODUCT, str(home / "fleet"), health=device.NONE)
    device.set_up(home / "device", told, home / "fleet/metadata/1.root.json")
    found = Fleet(home, contents(old), contents(new))
    with serving(home / "fleet") as server:
        Device(home / "device", server, found).update()
    publish(repository, new, old)
    return found


@pytest.fixture
def server(fleet: Fleet) -> Iterator[Server]:
    """The fleet's web server."""
    with serving(fleet.home / "fleet") as running:
        yield running


@pytest.fixture
def one(fleet: Fleet, server: Server, tmp_path: Path) -> Device:
    """A device of its own for a test."""
    return device_of(fleet, server, tmp_path)


def device_of(fleet: Fleet, server: Server, tmp_path: Path) -> Device:
    """A device of a fleet, with a health hook that waits at the first time."""
    root = tmp_path / "device"
    shutil.copytree(fleet.home / "device", root, symlinks=True)
    (tmp_path / "hook.sh").write_text(HOOK)
    settings = device.read_settings(root)
    told = replace(settings, repo=server.address, health=f"sh {tmp_path / 'hook.sh'}")
    (root / device.SETTINGS).unlink()
    device.set_up(root, told, fleet.home / "fleet/metadata/1.root.json")
    return Device(root, server, fleet)


def well(one: Device) -> None:
    """Let trials pass at once."""
    (one.root.parent / "tried").mkdir()


def only_of_update_files(odd: Callable[[Handler, bytes], None]) -> Callable[[Handler, bytes], None]:
    """The same for update files; the rest is answered well."""
    return lambda handler, data: (
        odd(handler, data) if handler.path.endswith(".hwcu") else handler.good(data)
    )


def test_a_link_that_is_cut_goes_on_in_the_middle(one: Device) -> None:
    well(one)

    def cut(handler: Handler, data: bytes) -> None:
        if len(one.asked) > 1:
            handler.good(data)
        else:
            handler.reply(200, data[: len(data) // 2], length=len(data))

    one.server.odd = only_of_update_files(cut)
    assert one.update().result is Result.UPDATED
    size = delta_size(one.fleet)
    assert one.asked == [0, size // 2]
    one.has(one.fleet.new)


def test_killed_in_the_middle_of_the_download(one: Device) -> None:
    well(one)
    half = delta_size(one.fleet) // 2

    def hold(handler: Handler, data: bytes) -> None:
        handler.reply(200, data[:half], length=len(data))
        one.server.over.wait(PATIENCE)

    def kept() -> int:
        parts = list((one.root / "downloads").glob("*.part"))
        return parts[0].stat().st_size if parts else 0

    one.server.odd = only_of_update_files(hold)
    one.killed_when(lambda: kept() > 0)
    one.has(one.fleet.old)
    before = kept()
    one.server.odd = None
    assert one.update().result is Result.UPDATED
    assert 0 < before <= half
    assert one.asked == [0, before]
    one.has(one.fleet.new)


def test_a_link_that_is_too_slow_is_refused(one: Device) -> None:
    well(one)

    def dawdle(handler: Handler, data: bytes) -> None:
        begin = handler.start()
        handler.reply(206, b"", {"Content-Range": f"bytes {begin}-"}, length=len(data) - begin)
        while not one.server.over.wait(0.02):
            handler.send(data[begin : begin + 16])
            begin += 16

    one.server.odd = only_of_update_files(dawdle)
    with pytest.raises(Refusal, match="slower than 20000 B/s") as caught:
        one.update(SLOW)
    assert (caught.value.code, caught.value.kept) == (Code.NETWORK, "kept v1.1, slot A")
    one.has(one.fleet.old)
    one.server.odd = None
    assert one.update().result is Result.UPDATED
    assert one.asked[-1] > 0
    one.has(one.fleet.new)


@pytest.mark.parametrize("fails", [False, True], ids=["passes then", "fails then"])
def test_killed_in_its_trial(one: Device, fails: bool) -> None:  # noqa: FBT001 - a parameter of the test
    one.killed_when((one.root.parent / "tried").exists)
    if fails:
        (one.root.parent / "fail").touch()
    assert one.recover().found is Mark.TRIAL
    one.has(one.fleet.old if fails else one.fleet.new)
    assert one.recover().found is None


def delta_size(fleet: Fleet, seq: int = 2) -> int:
    """Bytes of the delta that leads to a release from the one before."""
    return (fleet.home / f"release{seq}-release{seq - 1}.hwcu").stat().st_size


@pytest.fixture(scope="module")
def longer(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The fleet with a third release, to which a delta leads from the second alone."""
    home = tmp_path_factory.mktemp("longer")
    for name in ("fleet", "keys", "device", "release2"):
        shutil.copytree(fleet.home / name, home / name, symlinks=True)
    shutil.copy(fleet.home / "release2-release1.hwcu", home)
    rng = np.random.default_rng(1)
    before = np.frombuffer(fleet.new["model.safetensors"][-4 * WEIGHTS :], np.float32)
    weights = before + np.float32(1e-6) * rng.standard_normal(WEIGHTS).astype(np.float32)
    new = made(home, 3, weights)
    keyring = Keyring(home / "keys", lambda _: "correct horse")
    publish(Repository.at(home / "fleet", keyring), new, home / "release2")
    return Fleet(home, fleet.old, contents(new))


def test_by_way_of_another_release_over_a_link_that_is_cut(longer: Fleet, tmp_path: Path) -> None:
    sizes = [delta_size(longer, seq) for seq in (2, 3)]

    def cut(handler: Handler, data: bytes) -> None:
        if "/3/" in handler.path and handler.start() == 0:
            handler.reply(200, data[: sizes[1] // 2], length=len(data))
        else:
            handler.good(data)

    with serving(longer.home / "fleet") as server:
        one = device_of(longer, server, tmp_path)
        well(one)
        server.odd = only_of_update_files(cut)
        words = ("update", "--root-dir", str(one.root))
        ended = subprocess.run([*HWC, *words], capture_output=True, text=True, check=True)
    full = (longer.home / "release3-full.hwcu").stat().st_size
    next_best = f"next best: full update, {full / 1e6:.1f} MB"
    way = f"chain of 2 deltas, {sum(sizes) / 1e6:.1f} MB, by way of v1.2 ({next_best})"
    assert f"v1.3: {way}\n" in ended.stderr
    assert ended.stdout == f"updated: door v1.3 (seq 3) runs from slot B; {way}; load: fine\n"
    assert one.asked == [0, 0, sizes[1] // 2]
    one.has(longer.new)
    words = ("status", "--root-dir", str(one.root))
    said = subprocess.run([*HWC, *words], capture_output=True, text=True, check=True).stdout
    assert f"\nupdated by: {way}: deltas/door/2/" in said


def test_killed_in_the_trial_after_a_chain(longer: Fleet, tmp_path: Path) -> None:
    with serving(longer.home / "fleet") as server:
        one = device_of(longer, server, tmp_path)
        one.killed_when((tmp_path / "tried").exists)
    assert one.asked == [0, 0]
    assert one.recover().found is Mark.TRIAL
    one.has(longer.new)


def test_the_fleet_is_what_these_tests_take_it_for(fleet: Fleet) -> None:
    assert set(fleet.old) == {"model.safetensors", RELEASE} == set(fleet.new)
    assert fleet.old != fleet.new
    assert 10_000 < delta_size(fleet) < 4 * WEIGHTS // 2
