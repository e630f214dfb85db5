"""Tests of toolchain/update/trust/{repository,writer,published,signing,store,roles}.py."""

import fcntl
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Release
from hwc.toolchain.update.trust import store
from hwc.toolchain.update.trust.client import TufSource
from hwc.toolchain.update.trust.keys import Keyring
from hwc.toolchain.update.trust.link import Folder
from hwc.toolchain.update.trust.published import Published
from hwc.toolchain.update.trust.repository import NewArtefact, Repository
from hwc.toolchain.update.trust.roles import METADATA, RULES, TARGETS, Role
from hwc.toolchain.update.trust.rollout import Rollout

from .world import NOW, PASSPHRASE, Fleet, refused, release

ROTATIONS = [
    (Role.ROOT, "root", ""),
    (Role.TARGETS, "targets", ""),
    (Role.SNAPSHOT, "snapshot", ""),
    (Role.TIMESTAMP, "timestamp", ""),
    (Role.BUNDLES, "bundles-door", "door"),
    (Role.DELTAS, "deltas-door", "door"),
    (Role.ROLLOUT, "rollout-door", "door"),
]


def newest(device: TufSource) -> int:
    return device.refresh().newest.seq


def holder(fleet: Fleet, name: str, *keys: str) -> Keyring:
    """The keyring of someone who has these private keys, and all public ones."""
    folder = fleet.home / name
    folder.mkdir()
    for path in (fleet.home / "keys").iterdir():
        if path.suffix == ".json" or path.stem in keys:
            shutil.copy2(path, folder)
    return Keyring(folder, lambda _: PASSPHRASE)


def online(fleet: Fleet, *more: str) -> Keyring:
    """The keys that lie on the server."""
    names = [
        path.stem
        for path in (fleet.home / "keys").glob("*.pem")
        if RULES[Role(path.stem.split("-")[0])].online
    ]
    return holder(fleet, "online", *names, *more)


def new_file(fleet: Fleet) -> NewArtefact:
    path = fleet.home / "new.hwcu"
    path.write_bytes(b"z" * 100)
    return NewArtefact(path, "", 1)


# What it does


def test_what_is_published_can_be_read_back(fleet: Fleet) -> None:
    repository = fleet.repository()
    assert repository.products() == ("door", "lamp")
    assert repository.releases("door") == (release(1), release(2))
    assert repository.releases("lamp") == ()
    assert [artefact.base for artefact in repository.artefacts("door")] == [
        "",
        release(1).digest,
        "",
    ]
    assert repository.rollout("door") == Rollout(release(2).digest, 500, "salt")
    assert repository.rollout("lamp") == Rollout()


def test_update_files_can_be_added_later(fleet: Fleet) -> None:
    assert fleet.repository().add(release(1), [new_file(fleet)]) == ()
    sizes = [artefact.size for artefact in fleet.device().refresh().steps[0].artefacts]
    assert sizes == [100]


def test_a_copy_for_sticks_is_whole(fleet: Fleet) -> None:
    fleet.repository().export(fleet.home / "stick")
    assert newest(fleet.device(Folder(fleet.home / "stick"))) == 2
    with refused(Code.STATE):
        fleet.repository().export(fleet.home / "stick")


def test_nothing_but_what_a_server_serves_holds_a_key(fleet: Fleet) -> None:
    for path in fleet.folder.rglob("*"):
        assert path.is_dir() or b"PRIVATE" not in path.read_bytes()


# What it refuses


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (release(2), Code.ROLLBACK),
        (release(1), Code.ROLLBACK),
        (release(1, "bell"), Code.NOT_SIGNED),
    ],
    ids=["same seq", "older", "unknown product"],
)
def test_a_release_that_does_not_follow_is_refused(fleet: Fleet, new: Release, code: Code) -> None:
    with refused(code):
        fleet.repository().publish(new, [])


def test_an_epoch_does_not_fall(fleet: Fleet) -> None:
    fleet.repository().publish(release(3, epoch=4), [])
    with refused(Code.ROLLBACK):
        fleet.repository().publish(release(4, epoch=3), [])


@pytest.mark.parametrize("product", ["", "../x", "a/b", "A", "x" * 64, "-x", "a b", "é"])
def test_a_name_of_a_product_that_could_be_a_path_is_refused(
    fleet: Fleet, tmp_path: Path, product: str
) -> None:
    with refused(Code.PATH):
        Repository(tmp_path / "other", fleet.keyring, NOW).init([product])
    assert not (tmp_path / "other").exists()


def test_a_repository_is_not_made_twice(fleet: Fleet) -> None:
    with refused(Code.STATE):
        fleet.repository().init(["door"])


@pytest.mark.parametrize(
    "missing", ["targets-1", "snapshot-1", "timestamp-1", "bundles-door-2", "rollout-lamp-1"]
)
def test_a_repository_without_a_key_is_not_begun(
    fleet: Fleet, tmp_path: Path, missing: str
) -> None:
    key = fleet.home / "keys" / f"{missing}.pem"
    key.rename(tmp_path / "away")
    other = Repository(tmp_path / "other", fleet.keyring, NOW)
    with refused(Code.SIGNATURE):
        other.init(["door", "lamp"])
    assert list((tmp_path / "other").iterdir()) == []
    (tmp_path / "away").rename(key)
    other.init(["door", "lamp"])


def test_a_key_that_stands_for_two_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    for suffix in ("json", "pem"):
        path = fleet.home / "keys" / f"bundles-door-2.{suffix}"
        path.unlink()
        shutil.copy2(path.with_name(f"bundles-door-1.{suffix}"), path)
    with refused(Code.KEY):
        Repository(tmp_path / "other", fleet.keyring, NOW).init(["door"])


@pytest.mark.parametrize("action", ["touch", "products", "sign"])
def test_a_folder_without_a_repository_is_refused(
    fleet: Fleet, tmp_path: Path, action: str
) -> None:
    with refused(Code.STATE):
        getattr(Repository(tmp_path / "none", fleet.keyring, NOW), action)()


def test_a_published_file_that_was_changed_is_found_out(fleet: Fleet) -> None:
    path = next((fleet.folder / TARGETS / "bundles" / "door" / "2").iterdir())
    path.unlink()
    with refused(Code.STATE):
        fleet.repository().releases("door")
    path.write_bytes(release(1).text())
    with refused(Code.DIGEST):
        fleet.repository().releases("door")


def test_metadata_that_were_damaged_are_found_out(fleet: Fleet) -> None:
    fleet.newest("bundles-door").write_bytes(b"{}")
    with refused(Code.MALFORMED):
        fleet.repository().releases("door")


def test_two_do_not_publish_at_once(fleet: Fleet) -> None:
    handle = os.open(fleet.folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with refused(Code.BUSY):
        fleet.repository().touch()
    os.close(handle)
    fleet.repository().touch()


# Several people


def test_a_release_waits_until_two_have_signed(fleet: Fleet) -> None:
    first, second = (holder(fleet, f"holder-{n}", f"bundles-door-{n}") for n in (1, 2))
    server, device = online(fleet), fleet.device()
    assert newest(device) == 2
    new = release(3)
    assert fleet.repository(keyring=server).publish(new, [new_file(fleet)]) == ("bundles-door",)
    assert newest(device) == 2
    assert fleet.repository(keyring=first).sign() == ("bundles-door",)
    assert fleet.repository(keyring=first).sign() == ("bundles-door",)  # twice is once
    assert newest(device) == 2
    assert fleet.repository(keyring=second).sign() == ("snapshot", "timestamp")
    assert newest(device) == 2
    assert fleet.repository(keyring=server).sign() == ()
    assert newest(device) == 3
    with refused(Code.STATE):
        fleet.repository(keyring=server).sign()


def test_other_things_are_published_while_a_release_waits(fleet: Fleet) -> None:
    server = online(fleet)
    fleet.repository(keyring=server).publish(release(3), [])
    assert fleet.repository(keyring=server).set_rollout("door", Rollout(share=7)) == ()
    fleet.repository(keyring=server).touch()
    assert fleet.device().refresh().share == 7
    assert fleet.repository().sign() == ()
    assert newest(fleet.device()) == 3


def test_what_waits_is_not_replaced_unseen(fleet: Fleet) -> None:
    server = fleet.repository(keyring=online(fleet))
    server.publish(release(3), [])
    with refused(Code.STATE):
        server.publish(release(4), [])
    with refused(Code.STATE):
        server.add(release(2), [new_file(fleet)])
    assert fleet.repository().sign() == ()
    assert newest(fleet.device()) == 3


def test_what_waited_too_long_is_not_put_over_what_came_after(fleet: Fleet) -> None:
    fleet.repository(keyring=online(fleet)).publish(release(3), [])
    staged = fleet.home / "kept"
    shutil.copytree(fleet.folder / "staged", staged)
    shutil.rmtree(fleet.folder / "staged")
    fleet.publish(4)
    shutil.copytree(staged, fleet.folder / "staged")
    with refused(Code.ROLLBACK):
        fleet.repository().sign()
    assert newest(fleet.device()) == 4


@pytest.mark.parametrize("name", ["timestamp", "snapshot", "bell", "bundles-bell", "x"])
def test_what_nobody_stages_is_not_signed(fleet: Fleet, name: str) -> None:
    (fleet.folder / "staged").mkdir()
    source = fleet.newest(name if name in {"timestamp", "snapshot"} else "bundles-door")
    shutil.copy(source, fleet.folder / "staged" / f"{name}.json")
    with refused(Code.NOT_SIGNED):
        fleet.repository().sign()


def test_what_was_staged_in_the_name_of_another_role_is_not_signed(fleet: Fleet) -> None:
    fleet.repository(keyring=online(fleet)).publish(release(3), [])
    staged = fleet.folder / "staged"
    (staged / "bundles-door.json").rename(staged / "root.json")
    with refused(Code.ROLLBACK):
        fleet.repository().sign()


def test_a_garbled_signature_is_signed_again(fleet: Fleet) -> None:
    first = holder(fleet, "holder-1", "bundles-door-1")
    fleet.repository(keyring=first).publish(release(3), [])
    path = fleet.folder / "staged" / "bundles-door.json"
    data = path.read_bytes()
    place = data.index(b'"sig":"') + 8
    path.write_bytes(data[:place] + b"0000" + data[place + 4 :])
    assert fleet.repository().sign() == ()
    assert newest(fleet.device()) == 3


def test_a_new_root_is_signed_by_people_who_never_meet(fleet: Fleet) -> None:
    fleet.keyring.create("root-4")
    first, second = (holder(fleet, f"holder-{n}", f"root-{n}") for n in (2, 4))
    device = fleet.device()
    device.refresh()
    lacking = fleet.repository(keyring=first).rotate(Role.ROOT, "root-1", "root-4")
    assert lacking == ("root",)
    assert fleet.repository(keyring=second).sign() == ("root",)  # old keys: one of two
    third = holder(fleet, "holder-3", "root-3")
    assert fleet.repository(keyring=third).sign() == ("snapshot", "timestamp")
    assert fleet.repository(keyring=online(fleet)).sign() == ()
    assert newest(device) == 2
    assert Published(fleet.folder).root().version == 2


# Keys and dates


@pytest.mark.parametrize(("role", "name", "product"), ROTATIONS, ids=str)
def test_a_new_key_signs_alone_from_then_on(
    fleet: Fleet, role: Role, name: str, product: str
) -> None:
    device = fleet.device()
    device.refresh()
    fleet.keyring.create(f"{name}-9")
    assert fleet.repository().rotate(role, f"{name}-1", f"{name}-9", product) == ()
    (fleet.home / "keys" / f"{name}-1.pem").unlink()
    assert newest(device) == 2
    if role in {Role.SNAPSHOT, Role.TIMESTAMP}:
        fleet.repository().touch()
    else:
        assert fleet.repository().renew(role, product) == ()
    assert newest(device) == 2
    assert newest(fleet.device()) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("timestamp-1", "timestamp-1"),
        ("timestamp-9", "timestamp-9"),
        ("snapshot-1", "timestamp-9"),
        ("timestamp-1", "snapshot-1"),
        ("timestamp-1", "mine"),
        ("timestamp-1", "timestamp-8"),
    ],
    ids=["same", "not yet", "other role's", "other role's name", "other name", "no such"],
)
def test_a_key_that_does_not_fit_does_not_replace_another(fleet: Fleet, old: str, new: str) -> None:
    fleet.keyring.create("timestamp-9")
    before = sorted((fleet.folder / METADATA).iterdir())
    with refused(Code.KEY):
        fleet.repository().rotate(Role.TIMESTAMP, old, new)
    assert sorted((fleet.folder / METADATA).iterdir()) == before


def test_a_root_needs_two_old_keys_to_be_followed(fleet: Fleet) -> None:
    fleet.keyring.create("root-4")
    thief = holder(fleet, "thief", "root-1", "root-4", "snapshot-1", "timestamp-1")
    assert fleet.repository(keyring=thief).rotate(Role.ROOT, "root-2", "root-4") == ("root",)
    assert Published(fleet.folder).root().version == 1


def test_touch_renews_online_roles_in_their_second_half(fleet: Fleet) -> None:
    def version(name: str) -> int:
        return int(Published(fleet.folder).newest(name).signed.version)

    before = {name: version(name) for name in ("deltas-door", "bundles-door", "timestamp")}
    fleet.repository(NOW + timedelta(days=40)).touch()
    assert version("deltas-door") == before["deltas-door"]
    fleet.repository(NOW + timedelta(days=50)).touch()
    assert version("deltas-door") == before["deltas-door"] + 1
    assert version("bundles-door") == before["bundles-door"]
    assert version("timestamp") == before["timestamp"] + 2


def test_touch_without_its_key_changes_nothing(fleet: Fleet) -> None:
    (fleet.home / "keys" / "timestamp-1.pem").unlink()
    before = {path: path.read_bytes() for path in (fleet.folder / METADATA).iterdir()}
    with refused(Code.SIGNATURE):
        fleet.repository(NOW + timedelta(days=50)).touch()
    assert {path: path.read_bytes() for path in (fleet.folder / METADATA).iterdir()} == before
    assert not (fleet.folder / "staged").exists()


@pytest.mark.parametrize(("role", "name", "product"), ROTATIONS, ids=str)
def test_a_role_is_renewed_for_another_term(
    fleet: Fleet, role: Role, name: str, product: str
) -> None:
    later = NOW + timedelta(days=1)
    if role not in {Role.SNAPSHOT, Role.TIMESTAMP}:
        assert fleet.repository(later).renew(role, product) == ()
    else:
        fleet.repository(later).touch()
    assert Published(fleet.folder).newest(name).signed.expires == later + RULES[role].lasts
    assert newest(fleet.device()) == 2


# The power is cut


@pytest.fixture
def snapshots(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copies of the repository as it is after each file that appears or goes."""
    taken: list[Path] = []

    def keep() -> None:
        taken.append(fleet.home / f"cut-{len(taken)}")
        shutil.copytree(fleet.folder, taken[-1])

    real_replace, real_unlink = Path.replace, Path.unlink

    def replace(path: Path, target: Path) -> Path:
        moved = real_replace(path, target)
        keep()
        return moved

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        real_unlink(path, missing_ok=missing_ok)
        keep()

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "unlink", unlink)
    return taken


def publish_third(repository: Repository) -> None:
    path = repository.folder.parent / "third"
    path.write_bytes(b"3" * 500)
    assert repository.publish(release(3), [NewArtefact(path, "", 1)]) == ()


def test_a_publication_that_is_cut_shows_the_old_or_the_new(
    fleet: Fleet, snapshots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_third(fleet.repository())
    monkeypatch.undo()
    assert len(snapshots) == 8  # two targets, four roles, and two that no longer wait
    seen = []
    for number, folder in enumerate(snapshots):
        state = fleet.home / f"state-{number}"
        device = TufSource(Folder(folder), "door", state, fleet.repository().root_text())
        offer = device.refresh()
        seen.append(offer.newest.seq)
        assert offer.newest.artefacts
        again = Repository(folder, fleet.keyring, NOW)
        if offer.newest.seq == 2:
            again.touch()  # nothing of what was cut comes to light by itself
            assert newest(device) == 2
            publish_third(again)
        assert newest(device) == 3
        assert len(device.refresh().newest.artefacts) == 1
    assert seen == sorted(seen)
    assert set(seen) == {2, 3}


def test_what_is_staged_and_cut_can_be_signed_or_published_again(
    fleet: Fleet, snapshots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = online(fleet)
    fleet.repository(keyring=server).publish(release(3), [new_file(fleet)])
    staged = len(snapshots)
    assert fleet.repository().sign() == ()
    monkeypatch.undo()
    codes = set()
    for number, folder in enumerate(snapshots):
        state = fleet.home / f"state-{number}"
        device = TufSource(Folder(folder), "door", state, fleet.repository().root_text())
        assert newest(device) in {2, 3}
        again = Repository(folder, fleet.keyring, NOW)
        try:
            again.sign()
        except Refusal as refusal:
            codes.add(refusal.code)
        if newest(device) == 2:
            assert number < staged
            again.publish(release(3), [new_file(fleet)])
        assert len(device.refresh().newest.artefacts) == 1
        assert newest(device) == 3
    assert codes == {Code.STATE}


@pytest.mark.parametrize("rotation", ROTATIONS, ids=lambda rotation: rotation[1])
def test_a_change_of_keys_that_is_cut_locks_nobody_out(
    fleet: Fleet,
    snapshots: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    rotation: tuple[Role, str, str],
) -> None:
    role, name, product = rotation
    fleet.keyring.create(f"{name}-9")
    root = fleet.repository().root_text()
    fleet.repository().rotate(role, f"{name}-1", f"{name}-9", product)
    monkeypatch.undo()
    known = fleet.home / "known"
    TufSource(Folder(snapshots[0]), "door", known, root).refresh()
    for number, folder in enumerate(snapshots):
        state = fleet.home / f"state-{number}"
        shutil.copytree(known, state, symlinks=True)
        assert newest(TufSource(Folder(folder), "door", state, root)) == 2
        shutil.rmtree(state)
        assert newest(TufSource(Folder(folder), "door", state, root)) == 2


def test_a_repository_whose_making_was_cut_is_made_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fleet.home / "begun"
    real, left = store.write, iter([True, True, True, False])

    def write(path: Path, data: bytes) -> None:
        if not next(left):
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(store, "write", write)
    with pytest.raises(KeyboardInterrupt):
        Repository(folder, fleet.keyring, NOW).init(["door"])
    monkeypatch.undo()
    Repository(folder, fleet.keyring, NOW).init(["door"])
    assert Repository(folder, fleet.keyring, NOW).products() == ("door",)
