"""What a repository offers a device, after all signatures were checked."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..progress import Progress

BUCKETS = 10_000


def bucket(salt: str, device: str) -> int:
    """Which of the 10,000 equal parts of the fleet a device is in, as long as the salt is kept.

    A share of s takes in the buckets below s, so that a growing share never drops a device; a new
    salt for each release spares the same devices from always being first.
    """
    return int.from_bytes(hashlib.sha256((salt + device).encode()).digest()) % BUCKETS


@dataclass(frozen=True, slots=True)
class Artefact:
    """An update file that leads to a release.

    Attributes:
        path: Its name in the repository.
        size: Bytes to fetch.
        sha256: Of those bytes.
        base: Digest of the release it starts from; empty where it needs none.
        memory: Bytes that applying it takes, as its maker measured them.
    """

    path: str
    size: int
    sha256: str
    base: str
    memory: int


@dataclass(frozen=True, slots=True)
class Step:
    """A release and the update files that lead there.

    Attributes:
        release: Digest of its `bundle.json`, signed by the role of the product's bundles.
        product: As in `bundle.json`.
        version: As in `bundle.json`.
        seq: As in `bundle.json`.
        sec_epoch: As in `bundle.json`.
        artefacts: Signed by the role of the product's deltas.
        size: Bytes of its files; 0 where its publisher did not say.
    """

    release: str
    product: str
    version: str
    seq: int
    sec_epoch: int
    artefacts: tuple[Artefact, ...]
    size: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """What signed metadata say of a product now.

    Attributes:
        steps: All its releases, by `seq`.
        share: Parts per 10,000 of the fleet that are to have the newest; `halted` stops it.
        salt: What the bucket of a device is hashed with.
        halted: Nobody is to begin an update to the newest.
        trusted_time: Seconds since 1970 of the newest signed metadata: the clock is not before it.
    """

    steps: tuple[Step, ...]
    share: int
    salt: str
    halted: bool
    trusted_time: int

    @property
    def newest(self) -> Step:
        """The last release."""
        return self.steps[-1]

    def admits(self, device: str) -> bool:
        """Whether this device is to begin an update to the newest release now."""
        return not self.halted and bucket(self.salt, device) < self.share


class Source(Protocol):
    """Where offers and update files come from: a server or a folder, never trusted."""

    def refresh(self) -> Offer:
        """Fetch and check all metadata.

        Raises:
            Refusal: Any signature, date, version or digest is wrong; nothing was taken over.
        """
        ...

    def fetch(self, artefact: Artefact, into: Path, progress: Progress) -> None:
        """Bring an update file to `into`, going on where an earlier try ended, and check it.

        Raises:
            Refusal: It could not be had, or has not its size and digest (it is then removed).
        """
        ...
