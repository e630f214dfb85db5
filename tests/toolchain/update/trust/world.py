"""A repository, its keys, a device that knows its root, and what a thief of keys can do."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hwc.toolchain.update.limits import LIMITS
from hwc.toolchain.update.offer import Offer
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Compatibility, Release, ReleaseFile
from hwc.toolchain.update.trust.client import TufSource
from hwc.toolchain.update.trust.keys import Keyring
from hwc.toolchain.update.trust.link import Body, Folder, Link
from hwc.toolchain.update.trust.published import Published
from hwc.toolchain.update.trust.repository import NewArtefact, Repository
from hwc.toolchain.update.trust.roles import METADATA, Role
from hwc.toolchain.update.trust.rollout import Rollout
from tuf.api.metadata import Metadata, MetaFile

PASSPHRASE = "correct horse"  # noqa: S105 - of keys that are made for each run
NOW = datetime.now(UTC).replace(microsecond=0)
PAST = NOW - timedelta(days=1)
PRODUCTS = ("door", "lamp")
FULL, DELTA = b"x" * 20_000, b"y" * 3000
SIGNED_OFTEN = [
    (Role.ROOT, ""),
    (Role.TARGETS, ""),
    *((role, "door") for role in (Role.BUNDLES, Role.DELTAS, Role.ROLLOUT)),
]
Change = Callable[[Any], object]


def release(seq: int, product: str = "door", epoch: int = 0) -> Release:
    """A release of one file."""
    files = (ReleaseFile("model.onnx", seq, "a" * 64),)
    return Release(product, f"1.{seq}", seq, epoch, Compatibility(), None, {}, files)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A repository with all of its keys.

    Attributes:
        home: Folder of `keys`, `fleet` and the files to publish.
        later: The same repository, some weeks on; nobody attacks it.
    """

    home: Path
    later: Path

    @property
    def folder(self) -> Path:
        """What is served."""
        return self.home / "fleet"

    @property
    def keyring(self) -> Keyring:
        """All keys."""
        return Keyring(self.home / "keys", lambda _: PASSPHRASE)

    def repository(self, now: datetime = NOW, keyring: Keyring | None = None) -> Repository:
        """The server's side."""
        return Repository(self.folder, keyring or self.keyring, now)

    def device(self, link: Link | None = None, product: str = "door") -> TufSource:
        """A device with a folder of its own for what it has seen."""
        root = self.repository().root_text()
        return TufSource(link or Folder(self.folder), product, self.home / "state", root)

    def publish(self, seq: int, *bases: Release) -> Release:
        """Publish a release with its update files."""
        files = {"": FULL} | {base.digest: DELTA for base in bases}
        new = []
        for base, data in files.items():
            path = self.home / f"{seq}-{base[:8] or 'full'}"
            path.write_bytes(data + bytes([seq]))
            new.append(NewArtefact(path, base, 1 << 20))
        assert self.repository().publish(release(seq), new) == ()
        return release(seq)

    def forge(self, name: str, change: Change, keys: Sequence[str]) -> None:
        """Write the next version of a role's metadata, changed, signed with these keys alone."""
        metadata = Published(self.folder).newest(name)
        metadata.signed.version += 1
        change(metadata.signed)
        self.put(name, metadata, keys)

    def put(self, name: str, metadata: "Metadata[Any]", keys: Sequence[str]) -> None:
        """Sign metadata and write them where a device looks for them."""
        metadata.signatures.clear()
        for key in keys:
            signer = self.keyring.signer(key)
            assert signer is not None
            metadata.sign(signer, append=True)
        self.file(name, metadata.signed.version).write_bytes(metadata.to_bytes())

    def file(self, name: str, version: int) -> Path:
        """Where metadata lie."""
        known = Published(self.folder)
        return known.timestamp_path() if name == "timestamp" else known.path(name, version)

    def newest(self, name: str) -> Path:
        """The file of a role's metadata that a device is led to."""
        return self.file(name, Published(self.folder).newest(name).signed.version)

    def lead_to(self, *names: str, exact: bool = True) -> None:
        """Let a thief of the online keys lead devices to the highest version of these roles."""

        def note(snapshot: Any) -> None:  # noqa: ANN401 - tuf's
            for name in names:
                files = (self.folder / METADATA).glob(f"*.{name}.json")
                last = max(files, key=lambda path: int(path.name.split(".")[0]))
                version, data = int(last.name.split(".")[0]), last.read_bytes()
                about = MetaFile.from_data(version, data, ["sha256"])
                snapshot.meta[f"{name}.json"] = about if exact else MetaFile(version)

        self.forge("snapshot", note, ["snapshot-1"])
        self.lead_to_snapshot()

    def lead_to_snapshot(self, version: int = 0) -> None:
        """The same, to a snapshot: the one that follows the last one published."""

        def note(timestamp: Any) -> None:  # noqa: ANN401 - tuf's
            timestamp.snapshot_meta = MetaFile(version or timestamp.snapshot_meta.version + 1)

        self.forge("timestamp", note, ["timestamp-1"])

    def check_unharmed(self) -> None:
        """Whether the device, after whatever it went through, takes what is honest."""
        assert self.device(Folder(self.later)).refresh().newest.seq == 2


def make_fleet(home: Path) -> Fleet:
    """Two releases of a door, none of a lamp; the later copy has signed everything again."""
    fleet = Fleet(home, home / "later")
    fleet.keyring.create_all(PRODUCTS)
    fleet.repository().init(PRODUCTS)
    fleet.publish(2, fleet.publish(1))
    fleet.repository().set_rollout("door", Rollout(release(2).digest, 500, "salt"))
    shutil.copytree(fleet.folder, fleet.later)
    later = Repository(fleet.later, fleet.keyring, NOW)
    for _ in range(2):
        for role, product in SIGNED_OFTEN:
            later.renew(role, product)
    return fleet


@contextmanager
def refused(*codes: Code) -> Iterator[None]:
    """What is done here has to be refused with one of these codes, and without a secret."""
    with pytest.raises(Refusal) as caught:
        yield
    text = f"{caught.value} {caught.value!r}"
    assert caught.value.code in codes, text
    assert PASSPHRASE not in text
    assert "PRIVATE" not in text


def same(left: Offer, right: Offer) -> bool:
    """Whether two offers say the same of the product."""
    return left.steps == right.steps and (left.share, left.salt) == (right.share, right.salt)


@dataclass(frozen=True, slots=True)
class Tampered:
    """A folder in which one file holds something else; a `Link`."""

    folder: Path
    path: Path
    data: bytes

    @contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[Body]:
        """See `Link.open`."""
        if self.folder / path == self.path:
            yield Body(start, iter((self.data[start:],)))
            return
        with Folder(self.folder).open(path, start) as body:
            yield body


SMALL = type(LIMITS)(rate=20_000, patience=0.2)
