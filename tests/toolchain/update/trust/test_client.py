"""Tests of toolchain/update/trust/{client,listed,rollout}.py: attacks on signed metadata."""

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hwc.toolchain.update.offer import Offer
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.trust.client import TufSource, first_root
from hwc.toolchain.update.trust.link import Folder, Web
from hwc.toolchain.update.trust.published import Published
from hwc.toolchain.update.trust.roles import METADATA, TARGETS, Role, rollout_path
from hwc.toolchain.update.trust.rollout import Rollout
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from .server import Handler, Server
from .world import PAST, Change, Fleet, Tampered, refused, release, same

ROLES = {
    "root": ("root-1", "root-2"),
    "targets": ("targets-1",),
    "snapshot": ("snapshot-1",),
    "timestamp": ("timestamp-1",),
    "bundles-door": ("bundles-door-1", "bundles-door-2"),
    "deltas-door": ("deltas-door-1",),
    "rollout-door": ("rollout-door-1",),
}
DELEGATED = [name for name in ROLES if "-" in name]


@pytest.fixture
def device(fleet: Fleet, server: Server) -> Iterator[TufSource]:
    """A device that has seen the repository once, and takes what is honest after any attack."""
    device = fleet.device(Web.at(server.address))
    assert device.refresh().newest.seq == 2
    yield device
    fleet.check_unharmed()


def unchanged(_: object) -> None:
    """Sign it again and nothing else."""


def publish_forged(fleet: Fleet, name: str, change: Change, keys: tuple[str, ...]) -> None:
    """A forged role with everything that leads a device to it."""
    fleet.forge(name, change, keys)
    if name == "snapshot":
        fleet.lead_to_snapshot()
    elif name not in {"root", "timestamp"}:
        fleet.lead_to(name)


# What is honest


def test_an_offer_says_what_was_published(fleet: Fleet, device: TufSource) -> None:
    offer = device.refresh()
    assert [step.release for step in offer.steps] == [release(1).digest, release(2).digest]
    assert (offer.share, offer.salt, offer.halted) == (500, "salt", False)
    bases = {artefact.base for artefact in offer.newest.artefacts}
    assert bases == {"", release(1).digest}
    assert fleet.device(Folder(fleet.folder)).refresh() == offer


def test_nobody_has_been_let_at_a_release_that_the_rollout_does_not_name(
    fleet: Fleet, device: TufSource
) -> None:
    fleet.publish(3)
    offer = device.refresh()
    assert offer.newest.seq == 3
    assert offer.share == 0
    shutil.rmtree(fleet.home / "state")


@pytest.mark.usefixtures("device")
def test_a_refresh_of_what_is_known_asks_for_two_files_of_metadata(
    fleet: Fleet, server: Server
) -> None:
    server.asked.clear()
    fleet.device(Web.at(server.address)).refresh()
    names = [path.split("/")[-1] for path, _ in server.asked if METADATA in path]
    assert names == ["2.root.json", "timestamp.json"]


def test_the_keys_of_a_root_can_be_compared(fleet: Fleet) -> None:
    keys = [fleet.keyring.public(f"root-{number}").keyid[:12] for number in (1, 2, 3)]
    assert first_root(fleet.repository().root_text()) == ", ".join(keys)
    with refused(Code.MALFORMED):
        first_root(b"[]")


# Too few signatures, or of others


@pytest.mark.parametrize("name", ROLES)
def test_metadata_signed_by_a_stranger_are_refused(
    fleet: Fleet, device: TufSource, name: str
) -> None:
    for number in (1, 2):
        fleet.keyring.create(f"stranger-{number}")
    publish_forged(fleet, name, unchanged, ("stranger-1", "stranger-2"))
    with refused(Code.SIGNATURE):
        device.refresh()


@pytest.mark.parametrize("name", ROLES)
def test_metadata_signed_by_nobody_are_refused(fleet: Fleet, device: TufSource, name: str) -> None:
    publish_forged(fleet, name, unchanged, ())
    with refused(Code.SIGNATURE):
        device.refresh()


@pytest.mark.parametrize("name", ["root", "bundles-door"])
def test_one_signature_of_two_is_too_few(fleet: Fleet, device: TufSource, name: str) -> None:
    publish_forged(fleet, name, unchanged, ROLES[name][:1])
    with refused(Code.SIGNATURE):
        device.refresh()


def _sign_twice(fleet: Fleet, device: TufSource, change: Callable[[bytes], bytes]) -> None:
    fleet.forge("bundles-door", unchanged, ROLES["bundles-door"][:1])
    path = max((fleet.folder / METADATA).glob("*.bundles-door.json"))
    path.write_bytes(change(path.read_bytes()))
    fleet.lead_to("bundles-door")
    with refused(Code.SIGNATURE, Code.MALFORMED):
        device.refresh()


def test_a_key_that_signs_twice_counts_once(fleet: Fleet, device: TufSource) -> None:
    def twice(data: bytes) -> bytes:
        entry = data[data.index(b"[{") + 1 : data.index(b"}]") + 1]
        assert b"keyid" in entry
        return data.replace(entry, entry + b"," + entry)

    _sign_twice(fleet, device, twice)


def test_a_key_that_signs_in_the_name_of_another_counts_once(
    fleet: Fleet, device: TufSource
) -> None:
    own, other = (fleet.keyring.public(f"bundles-door-{n}").keyid.encode() for n in (1, 2))

    def renamed(data: bytes) -> bytes:
        entry = data[data.index(b"[{") + 1 : data.index(b"}]") + 1]
        return data.replace(entry, entry + b"," + entry.replace(own, other))

    _sign_twice(fleet, device, renamed)


@pytest.mark.parametrize(
    "thief",
    [("deltas-door-1",), ("rollout-door-1",), ("timestamp-1", "snapshot-1"), ("targets-1",)],
    ids=["deltas", "rollout", "online", "targets"],
)
def test_keys_of_other_roles_cannot_sign_a_bundle(
    fleet: Fleet, device: TufSource, thief: tuple[str, ...]
) -> None:
    publish_forged(fleet, "bundles-door", unchanged, thief)
    with refused(Code.SIGNATURE):
        device.refresh()


def test_keys_of_another_product_cannot_sign_a_bundle(fleet: Fleet, device: TufSource) -> None:
    publish_forged(fleet, "bundles-door", unchanged, ("bundles-lamp-1", "bundles-lamp-2"))
    with refused(Code.SIGNATURE):
        device.refresh()


# Keys that were replaced


@pytest.mark.parametrize(
    ("role", "name", "product"),
    [
        (Role.ROOT, "root", ""),
        (Role.TARGETS, "targets", ""),
        (Role.SNAPSHOT, "snapshot", ""),
        (Role.TIMESTAMP, "timestamp", ""),
        (Role.BUNDLES, "bundles-door", "door"),
        (Role.DELTAS, "deltas-door", "door"),
        (Role.ROLLOUT, "rollout-door", "door"),
    ],
    ids=str,
)
def test_a_key_that_was_replaced_signs_nothing_any_more(
    fleet: Fleet, server: Server, role: Role, name: str, product: str
) -> None:
    device = fleet.device(Web.at(server.address))
    device.refresh()
    fleet.keyring.create(f"{name}-9")
    assert fleet.repository().rotate(role, f"{name}-1", f"{name}-9", product) == ()
    assert device.refresh().newest.seq == 2
    (fleet.home / "keys" / f"{name}-9.pem").rename(fleet.home / "new.pem")
    shutil.copytree(fleet.folder, fleet.home / "honest")
    publish_forged(fleet, name, unchanged, ROLES[name])
    with refused(Code.SIGNATURE):
        device.refresh()
    server.folder = fleet.home / "honest"
    (fleet.home / "new.pem").rename(fleet.home / "keys" / f"{name}-9.pem")
    for _ in range(2):  # the thief of other keys may have counted on
        fleet.repository().touch()
    shutil.rmtree(fleet.home / "state")
    assert device.refresh().newest.seq == 2


def test_a_device_that_slept_through_replacements_follows_all_of_them(fleet: Fleet) -> None:
    asleep = fleet.device()
    asleep.refresh()
    for number in (2, 3, 4):
        fleet.keyring.create(f"timestamp-{number}")
        fleet.repository().rotate(Role.TIMESTAMP, f"timestamp-{number - 1}", f"timestamp-{number}")
    assert asleep.refresh().newest.seq == 2


def test_a_thief_who_counts_far_ahead_is_outlived_by_a_new_key(fleet: Fleet) -> None:
    device, honest = fleet.device(), fleet.home / "honest"
    device.refresh()
    shutil.copytree(fleet.folder, honest)

    def far(signed: Any) -> None:  # noqa: ANN401 - tuf's
        signed.version = 10**9

    fleet.forge("timestamp", far, ROLES["timestamp"])
    device.refresh()
    shutil.rmtree(fleet.folder)
    shutil.copytree(honest, fleet.folder)
    with refused(Code.ROLLBACK):
        device.refresh()
    fleet.keyring.create("timestamp-2")
    fleet.repository().rotate(Role.TIMESTAMP, "timestamp-1", "timestamp-2")
    assert device.refresh().newest.seq == 2


# Old metadata


@pytest.mark.parametrize("name", ROLES)
def test_metadata_past_their_date_are_refused(fleet: Fleet, device: TufSource, name: str) -> None:
    def expire(signed: Any) -> None:  # noqa: ANN401 - tuf's
        signed.expires = PAST

    publish_forged(fleet, name, expire, ROLES[name])
    with refused(Code.EXPIRED):
        device.refresh()


def test_a_frozen_timestamp_is_refused_when_its_time_is_over(
    fleet: Fleet, device: TufSource
) -> None:
    def soon(signed: Any) -> None:  # noqa: ANN401 - tuf's
        signed.expires = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)

    fleet.forge("timestamp", soon, ROLES["timestamp"])
    assert device.refresh().newest.seq == 2
    time.sleep(2)
    with refused(Code.EXPIRED):
        device.refresh()


@pytest.mark.usefixtures("device")
def test_the_repository_of_a_dead_publisher_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "dead"
    repository = type(fleet.repository())(folder, fleet.keyring, PAST - timedelta(days=400))
    repository.init(["door"])
    with refused(Code.EXPIRED):
        TufSource(Folder(folder), "door", tmp_path / "other", repository.root_text()).refresh()


def test_an_older_timestamp_is_refused(fleet: Fleet, device: TufSource) -> None:
    before = fleet.newest("timestamp").read_bytes()
    fleet.repository().touch()
    device.refresh()
    fleet.newest("timestamp").write_bytes(before)
    with refused(Code.ROLLBACK):
        device.refresh()


def test_an_older_repository_is_refused(fleet: Fleet, server: Server, device: TufSource) -> None:
    shutil.copytree(fleet.folder, fleet.home / "old")
    fleet.publish(3)
    assert device.refresh().newest.seq == 3
    server.folder = fleet.home / "old"
    with refused(Code.ROLLBACK):
        device.refresh()
    server.folder = fleet.folder
    assert device.refresh().newest.seq == 3
    shutil.rmtree(fleet.home / "state")


def test_a_timestamp_that_leads_to_an_older_snapshot_is_refused(
    fleet: Fleet, device: TufSource
) -> None:
    fleet.lead_to_snapshot(1)
    with refused(Code.ROLLBACK):
        device.refresh()


@pytest.mark.parametrize("name", ["targets", *DELEGATED])
def test_a_snapshot_that_leads_to_older_metadata_is_refused(
    fleet: Fleet, device: TufSource, name: str
) -> None:
    fleet.repository().renew(*_role_of(name))
    device.refresh()

    def back(snapshot: Any) -> None:  # noqa: ANN401 - tuf's
        snapshot.meta[f"{name}.json"] = MetaFile(snapshot.meta[f"{name}.json"].version - 1)

    publish_forged(fleet, "snapshot", back, ROLES["snapshot"])
    with refused(Code.ROLLBACK):
        device.refresh()


def _role_of(name: str) -> tuple[Role, str]:
    role, _, product = name.partition("-")
    return Role(role), product


def test_a_snapshot_that_knows_a_role_no_more_is_refused(fleet: Fleet, device: TufSource) -> None:
    def forget(snapshot: Any) -> None:  # noqa: ANN401 - tuf's
        del snapshot.meta["bundles-door.json"]

    publish_forged(fleet, "snapshot", forget, ROLES["snapshot"])
    with refused(Code.MALFORMED):
        device.refresh()


def test_a_root_that_leaves_one_out_is_refused(fleet: Fleet, device: TufSource) -> None:
    metadata = Published(fleet.folder).newest("root")
    metadata.signed.version = 3
    fleet.put("root", metadata, ROLES["root"])
    fleet.file("root", 3).rename(fleet.file("root", 2))
    with refused(Code.ROLLBACK):
        device.refresh()


def test_the_first_root_in_the_place_of_the_next_is_refused(
    fleet: Fleet, device: TufSource
) -> None:
    shutil.copy(fleet.file("root", 1), fleet.file("root", 2))
    with refused(Code.ROLLBACK):
        device.refresh()


# Metadata that do not belong together


@pytest.mark.parametrize("name", ["snapshot", *DELEGATED])
def test_older_metadata_in_the_place_of_new_ones_are_refused(
    fleet: Fleet, device: TufSource, name: str
) -> None:
    before = fleet.newest(name).read_bytes()
    fleet.repository().touch() if name == "snapshot" else fleet.repository().renew(*_role_of(name))
    fleet.newest(name).write_bytes(before)
    with refused(Code.DIGEST):
        device.refresh()


@pytest.mark.parametrize("name", DELEGATED)
def test_metadata_of_two_times_do_not_go_together_even_for_a_thief_of_the_online_keys(
    fleet: Fleet, device: TufSource, name: str
) -> None:
    before = fleet.newest(name).read_bytes()
    fleet.repository().renew(*_role_of(name))
    renewed = fleet.newest(name)
    fleet.lead_to(name, exact=False)
    renewed.write_bytes(before)
    with refused(Code.ROLLBACK):
        device.refresh()


def test_a_snapshot_of_another_version_than_its_name_is_refused(
    fleet: Fleet, device: TufSource
) -> None:
    before = fleet.newest("snapshot").read_bytes()
    fleet.repository().touch()
    renewed = fleet.newest("snapshot")
    fleet.lead_to_snapshot(Metadata.from_bytes(renewed.read_bytes()).signed.version)
    renewed.write_bytes(before)
    with refused(Code.ROLLBACK):
        device.refresh()


# Bytes that were cut off or changed


@pytest.mark.parametrize("name", ROLES)
def test_metadata_cut_at_every_tenth_byte_are_refused(fleet: Fleet, name: str) -> None:
    path = _first_seen(fleet, name)
    whole = path.read_bytes()
    for end in range(0, len(whole), 10):
        link = Tampered(fleet.folder, path, whole[:end])
        with refused(Code.MALFORMED, Code.DIGEST):
            fleet.device(link).refresh()
    fleet.check_unharmed()


@pytest.mark.parametrize("name", ROLES)
def test_a_flipped_bit_in_metadata_changes_nothing_that_is_believed(
    fleet: Fleet, name: str
) -> None:
    path = _first_seen(fleet, name)
    whole, honest = path.read_bytes(), _fresh_offer(fleet)
    found: list[Code] = []
    for place in range(0, len(whole), 53):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 7
        try:
            offer = fleet.device(Tampered(fleet.folder, path, bytes(changed))).refresh()
        except Refusal as refusal:
            found.append(refusal.code)
        else:
            assert same(offer, honest)  # one signature of three, or the case of its digits
            assert place > whole.index(b'"signatures"')
            assert name in {"root", "timestamp"}
        shutil.rmtree(fleet.home / "state")
    assert set(found) <= {Code.MALFORMED, Code.DIGEST, Code.SIGNATURE, Code.ROLLBACK}
    assert len(found) > len(whole) // 53 // 2


def _first_seen(fleet: Fleet, name: str) -> Path:
    """The file of a role that a new device fetches; of root, the second."""
    if name == "root":
        fleet.repository().renew(Role.ROOT)
    return fleet.newest(name)


def _fresh_offer(fleet: Fleet) -> Offer:
    offer = fleet.device().refresh()
    shutil.rmtree(fleet.home / "state")
    return offer


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 100,
        b"{}",
        b"[]",
        b"[" * 10_000,
        b'{"signed":1e999}',
        b"9" * 10_000,
        b'{"signatures":[],"signed":{"_type":"timestamp","version":-1}}',
        "{\N{SNOWMAN}}".encode("utf-16"),
    ],
    ids=["none", "zeros", "empty", "list", "deep", "infinite", "long", "negative", "utf-16"],
)
@pytest.mark.parametrize("name", ["root", "timestamp"])
def test_what_is_no_metadata_is_refused(
    fleet: Fleet, device: TufSource, name: str, text: bytes
) -> None:
    version = 2 if name == "root" else 0
    fleet.file(name, version).write_bytes(text)
    with refused(Code.MALFORMED):
        device.refresh()


def test_metadata_of_another_role_are_refused(fleet: Fleet, device: TufSource) -> None:
    shutil.copy(fleet.newest("snapshot"), fleet.newest("timestamp"))
    with refused(Code.MALFORMED):
        device.refresh()


# What a thief of a product's online keys signs


def _artefact(path: str, digest: str = "c" * 64, **custom: object) -> TargetFile:
    about = {"release": "a" * 64, "base": "b" * 64, "memory": 1} | custom
    target = TargetFile(10, {"sha256": digest}, path)
    target.unrecognized_fields["custom"] = about
    return target


_PATH = "deltas/door/2/full.hwcu"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (_artefact("bundles/door/3/bundle.json"), Code.NOT_SIGNED),
        (_artefact("deltas/lamp/3/full.hwcu"), Code.NOT_SIGNED),
        (_artefact("rollout/door.json"), Code.NOT_SIGNED),
        (_artefact("deltas/door/../full.hwcu"), Code.NOT_SIGNED),
        (_artefact("deltas/door/2/../../x.hwcu"), Code.NOT_SIGNED),
        (_artefact("/etc/passwd"), Code.NOT_SIGNED),
        (_artefact("deltas/door//x.hwcu"), Code.NOT_SIGNED),
        (_artefact("deltas/door/2/\x1b[2J.hwcu"), Code.NOT_SIGNED),
        (_artefact(_PATH, digest="../../../etc/cron.d/x"), Code.MALFORMED),
        (_artefact(_PATH, digest="A" * 64), Code.MALFORMED),
        (_artefact(_PATH, digest="a" * 64 + "\n"), Code.MALFORMED),
        (_artefact(_PATH, base="../x"), Code.MALFORMED),
        (_artefact(_PATH, release=""), Code.MALFORMED),
        (_artefact(_PATH, memory=-1), Code.MALFORMED),
        (_artefact(_PATH, memory=True), Code.MALFORMED),
        (_artefact(_PATH, memory=[]), Code.MALFORMED),
        (TargetFile(10, {"sha256": "a" * 64}, _PATH), Code.MALFORMED),
        (TargetFile(10, {"sha512": "a" * 128}, _PATH), Code.MALFORMED),
    ],
    ids=[
        "bundle",
        "other product",
        "rollout",
        "up",
        "up and up",
        "absolute",
        "double slash",
        "terminal",
        "digest up",
        "digest case",
        "digest line",
        "base up",
        "no release",
        "memory below 0",
        "memory true",
        "memory list",
        "undescribed",
        "no sha256",
    ],
)
def test_a_delta_key_signs_nothing_but_deltas(
    fleet: Fleet, device: TufSource, target: TargetFile, code: Code
) -> None:
    def add(deltas: Any) -> None:  # noqa: ANN401 - tuf's
        deltas.targets[target.path] = target

    publish_forged(fleet, "deltas-door", add, ROLES["deltas-door"])
    with refused(code):
        device.refresh()


@pytest.mark.parametrize(
    "custom",
    [
        None,
        {},
        {"seq": -1},
        {"seq": "2"},
        {"seq": True},
        {"sec_epoch": -1},
        {"version": "\x1b[2J"},
        {"size": -1},
        {"size": "1"},
        {"size": True},
    ],
    ids=str,
)
def test_a_bundle_that_is_described_by_something_else_is_refused(
    fleet: Fleet, device: TufSource, custom: dict[str, object] | None
) -> None:
    def add(bundles: Any) -> None:  # noqa: ANN401 - tuf's
        target = TargetFile(10, {"sha256": "a" * 64}, "bundles/door/3/bundle.json")
        about = {"seq": 3, "sec_epoch": 0, "version": "1.3"}
        target.unrecognized_fields["custom"] = about | custom if custom else custom
        bundles.targets[target.path] = target

    publish_forged(fleet, "bundles-door", add, ROLES["bundles-door"])
    with refused(Code.MALFORMED):
        device.refresh()


def test_a_bundle_tells_its_size_unless_it_was_published_before_they_did(
    fleet: Fleet, device: TufSource
) -> None:
    assert [step.size for step in device.refresh().steps] == [1, 2]  # as world.release makes them

    def take_away(bundles: Any) -> None:  # noqa: ANN401 - tuf's
        for target in bundles.targets.values():
            del target.custom["size"]

    publish_forged(fleet, "bundles-door", take_away, ROLES["bundles-door"])
    assert [step.size for step in device.refresh().steps] == [0, 0]


@pytest.mark.parametrize(
    ("text", "served", "code"),
    [
        (b"{}", None, Code.MALFORMED),
        (b"not JSON", None, Code.MALFORMED),
        (Rollout(share=1).text().replace(b'"share":1', b'"share":10001'), None, Code.MALFORMED),
        (Rollout(share=1).text().replace(b'"share":1', b'"share":-1'), None, Code.MALFORMED),
        (Rollout(share=1).text().replace(b'"share":1', b'"share":true'), None, Code.MALFORMED),
        (Rollout(share=1).text(), Rollout(share=9).text(), Code.DIGEST),
        (Rollout(share=1).text(), Rollout(share=1).text()[:-1], Code.DIGEST),
        (Rollout(share=1).text(), Rollout(share=1).text() + b" ", Code.LIMIT),
    ],
    ids=["empty", "text", "over", "under", "true", "swapped", "shorter", "longer"],
)
def test_a_rollout_that_means_nothing_or_was_changed_is_refused(
    fleet: Fleet, device: TufSource, text: bytes, served: bytes | None, code: Code
) -> None:
    target = TargetFile.from_data(rollout_path("door"), text, ["sha256"])
    name = f"{target.hashes['sha256']}.door.json"
    (fleet.folder / TARGETS / "rollout" / name).write_bytes(text if served is None else served)

    def change(rollout: Any) -> None:  # noqa: ANN401 - tuf's
        rollout.targets = {target.path: target}

    publish_forged(fleet, "rollout-door", change, ROLES["rollout-door"])
    with refused(code):
        device.refresh()


def test_a_timestamp_that_does_not_say_when_it_was_signed_is_refused(
    fleet: Fleet, device: TufSource
) -> None:
    def forget(timestamp: Any) -> None:  # noqa: ANN401 - tuf's
        timestamp.unrecognized_fields.clear()

    publish_forged(fleet, "timestamp", forget, ROLES["timestamp"])
    with refused(Code.MALFORMED):
        device.refresh()


# Products


@pytest.mark.parametrize(
    ("product", "code"),
    [
        ("lamp", Code.NOT_SIGNED),  # nothing is published
        ("bell", Code.NOT_SIGNED),
        ("door-1", Code.NOT_SIGNED),
        ("../door", Code.PATH),
        ("", Code.PATH),
        ("door/x", Code.PATH),
        ("DOOR", Code.PATH),
    ],
)
def test_another_product_is_refused(fleet: Fleet, product: str, code: Code) -> None:
    with refused(code):
        fleet.device(product=product).refresh()


def test_a_product_that_was_withdrawn_is_not_believed_from_memory(
    fleet: Fleet, device: TufSource
) -> None:
    def withdraw(targets: Any) -> None:  # noqa: ANN401 - tuf's
        del targets.delegations.roles["bundles-door"]

    publish_forged(fleet, "targets", withdraw, ROLES["targets"])
    with refused(Code.NOT_SIGNED):
        device.refresh()


# A server that means harm


def test_endless_metadata_are_refused(device: TufSource, server: Server) -> None:
    def endless(handler: Handler, _: bytes) -> None:
        handler.reply(200, b"{", length=1 << 40)
        while not server.over.is_set():
            handler.send(b" " * (1 << 16))

    server.odd = endless
    with refused(Code.LIMIT):
        device.refresh()
    assert server.sent < 64 << 20


@pytest.mark.parametrize("status", [301, 302, 307, 400, 500, 503])
def test_an_answer_that_is_none_is_refused(device: TufSource, server: Server, status: int) -> None:
    server.odd = lambda handler, data: handler.reply(status, data, {"Location": server.address})
    with refused(Code.NETWORK):
        device.refresh()
    assert ("/", 0) not in server.asked  # nothing was followed


@pytest.mark.parametrize("status", [403, 404])
def test_a_repository_that_is_gone_is_refused(
    device: TufSource, server: Server, status: int
) -> None:
    server.odd = lambda handler, _: handler.reply(status, b"")
    with refused(Code.NETWORK):
        device.refresh()


def test_a_state_that_was_damaged_is_made_again(fleet: Fleet, device: TufSource) -> None:
    for path in (fleet.home / "state").glob("*.json"):
        path.write_bytes(path.read_bytes()[:40])
    assert device.refresh().newest.seq == 2
