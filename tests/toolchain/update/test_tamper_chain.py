"""The tamper corpus for chains: a device with release 1.0 is sent to 1.2 by way of 1.1 alone."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hwc.toolchain.update.agent.update import Result
from hwc.toolchain.update.refusal import Code
from hwc.toolchain.update.trust import download
from hwc.toolchain.update.trust.link import Folder
from hwc.toolchain.update.trust.roles import TARGETS, delta_path

from .tamper_thief import PRELUDE, Overlay, Parts, Thief, files_of, flipped, target_of
from .tamper_world import (
    INSTALLED,
    NEW,
    OLDER,
    PRODUCT,
    Around,
    Device,
    During,
    Ground,
    make_artefact,
    make_ground,
)

FIRST, SECOND = (INSTALLED, OLDER), (NEW, INSTALLED)  # of the chain's update files: to, from
LEGS = {"first": FIRST, "second": SECOND}
BETWEEN = "slots/b.1.tmp"  # where release 1.1 is written


@pytest.fixture(scope="module", autouse=True)
def _no_waiting() -> Iterator[None]:
    """No power is cut here: a disk need not keep anything, and a try may follow at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(download, "_PAUSE", 0.0)
        yield


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """The repository with deltas from 1.0 to 1.1 and from there to 1.2; a device with 1.0."""
    ground = make_ground(tmp_path_factory.mktemp("chain"))
    first = make_artefact(ground, *FIRST)
    for name in ("fleet", "later"):
        assert ground.repository(name).add(ground.releases[INSTALLED], [first]) == ()
    shutil.rmtree(ground.device)
    ground.device.mkdir()
    assert Device(ground.device, ground).update(Folder(ground.older)).result is Result.UPDATED
    return ground


@pytest.fixture(scope="module")
def thief(ground: Ground) -> Thief:
    """Who attacks, with the keys of all roles that lie on servers."""
    return Thief.of(ground)


def copied(ground: Ground, root: Path) -> Device:
    """A copy of the device with release 1.0."""
    shutil.copytree(ground.device, root, symlinks=True)
    return Device(root, ground)


@pytest.fixture
def device(ground: Ground, tmp_path: Path) -> Iterator[Device]:
    """A device, which goes by way of 1.1 after any attack."""
    device = copied(ground, tmp_path / "device")
    yield device
    device.forget()
    outcome = device.update(Folder(ground.fleet))
    assert outcome.way.startswith("chain of 2 deltas, ")
    device.check_new()


def bytes_of(ground: Ground, leg: tuple[int, int]) -> bytes:
    """An update file of the chain."""
    return ground.update_file(*leg).read_bytes()


def swapped(thief: Thief, leg: tuple[int, int], update: bytes, **about: object) -> Overlay:
    """Another update file in the place of one of the chain's, signed."""
    to, base = leg
    path = delta_path(PRODUCT, to, thief.ground.releases[base].digest)

    def swap(deltas: object) -> None:
        targets = deltas.targets  # type: ignore[attr-defined]  # tuf's
        targets[path] = target_of(path, update, {**targets[path].custom, **about})

    return thief.forged({"deltas-door": swap}, files_of(path, update))


@pytest.mark.parametrize("leg", LEGS)
def test_no_update_file_of_a_chain_can_be_changed(device: Device, ground: Ground, leg: str) -> None:
    data = bytes_of(ground, LEGS[leg])
    to, base = LEGS[leg]
    (path,) = (ground.fleet / TARGETS).rglob(f"{to}/*.{ground.releases[base].digest[:16]}.hwcu")
    place = path.relative_to(ground.fleet).as_posix()
    for at in (*range(0, PRELUDE.size, 9), len(data) // 2, len(data) - 1):
        device.forget()
        device.refused(Overlay(ground.fleet, {place: flipped(data, at)}), Code.DIGEST)


@pytest.mark.parametrize("leg", LEGS)
def test_no_payload_of_a_chain_can_be_changed_by_who_signs_update_files(
    device: Device, ground: Ground, thief: Thief, leg: str
) -> None:
    """All digests in the update file are right: what it leads to is not what was signed."""
    parts = Parts.of(bytes_of(ground, LEGS[leg]))
    for number in range(len(parts.blocks())):
        payloads = parts.blocks()
        payloads[number] = flipped(payloads[number], len(payloads[number]) // 2)
        forged = Parts.telling(parts.header, payloads)
        device.forget()
        device.refused(
            swapped(thief, LEGS[leg], forged.update), Code.DIGEST, Code.MALFORMED, Code.UNKNOWN
        )


@dataclass(frozen=True, slots=True)
class Mix:
    """An update file in the place of another one of the chain.

    Attributes:
        place: Which one it replaces.
        file: Which one is sent.
        codes: Why it is refused.
    """

    place: tuple[int, int]
    file: tuple[int, int]
    codes: tuple[Code, ...]


MIXED = {
    "second twice": Mix(FIRST, SECOND, (Code.BASE,)),
    "first twice": Mix(SECOND, FIRST, (Code.BASE,)),
    "older in full": Mix(SECOND, (OLDER, 0), (Code.DIGEST,)),
    "the same in full": Mix(SECOND, (INSTALLED, 0), (Code.DIGEST,)),
    "back to where it began": Mix(FIRST, (OLDER, 0), (Code.DIGEST,)),
}


@pytest.mark.parametrize("case", MIXED)
def test_update_files_of_a_chain_cannot_be_exchanged(
    device: Device, ground: Ground, thief: Thief, case: str
) -> None:
    mix = MIXED[case]
    device.refused(swapped(thief, mix.place, bytes_of(ground, mix.file)), *mix.codes)


@pytest.mark.parametrize("leg", LEGS)
def test_a_chain_by_way_of_what_nobody_signed_leads_nowhere(
    device: Device, ground: Ground, thief: Thief, leg: str
) -> None:
    """Metadata say that an update file leads to a release which the bundles' keys do not list."""
    forged = swapped(thief, LEGS[leg], bytes_of(ground, LEGS[leg]), release="ab" * 32)
    device.refused(forged, Code.NOT_SIGNED, Code.MALFORMED, Code.BASE)


@pytest.mark.parametrize("leg", LEGS)
def test_a_chain_that_asks_for_much_memory_is_not_begun(
    device: Device, ground: Ground, thief: Thief, leg: str
) -> None:
    much = swapped(thief, LEGS[leg], bytes_of(ground, LEGS[leg]), memory=1 << 40)
    device.refused(much, Code.MEMORY)
    assert not list((device.root / "downloads").iterdir())


Plant = Callable[[Path, Path], object]  # the model of release 1.1, and a file elsewhere


def _link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


CHANGED: dict[str, tuple[Plant, tuple[Code, ...]]] = {
    "byte": (
        lambda path, _: path.write_bytes(flipped(path.read_bytes(), 1000)),
        (Code.DIGEST, Code.BASE),
    ),
    "cut": (lambda path, _: os.truncate(path, 1000), (Code.DIGEST, Code.BASE)),
    "gone": (lambda path, _: path.unlink(), (Code.DIGEST,)),
    "link": (_link, (Code.PATH,)),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_release_in_between_cannot_be_changed_before_it_is_built_upon(
    device: Device, ground: Ground, tmp_path: Path, case: str
) -> None:
    change, codes = CHANGED[case]
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    done: list[Path] = []

    def tamper() -> None:
        path = device.root / BETWEEN / "model.safetensors"
        if not done:
            done.append(path)
            change(path, outside)

    device.refused(Folder(ground.fleet), *codes, around=Around(During(end=tamper)))
    assert done
    assert outside.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["b.1.tmp", "b.1"])
def test_a_link_that_was_planted_in_between_is_not_followed(
    ground: Ground, tmp_path: Path, name: str
) -> None:
    device, outside = copied(ground, tmp_path / "device"), tmp_path / "outside"
    outside.mkdir()
    (device.root / "slots" / name).symlink_to(outside)
    device.check_updates(Folder(ground.fleet))
    assert not list(outside.iterdir())


def test_where_a_chain_is_bad_the_full_update_file_is_taken(ground: Ground, tmp_path: Path) -> None:
    """The repository has 1.2 in full, and the second update file was changed on the way."""
    device = copied(ground, tmp_path / "device")
    to, base = SECOND
    (path,) = (ground.later / TARGETS).rglob(f"{to}/*.{ground.releases[base].digest[:16]}.hwcu")
    place = path.relative_to(ground.later).as_posix()
    bad = Overlay(ground.later, {place: flipped(path.read_bytes(), 500)})
    outcome = device.update(bad)
    assert outcome.way.startswith("full update, ")
    assert "the chain of 2 deltas was refused: HWC-U004" in outcome.way
    device.check_new()
