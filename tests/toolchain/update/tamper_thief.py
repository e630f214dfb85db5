"""What someone between a repository and a device can send: with no key, some, or all of them."""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from hwc.toolchain.update.codec.method import Method
from hwc.toolchain.update.delta import text
from hwc.toolchain.update.delta.header import (
    BLOCK,
    DIGEST,
    DTYPES,
    FILE,
    NO_FILE,
    SEGMENT,
    Header,
    Op,
    Strategy,
)
from hwc.toolchain.update.limits import LIMITS
from hwc.toolchain.update.release import Dtype
from hwc.toolchain.update.trust.link import Body, Folder
from hwc.toolchain.update.trust.published import Published
from hwc.toolchain.update.trust.roles import (
    METADATA,
    TARGETS,
    bundle_path,
    delta_path,
    prefixed,
)
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from .tamper_world import INSTALLED, NEW, PRODUCT, Ground

PRELUDE = struct.Struct("<4sBI32s")  # of an update file: magic, version, size and SHA-256
STRATEGY = 32 + 32  # where a header has its name, which is for people to read
FIXED = STRATEGY + 1 + 5 * 4  # bytes of a header before its tables
KEYS = {
    "root": ("root-1", "root-2"),
    "targets": ("targets-1",),
    "snapshot": ("snapshot-1",),
    "timestamp": ("timestamp-1",),
    "bundles-door": ("bundles-door-1", "bundles-door-2"),
    "deltas-door": ("deltas-door-1",),
    "rollout-door": ("rollout-door-1",),
}
NONE: Mapping[str, bytes] = {}
_TOP = {"root", "timestamp"}  # what no snapshot lists
Change = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Overlay:
    """A repository in which some files hold something else; a `Link`.

    Attributes:
        folder: The repository.
        files: By their path in it.
    """

    folder: Path
    files: Mapping[str, bytes]

    @contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[Body]:
        """See `Link.open`."""
        if path in self.files:
            yield Body(start, iter((self.files[path][start:],)))
            return
        with Folder(self.folder).open(path, start) as body:
            yield body


@dataclass(frozen=True, slots=True)
class Text:
    """Metadata as they are sent."""

    version: int
    data: bytes

    @property
    def about(self) -> MetaFile:
        """What another role says of them."""
        return MetaFile.from_data(self.version, self.data, ["sha256"])


@dataclass(frozen=True, slots=True)
class Thief:
    """Sends what he wants, signed with the keys of whatever roles it takes.

    Attributes:
        ground: What he forges.
        newest: The metadata of each role that devices would be led to.
        signers: Keys by their names, once they were used.
    """

    ground: Ground
    newest: Mapping[str, Text]
    signers: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, ground: Ground) -> "Thief":
        """One who begins with what is published."""
        known = {name: Published(ground.fleet).newest(name) for name in KEYS}
        return cls(ground, {n: Text(m.signed.version, m.to_bytes()) for n, m in known.items()})

    def tampered(self, name: str, data: bytes) -> Overlay:
        """Other bytes in the place of metadata; nothing is signed."""
        return Overlay(self.ground.fleet, {_place(name, self.newest[name].version): data})

    def led_to(self, name: str, data: bytes) -> Overlay:
        """Other bytes in the place of metadata, which snapshot and timestamp say are right."""
        return self._overlay({name: Text(self.newest[name].version, data)}, {})

    def forged(self, changes: Mapping[str, Change], files: Mapping[str, bytes] = NONE) -> Overlay:
        """The next metadata of roles, signed with their keys, and what leads a device to them."""
        return self._overlay({name: self._next(name, c) for name, c in changes.items()}, files)

    def swapped(self, update: bytes, **about: object) -> Overlay:
        """Another update file to release 1.2 in the place of the only one."""
        path = delta_path(PRODUCT, NEW, self._base)

        def swap(deltas: Any) -> None:  # noqa: ANN401 - tuf's
            custom = deltas.targets[path].custom
            deltas.targets[path] = target_of(path, update, {**custom, **about})

        return self.forged({"deltas-door": swap}, files_of(path, update))

    def published(self, text: bytes, update: bytes, **about: object) -> Overlay:
        """A release with an update file to it, for all devices; that takes the offline keys."""
        said = {"seq": NEW + 1, "sec_epoch": 1, "version": "1.3", **about}
        digest = hashlib.sha256(text).hexdigest()
        custom = {"release": digest, "base": self._base, "memory": 1 << 20}
        bundle, delta = bundle_path(PRODUCT, NEW + 1), delta_path(PRODUCT, NEW + 1, self._base)
        bundled, packed = target_of(bundle, text, said), target_of(delta, update, custom)
        changes: dict[str, Change] = {
            "bundles-door": lambda signed: signed.targets.update({bundle: bundled}),
            "deltas-door": lambda signed: signed.targets.update({delta: packed}),
            "rollout-door": lambda signed: signed.targets.clear(),
        }
        return self.forged(changes, files_of(delta, update))

    @property
    def _base(self) -> str:
        return self.ground.releases[INSTALLED].digest

    def _overlay(self, made: dict[str, Text], files: Mapping[str, bytes]) -> Overlay:
        if "snapshot" not in made:
            about = {f"{name}.json": text.about for name, text in made.items() if name not in _TOP}
            made["snapshot"] = self._next("snapshot", lambda signed: signed.meta.update(about))
        if "timestamp" not in made:
            led = made["snapshot"].about
            made["timestamp"] = self._next(
                "timestamp", lambda signed: setattr(signed, "snapshot_meta", led)
            )
        texts = {_place(name, text.version): text.data for name, text in made.items()}
        return Overlay(self.ground.fleet, {**files, **texts})

    def _next(self, name: str, change: Change) -> Text:
        metadata = Metadata.from_bytes(self.newest[name].data)
        metadata.signed.version += 1
        change(metadata.signed)
        metadata.signatures.clear()
        for key in KEYS[name]:
            if key not in self.signers:
                self.signers[key] = self.ground.keyring.signer(key)
            metadata.sign(self.signers[key], append=True)
        return Text(metadata.signed.version, metadata.to_bytes())


@dataclass(frozen=True, slots=True)
class Parts:
    """An update file, taken apart.

    Attributes:
        packed: Its header's bytes.
        payloads: What follows.
    """

    packed: bytes
    payloads: bytes

    @classmethod
    def of(cls, update: bytes) -> "Parts":
        """Take an update file apart."""
        start = PRELUDE.size + PRELUDE.unpack_from(update)[2]
        return cls(update[PRELUDE.size : start], update[start:])

    @classmethod
    def telling(cls, header: Header, payloads: Sequence[bytes]) -> "Parts":
        """Put one together, with the sizes and digests of these payloads."""
        blocks = header.blocks.copy()
        blocks["size"] = [len(payload) for payload in payloads]
        header, data = replace(header, blocks=blocks), b"".join(payloads)
        digests, at = b"", 0
        for _, size in header.chunks():
            digests += hashlib.sha256(data[at : at + size]).digest()[:DIGEST]
            at += size
        return cls(replace(header, digests=digests).pack(), data)

    @property
    def header(self) -> Header:
        """What the header says."""
        return Header.unpack(self.packed, LIMITS, payloads=len(self.payloads))

    @property
    def update(self) -> bytes:
        """The update file, with the digest of this header."""
        digest = hashlib.sha256(self.packed).digest()
        return PRELUDE.pack(b"HWCU", 1, len(self.packed), digest) + self.packed + self.payloads

    def blocks(self) -> list[bytes]:
        """The payload of each block."""
        ends = np.cumsum(self.header.blocks["size"]).tolist()
        return [self.payloads[a:b] for a, b in zip([0, *ends], ends, strict=False)]

    def sections(self) -> list[int]:
        """Where each part of the update file begins."""
        start = PRELUDE.size + len(self.packed)
        tables, digests = PRELUDE.size + FIXED, start - len(self.header.digests)
        ends = np.cumsum(self.header.blocks["size"]).tolist()
        payloads = [start + end for end in (0, *ends[:-1])]
        return [0, 4, 5, 9, PRELUDE.size, tables, digests, *payloads]


def flipped(data: bytes, place: int) -> bytes:
    """The same with the last bit of a byte changed: still text, where it was text."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def crafted(told: bytes, files: Sequence[bytes]) -> bytes:
    """An update file, from no base, to a release whose `bundle.json` and files are these."""
    method, packed = text.encode(told, b"")
    literal, numbers = int(Method.LITERAL), DTYPES.index(Dtype.U8)
    header = Header(
        base="",
        release=hashlib.sha256(told).hexdigest(),
        strategy=Strategy.FULL,
        text=len(told),
        files=np.array([(k, NO_FILE, 1) for k in range(len(files))], FILE),
        segments=np.array([(Op.FRESH, numbers, 0, 0, len(data)) for data in files], SEGMENT),
        blocks=np.array([(method, 0), *((literal, 0) for _ in files)], BLOCK),
        digests=b"",
    )
    return Parts.telling(header, [packed, *files]).update


def target_of(path: str, data: bytes, about: Mapping[str, object]) -> TargetFile:
    """What metadata say of a file."""
    target = TargetFile.from_data(path, data, ["sha256"])
    target.unrecognized_fields["custom"] = dict(about)
    return target


def files_of(path: str, data: bytes) -> Mapping[str, bytes]:
    """A target where a device looks for it."""
    return {f"{TARGETS}/{prefixed(path, hashlib.sha256(data).hexdigest())}": data}


def _place(name: str, version: int) -> str:
    """Where a device looks for metadata."""
    prefix = "" if name == "timestamp" else f"{version}."
    return f"{METADATA}/{prefix}{name}.json"
