"""The tamper corpus: every attack goes through the whole agent, and release 1.1 runs on.

With HWC_TEST_EVERY_BYTE set, every byte of all metadata and of all tables is changed.
"""

import gzip
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.update.agent.update import Result
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.trust import download
from hwc.toolchain.update.trust.link import Folder, Web
from hwc.toolchain.update.trust.roles import METADATA, SIGNED_AT, TARGETS, rollout_path
from tuf.api.metadata import MetaFile

from .tamper_bombs import BOMBS, TABLES
from .tamper_memory import STATM, in_little_memory
from .tamper_strange import FIELDS, LISTED, PATHS, ROLLOUTS, TEXTS, hostile
from .tamper_thief import (
    FIXED,
    KEYS,
    PRELUDE,
    STRATEGY,
    Overlay,
    Parts,
    Thief,
    crafted,
    files_of,
    flipped,
    target_of,
)
from .tamper_world import (
    INSTALLED,
    NEW,
    NOW,
    OLDER,
    PRODUCT,
    Around,
    Device,
    During,
    Ground,
    frozen,
    make_ground,
)
from .trust.server import Handler, serving

EVERY = "HWC_TEST_EVERY_BYTE" in os.environ
UNBOUND = {"root", "timestamp"}  # of no other file says what their bytes are
ROOM = 64 << 20  # bytes that an agent may take


@pytest.fixture(scope="module", autouse=True)
def _no_waiting() -> Iterator[None]:
    """No power is cut here: a disk need not keep anything, and a try may follow at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(download, "_PAUSE", 0.0)
        yield


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """The repository and the device that all attacks begin with."""
    return make_ground(tmp_path_factory.mktemp("tamper"))


@pytest.fixture(scope="module")
def thief(ground: Ground) -> Thief:
    """Who attacks."""
    return Thief.of(ground)


@pytest.fixture(scope="module")
def whole(ground: Ground) -> bytes:
    """The update file from 1.1 to 1.2."""
    return ground.update_file(NEW, INSTALLED).read_bytes()


@pytest.fixture
def device(ground: Ground, tmp_path: Path) -> Iterator[Device]:
    """A device, which takes what is honest after any attack."""
    device = copied(ground, tmp_path / "device")
    yield device
    device.check_updates()


def copied(ground: Ground, root: Path) -> Device:
    """A copy of the device with release 1.1."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(ground.device, root, symlinks=True)
    return Device(root, ground)


def places(size: int, stride: int) -> range:
    """Which of some bytes are changed: each, or as many as there is time for."""
    return range(0, size, 1 if EVERY else stride)


def refused_each(device: Device, links: Iterator[Overlay], *codes: Code) -> set[Code]:
    """All of these are refused, each by a device that has not seen the ones before."""
    found = set()
    for link in links:
        device.forget()
        found.add(device.refused(link, *codes))
    return found


# What is honest


def test_the_same_signed_once_more_is_taken(
    device: Device, thief: Thief, whole: bytes, ground: Ground, tmp_path: Path
) -> None:
    parts = Parts.of(whole)
    again = Parts.telling(parts.header, parts.blocks())
    assert (parts.update, again.update) == (whole, whole)
    copied(ground, tmp_path / "other").check_updates(thief.swapped(whole))
    assert device.seen()[1].keys() == {f"a/{path}" for path in ground.contents(INSTALLED)}


# Bytes that were changed or cut off on the way; nobody has signed that


@pytest.mark.parametrize("name", KEYS)
def test_no_byte_of_metadata_can_be_changed(device: Device, thief: Thief, name: str) -> None:
    data = thief.newest[name].data
    codes = (Code.MALFORMED, Code.SIGNATURE) if name in UNBOUND else (Code.DIGEST,)
    links = (thief.tampered(name, flipped(data, k)) for k in places(len(data), 71))
    assert refused_each(device, links, *codes) == set(codes)


@pytest.mark.parametrize("name", KEYS)
def test_metadata_cannot_be_cut(device: Device, thief: Thief, name: str) -> None:
    data = thief.newest[name].data
    ends = {0, 1, data.index(b'"signed"'), len(data) - 1, *places(len(data) if EVERY else 0, 1)}
    code = Code.MALFORMED if name in UNBOUND else Code.DIGEST
    refused_each(device, (thief.tampered(name, data[:end]) for end in sorted(ends)), code)


@pytest.mark.parametrize("name", ["targets", "bundles-door"])
def test_no_byte_of_offline_metadata_can_be_changed_by_a_thief_of_all_online_keys(
    device: Device, thief: Thief, name: str
) -> None:
    data = thief.newest[name].data
    links = (thief.led_to(name, flipped(data, k)) for k in places(len(data), 67))
    codes = (Code.MALFORMED, Code.SIGNATURE)
    assert refused_each(device, links, *codes) == set(codes)


def _target(ground: Ground, pattern: str) -> tuple[str, bytes]:
    (path,) = (ground.fleet / TARGETS).rglob(pattern)
    return path.relative_to(ground.fleet).as_posix(), path.read_bytes()


def test_no_byte_of_the_rollout_can_be_changed(device: Device, ground: Ground) -> None:
    path, data = _target(ground, "rollout/*.json")
    links = (Overlay(ground.fleet, {path: flipped(data, k)}) for k in places(len(data), 11))
    refused_each(device, links, Code.DIGEST)


def test_an_update_file_that_nobody_signed_is_refused(device: Device, ground: Ground) -> None:
    path, data = _target(ground, f"{NEW}/*.hwcu")
    parts = Parts.of(data)
    size = PRELUDE.size + len(parts.packed)
    links = (Overlay(ground.fleet, {path: flipped(data, k)}) for k in places(size, 11))
    refused_each(device, links, Code.DIGEST)
    cut = (Overlay(ground.fleet, {path: data[:end]}) for end in parts.sections())
    refused_each(device, cut, Code.NETWORK)
    refused_each(device, iter([Overlay(ground.fleet, {path: data + b"x"})]), Code.LIMIT)


# Update files of a thief who has the key that signs them, as all keys that lie on servers

FLIPS = {
    "magic": (range(4), (Code.MALFORMED,)),
    "version": (range(4, 5), (Code.UNKNOWN,)),
    "size": (range(5, 9), (Code.LIMIT, Code.MALFORMED, Code.DIGEST)),
    "digest": (range(9, PRELUDE.size, 1 if EVERY else 5), (Code.DIGEST,)),
}


@pytest.mark.parametrize("part", FLIPS)
def test_no_byte_before_a_header_can_be_changed(
    device: Device, thief: Thief, whole: bytes, part: str
) -> None:
    where, codes = FLIPS[part]
    links = (thief.swapped(flipped(whole, k)) for k in where)
    assert refused_each(device, links, *codes) == set(codes)


def test_no_byte_of_a_header_can_be_changed(device: Device, thief: Thief, whole: bytes) -> None:
    size = len(Parts.of(whole).packed)
    links = (thief.swapped(flipped(whole, PRELUDE.size + k)) for k in places(size, 13))
    refused_each(device, links, Code.DIGEST)


def test_no_field_of_a_header_can_be_changed_even_with_its_digest(
    device: Device, thief: Thief, whole: bytes
) -> None:
    parts = Parts.of(whole)
    size, digests = len(parts.packed), len(parts.header.digests)
    fields = [*range(0, STRATEGY, 1 if EVERY else 5), *range(STRATEGY + 1, FIXED)]
    fields += range(size - digests, size, 1 if EVERY else 5)
    headers = (replace(parts, packed=flipped(parts.packed, k)) for k in fields)
    codes = (Code.MALFORMED, Code.LIMIT, Code.BASE, Code.DIGEST)
    assert refused_each(device, (thief.swapped(h.update) for h in headers), *codes) == set(codes)


@pytest.mark.parametrize("table", TABLES)
def test_what_a_changed_table_leads_to_is_refused_or_what_was_signed(
    ground: Ground, thief: Thief, whole: bytes, tmp_path: Path, table: str
) -> None:
    parts = Parts.of(whole)
    rows = getattr(parts.header, table)
    tables: Iterator[dict[str, Any]] = (
        {table: np.frombuffer(flipped(rows.tobytes(), k), rows.dtype)}
        for k in places(rows.nbytes, 7)
    )
    headers = (replace(parts.header, **each) for each in tables)
    links = [thief.swapped(Parts(each.pack(), parts.payloads).update) for each in headers]
    device, refused = copied(ground, tmp_path / "device"), 0
    for link in links:
        if device.attacked(link, Code.MALFORMED, Code.LIMIT, Code.DIGEST, Code.UNKNOWN):
            device.forget()
            refused += 1
        else:  # what was changed means nothing there, such as the type of what is copied
            device = copied(ground, device.root)
    assert refused > 0.6 * len(links)
    device.check_updates()


@pytest.mark.parametrize("digests", [False, True], ids=["as they were", "made again"])
def test_no_payload_can_be_changed(
    device: Device,
    thief: Thief,
    whole: bytes,
    digests: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    parts = Parts.of(whole)
    blocks = parts.blocks()

    def changed(k: int) -> bytes:
        payload = flipped(blocks[k], len(blocks[k]) // 2)
        payloads = [*blocks[:k], payload, *blocks[k + 1 :]]
        if digests:
            return Parts.telling(parts.header, payloads).update
        return replace(parts, payloads=b"".join(payloads)).update

    links = (thief.swapped(changed(k)) for k in range(len(blocks)))
    codes = (Code.DIGEST, Code.MALFORMED, Code.LIMIT) if digests else (Code.DIGEST,)
    refused_each(device, links, *codes)


def test_an_update_file_cannot_be_cut_or_lengthened(
    device: Device, thief: Thief, whole: bytes
) -> None:
    ends = [end + more for end in Parts.of(whole).sections() for more in (-1, 0) if end + more >= 0]
    files = [*(whole[:end] for end in ends), whole[:-1], whole + b"x", whole + whole]
    refused_each(device, (thief.swapped(file) for file in files), Code.MALFORMED)


def test_a_payload_cannot_be_cut_lengthened_or_exchanged(
    device: Device, thief: Thief, whole: bytes
) -> None:
    parts = Parts.of(whole)
    blocks = parts.blocks()
    lists = [
        [*blocks[:k], new, *blocks[k + 1 :]]
        for k in range(len(blocks))
        for new in (b"", blocks[k][:-1], blocks[k] + b"x", blocks[k - 1])
    ]
    links = (thief.swapped(Parts.telling(parts.header, each).update) for each in lists)
    refused_each(device, links, Code.MALFORMED, Code.LIMIT, Code.DIGEST)


def test_where_the_delta_is_bad_the_full_update_file_is_taken(
    ground: Ground, device: Device, tmp_path: Path
) -> None:
    (path,) = (ground.later / TARGETS).rglob(
        f"{NEW}/*.{ground.releases[INSTALLED].digest[:16]}.hwcu"
    )
    place = path.relative_to(ground.later).as_posix()
    bad = Overlay(ground.later, {place: flipped(path.read_bytes(), 500)})
    copied(ground, tmp_path / "other").check_updates(bad)
    assert (device.root / "current").readlink() == Path("slots/a")


# What an update file says that is not so


def test_an_update_file_from_another_base_is_refused(
    device: Device, thief: Thief, ground: Ground, whole: bytes
) -> None:
    older = ground.releases[OLDER].digest
    parts = Parts.of(whole)
    other = Parts(replace(parts.header, base=older).pack(), parts.payloads)
    device.refused(thief.swapped(other.update), Code.BASE)
    device.forget()
    device.refused(thief.swapped(whole, base=older), Code.BASE)
    device.forget()
    none = Parts(replace(parts.header, base="").pack(), parts.payloads)
    device.refused(thief.swapped(none.update), Code.MALFORMED)


def test_a_damaged_base_is_refused(ground: Ground, thief: Thief, tmp_path: Path) -> None:
    device = copied(ground, tmp_path / "device")
    path = device.root / "slots/a/model.safetensors"
    path.write_bytes(flipped(path.read_bytes(), 100_000))
    device.refused(thief.forged({}), Code.DIGEST)
    device.check_updates()


def test_the_update_file_of_another_release_is_refused(
    device: Device, thief: Thief, ground: Ground
) -> None:
    for seq in (OLDER, INSTALLED):
        device.forget()
        device.refused(thief.swapped(ground.update_file(seq).read_bytes()), Code.DIGEST)


def test_another_version_of_the_format_is_refused(
    device: Device, thief: Thief, whole: bytes
) -> None:
    parts = Parts.of(whole)
    blocks = parts.header.blocks.copy()
    blocks["method"][2] = 200
    segments = parts.header.segments.copy()
    segments["op"][0] = 9
    for changed in (replace(parts.header, blocks=blocks), replace(parts.header, segments=segments)):
        device.forget()
        device.refused(thief.swapped(Parts(changed.pack(), parts.payloads).update), Code.UNKNOWN)


def test_who_has_all_keys_can_publish(ground: Ground, thief: Thief, tmp_path: Path) -> None:
    other = copied(ground, tmp_path / "other")
    assert other.update(thief.published(*hostile("weights/x"))).result is Result.UPDATED
    assert (other.root / "current/weights/x").read_bytes() == b"x"


@pytest.mark.parametrize("path", PATHS)
def test_a_path_out_of_its_folder_is_refused_whoever_signed_it(
    device: Device, thief: Thief, path: str
) -> None:
    told, update = hostile(PATHS[path])
    device.refused(thief.swapped(update), Code.PATH)
    device.forget()
    device.refused(thief.published(told, update), Code.PATH)
    assert {entry.name for entry in device.root.parent.iterdir()} == {"device"}


@pytest.mark.parametrize("case", TEXTS)
def test_a_strange_bundle_json_is_refused_whoever_signed_it(
    device: Device, thief: Thief, case: str
) -> None:
    text, code = TEXTS[case]
    update = crafted(text, [b"x"])
    device.refused(thief.swapped(update), code)
    device.forget()
    device.refused(thief.published(text, update), code)


def test_a_file_within_a_file_is_refused_though_all_signed_it(device: Device, thief: Thief) -> None:
    device.refused(thief.published(*hostile("a", "a/b")), Code.PATH)


@pytest.mark.parametrize("case", ROLLOUTS)
def test_a_strange_rollout_is_refused(device: Device, thief: Thief, case: str) -> None:
    path = rollout_path(PRODUCT)

    def list_it(signed: Any) -> None:  # noqa: ANN401 - tuf's
        signed.targets = {path: target_of(path, ROLLOUTS[case], {})}

    files = files_of(path, ROLLOUTS[case])
    device.refused(thief.forged({"rollout-door": list_it}, files), Code.MALFORMED)


@pytest.mark.parametrize("name", sorted(UNBOUND))
@pytest.mark.parametrize("case", FIELDS)
def test_strange_json_in_metadata_is_refused(
    device: Device, thief: Thief, name: str, case: str
) -> None:
    data = thief.newest[name].data
    at = data.index(b'"_type"')  # beside what is signed, nobody reads it
    link = thief.tampered(name, data[:at] + FIELDS[case] + data[at:])
    device.refused(link, Code.MALFORMED, Code.SIGNATURE)


@pytest.mark.parametrize("case", LISTED)
def test_what_a_thief_lists_is_refused(device: Device, thief: Thief, case: str) -> None:
    change, code = LISTED[case]
    device.refused(thief.forged({"deltas-door": change}), code)


# Old releases, old metadata, and metadata that do not belong together


def test_an_older_repository_is_refused(device: Device, ground: Ground) -> None:
    device.refused(Folder(ground.older), Code.ROLLBACK)
    shutil.rmtree(device.metadata)  # even where what the device knew of metadata is lost
    device.refused(Folder(ground.older), Code.ROLLBACK)


def test_an_older_release_is_refused_whoever_signed_it(
    device: Device, thief: Thief, ground: Ground
) -> None:
    told, update = ground.releases[OLDER].text(), ground.update_file(OLDER).read_bytes()
    device.refused(thief.published(told, update), Code.NOT_SIGNED)  # its bundle.json has seq 10
    device.forget()
    device.refused(thief.published(told, update, sec_epoch=0), Code.ROLLBACK)

    def only_old(signed: Any) -> None:  # noqa: ANN401 - tuf's
        signed.targets = {path: t for path, t in signed.targets.items() if f"/{OLDER}/" in path}

    device.forget()
    device.refused(thief.forged({"bundles-door": only_old}), Code.ROLLBACK)


def test_an_older_timestamp_is_refused(device: Device, thief: Thief, ground: Ground) -> None:
    old = (ground.older / METADATA / "timestamp.json").read_bytes()
    device.refused(thief.tampered("timestamp", old), Code.ROLLBACK)


@pytest.mark.parametrize("name", [name for name in KEYS if name not in UNBOUND])
def test_metadata_of_two_times_are_refused(
    device: Device, thief: Thief, ground: Ground, name: str
) -> None:
    version = thief.newest[name].version - 1
    before = (ground.fleet / METADATA / f"{version}.{name}.json").read_bytes()
    device.refused(thief.tampered(name, before), Code.DIGEST)
    device.forget()
    device.refused(thief.led_to(name, before), Code.ROLLBACK)  # who leads there lies on its version
    if name == "snapshot":
        return

    def back(snapshot: Any) -> None:  # noqa: ANN401 - tuf's
        snapshot.meta[f"{name}.json"] = MetaFile(1)

    known = ground.known / METADATA
    seen = max(int(path.name.split(".")[0]) for path in known.glob(f"*.{name}.json"))
    if seen > 1:
        device.forget()
        device.refused(thief.forged({"snapshot": back}), Code.ROLLBACK)


@pytest.mark.parametrize("name", KEYS)
def test_metadata_past_their_date_are_refused(device: Device, thief: Thief, name: str) -> None:
    def expire(signed: Any) -> None:  # noqa: ANN401 - tuf's
        signed.expires = NOW - timedelta(hours=1)

    device.refused(thief.forged({name: expire}), Code.EXPIRED)


def test_a_repository_that_somebody_froze_is_refused(
    device: Device, ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("frozen") / "fleet"
    device.refused(Folder(frozen(ground, folder, timedelta(days=8))), Code.EXPIRED)


@pytest.mark.parametrize("name", KEYS)
def test_metadata_signed_by_others_are_refused(device: Device, thief: Thief, name: str) -> None:
    data = thief.newest[name].data
    other = thief.newest["targets" if name == "rollout-door" else "rollout-door"].data
    signatures = other[: other.index(b'"signed"')]
    device.refused(
        thief.led_to(name, signatures + data[data.index(b'"signed"') :]),
        Code.SIGNATURE,
    )


# Clocks


@pytest.mark.parametrize(
    ("days", "code"), [(4000, Code.EXPIRED), (-4000, Code.CLOCK), (-1, Code.CLOCK)]
)
def test_a_clock_that_jumped_is_refused_until_it_is_right_again(
    device: Device, ground: Ground, monkeypatch: pytest.MonkeyPatch, days: int, code: Code
) -> None:
    now = NOW + timedelta(days=days)

    shown = SimpleNamespace(datetime=SimpleNamespace(now=lambda _: now), timezone=timezone)
    monkeypatch.setattr("tuf.ngclient._internal.trusted_metadata_set.datetime", shown)
    device.refused(Folder(ground.fleet), code, around=Around(clock=now.timestamp))
    monkeypatch.undo()


def test_a_time_that_a_thief_signs_does_not_lock_a_device_out(device: Device, thief: Thief) -> None:
    def far(timestamp: Any) -> None:  # noqa: ANN401 - tuf's
        timestamp.unrecognized_fields[SIGNED_AT] = 1 << 62

    device.refused(thief.forged({"timestamp": far}), Code.CLOCK)


# Bombs and false counts, for an agent that has little memory


@pytest.mark.skipif(not STATM.exists(), reason="only Linux says how much memory a process has")
@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_refused_in_little_memory(
    device: Device, thief: Thief, whole: bytes, case: str
) -> None:
    make, code = BOMBS[case]
    link = thief.swapped(make(Parts.of(whole)))
    before = device.seen()
    assert in_little_memory(lambda: device.update(link), ROOM) == code.name
    device.check_same(before)


@pytest.mark.skipif(not STATM.exists(), reason="only Linux says how much memory a process has")
def test_what_is_honest_fits_into_little_memory(
    ground: Ground, thief: Thief, tmp_path: Path, whole: bytes
) -> None:
    other = copied(ground, tmp_path / "other")
    assert in_little_memory(lambda: other.update(thief.swapped(whole)), ROOM) == "done"
    other.check_new()


# Links and other things that somebody puts into the agent's folder


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that is none of the agent's business."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "model.safetensors").write_text("precious")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
    assert (folder / "model.safetensors").read_text() == "precious"


@pytest.mark.parametrize(
    "place", ["slots/b", "slots/b.tmp", "current.tmp", "state/journal.tmp", "state/state.json.tmp"]
)
def test_a_link_that_was_planted_before_is_not_followed(
    ground: Ground, tmp_path: Path, outside: Path, place: str
) -> None:
    device = copied(ground, tmp_path / "device")
    (device.root / place).symlink_to(outside)
    device.check_updates()


@pytest.mark.parametrize("suffix", ["", ".part"])
def test_a_link_in_the_place_of_a_download_is_not_followed(
    ground: Ground, tmp_path: Path, whole: bytes, outside: Path, suffix: str
) -> None:
    device = copied(ground, tmp_path / "device")
    name = f"{hashlib.sha256(whole).hexdigest()}.hwcu{suffix}"
    (device.root / "downloads" / name).symlink_to(outside / "model.safetensors")
    device.check_updates()


@pytest.mark.parametrize(
    "folder", ["slots", "state", "downloads", "metadata", "metadata/root_history"]
)
def test_a_folder_that_became_a_link_is_not_entered(
    ground: Ground, device: Device, tmp_path: Path, folder: str
) -> None:
    moved = tmp_path / "moved"
    (device.root / folder).rename(moved)
    (device.root / folder).symlink_to(moved)
    before = {path: path.read_bytes() for path in moved.rglob("*") if path.is_file()}
    with pytest.raises(Refusal) as caught:
        device.update(Folder(ground.fleet))
    assert caught.value.code is Code.PATH
    assert {path: path.read_bytes() for path in moved.rglob("*") if path.is_file()} == before
    (device.root / folder).unlink()
    moved.rename(device.root / folder)


def _instead(path: Path, target: Path) -> None:
    """A link in the place of a file or of an empty folder."""
    path.rmdir() if path.is_dir() else path.unlink()
    path.symlink_to(target)


def _away(path: Path, outside: Path) -> None:
    """A link to the very file, which is elsewhere now."""
    path.rename(outside.parent / "moved")
    path.symlink_to(outside.parent / "moved")


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


Plant = Callable[[Path, Path], object]  # where, and what it may lead to
PLANTED: dict[str, tuple[Plant, Code]] = {
    "file": (lambda stage, out: (stage / "notes.txt").symlink_to(out / "n"), Code.PATH),
    "last file": (lambda stage, out: (stage / "bundle.json").symlink_to(out / "n"), Code.PATH),
    "plain file": (lambda stage, _: (stage / "notes.txt").write_bytes(b"x"), Code.PATH),
    "folder": (lambda stage, out: (stage / "weights").symlink_to(out), Code.PATH),
    "pipe": (lambda stage, _: _pipe(stage / "extra"), Code.DIGEST),
    "one too many": (lambda stage, _: (stage / "extra").write_bytes(b""), Code.DIGEST),
    "stage": (_instead, Code.PATH),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_before_files_are_written_is_refused(
    device: Device, ground: Ground, outside: Path, case: str
) -> None:
    plant, code = PLANTED[case]
    stage = device.root / "slots/b.tmp"
    during = During(begin=lambda: plant(stage, outside))
    device.refused(Folder(ground.fleet), code, around=Around(during))


CHANGED: dict[str, tuple[Plant, Code]] = {
    "byte": (lambda path, _: path.write_bytes(flipped(path.read_bytes(), 1000)), Code.DIGEST),
    "cut": (lambda path, _: os.truncate(path, 1000), Code.DIGEST),
    "gone": (lambda path, _: path.unlink(), Code.DIGEST),
    "link": (lambda path, out: _instead(path, out / "model.safetensors"), Code.PATH),
    "link to the same": (_away, Code.PATH),
    "pipe": (lambda path, _: _pipe(path), Code.PATH),
}


@pytest.mark.parametrize("case", CHANGED)
def test_what_is_changed_after_files_are_written_is_refused(
    device: Device, ground: Ground, outside: Path, case: str
) -> None:
    change, code = CHANGED[case]
    path = device.root / "slots/b.tmp/model.safetensors"
    during = During(end=lambda: change(path, outside))
    device.refused(Folder(ground.fleet), code, around=Around(during))


# Two agents


def test_a_second_agent_is_refused_while_one_is_at_work(
    ground: Ground, tmp_path: Path, device: Device
) -> None:
    other = copied(ground, tmp_path / "other")
    found: list[Code] = []

    def second() -> None:
        before = other.seen()
        with pytest.raises(Refusal) as caught:
            other.update(Folder(ground.fleet))
        found.append(caught.value.code)
        assert caught.value.kept == "kept v1.1, slot A"
        assert other.seen() == before

    assert other.update(Folder(ground.fleet), Around(During(second, second))).result is (
        Result.UPDATED
    )
    assert found == [Code.BUSY, Code.BUSY]
    other.check_new()
    assert device.seen()[0] == "slots/a"


def test_of_agents_that_start_at_once_one_updates(ground: Ground, tmp_path: Path) -> None:
    other = copied(ground, tmp_path / "other")
    ends: list[str] = []

    def run() -> None:
        try:
            ends.append(other.update(Folder(ground.fleet)).result.value)
        except Refusal as refusal:
            ends.append(refusal.code.name)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends.count("updated") == 1
    assert set(ends) <= {"updated", "current", "BUSY"}
    other.check_new()


# Web servers


def _sends(data: bytes, **headers: str) -> Callable[[Handler, bytes], None]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.reply(200, data, names)


ANSWERS = {
    "endless": (_sends(bytes(1 << 20)), Code.LIMIT),
    "packed": (_sends(gzip.compress(bytes(1 << 20)), Content_Encoding="gzip"), Code.MALFORMED),
    "nothing": (_sends(b""), Code.MALFORMED),
    "nested": (_sends(b"[" * 16_000), Code.MALFORMED),
    "cut": (lambda h, data: h.reply(200, data[:100], length=len(data)), Code.NETWORK),
    "elsewhere": (
        lambda h, _: h.reply(302, b"", {"Location": "http://127.0.0.1:9/"}),
        Code.NETWORK,
    ),
    "error": (lambda h, _: h.reply(500, b"{}"), Code.NETWORK),
}


@pytest.mark.parametrize("name", ["timestamp.json", ".hwcu"])
@pytest.mark.parametrize("case", ANSWERS)
def test_an_odd_answer_is_refused(ground: Ground, device: Device, case: str, name: str) -> None:
    answer, code = ANSWERS[case]
    if name == ".hwcu":  # of which the size is known, and what is missing is asked for again
        code = {"packed": Code.NETWORK, "nothing": Code.NETWORK, "nested": Code.NETWORK}.get(
            case, code
        )

    def odd(handler: Handler, data: bytes) -> None:
        answer(handler, data) if handler.path.endswith(name) else handler.good(data)

    with serving(ground.fleet) as server:
        server.odd = odd
        device.refused(Web.at(server.address), code)
