"""What a repository's timestamp leads to, and nothing that a cut publication left beside it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from ..refusal import Code, Refusal
from .roles import METADATA, TARGETS, Role, prefixed

_RESTORE = "restore the repository from a copy"


@dataclass(frozen=True, slots=True)
class Published:
    """The signed files that a device would find now.

    Attributes:
        folder: The repository.
    """

    folder: Path

    def exists(self) -> bool:
        """Whether there is a repository: its first root is written last."""
        return self.path(Role.ROOT, 1).exists()

    def newest(self, name: str) -> "Metadata[Any]":
        """The metadata of a role, as a device would be led to them.

        Raises:
            Refusal: There are none, or they cannot be read.
        """
        match name:
            case Role.ROOT:
                return self._read(self.path(name, self._last_root()))
            case Role.TIMESTAMP:
                return self._read(self.timestamp_path())
            case Role.SNAPSHOT:
                return self._read(self.path(name, self._timestamp().snapshot_meta.version))
        known = self._snapshot().meta.get(f"{name}.json")
        if known is None:
            raise Refusal(Code.NOT_SIGNED, f"{self.folder}: no role {name} here")
        return self._read(self.path(name, known.version))

    def root(self) -> Root:
        """The newest root."""
        signed: Root = self.newest(Role.ROOT).signed
        return signed

    def targets(self) -> Targets:
        """Who may sign what of a product."""
        signed: Targets = self.newest(Role.TARGETS).signed
        return signed

    def path(self, name: str, version: int) -> Path:
        """Where metadata lie."""
        return self.folder / METADATA / f"{version}.{name}.json"

    def timestamp_path(self) -> Path:
        """Where the timestamp lies: the only metadata that are written over."""
        return self.folder / METADATA / "timestamp.json"

    def target_path(self, target: TargetFile) -> Path:
        """Where a target lies."""
        return self.folder / TARGETS / prefixed(target.path, target.hashes["sha256"])

    def target(self, target: TargetFile) -> bytes:
        """What a small target holds.

        Raises:
            Refusal: It is missing, or not what was signed.
        """
        path = self.target_path(target)
        try:
            data = path.read_bytes()
            target.verify_length_and_hashes(data)
        except OSError as cause:
            raise Refusal(Code.STATE, f"{path}: {cause.strerror}", _RESTORE) from cause
        except LengthOrHashMismatchError as cause:
            raise Refusal(Code.DIGEST, f"{path}: not what was signed", _RESTORE) from cause
        return data

    def _timestamp(self) -> Timestamp:
        signed: Timestamp = self.newest(Role.TIMESTAMP).signed
        return signed

    def _snapshot(self) -> Snapshot:
        signed: Snapshot = self.newest(Role.SNAPSHOT).signed
        return signed

    def _last_root(self) -> int:
        version = 1
        while self.path(Role.ROOT, version + 1).exists():
            version += 1
        return version

    def _read(self, path: Path) -> "Metadata[Any]":
        if not self.exists():
            hint = "make it with hwc repo init"
            raise Refusal(Code.STATE, f"{self.folder}: no repository here", hint)
        return read_metadata(path)


def read_metadata(path: Path) -> "Metadata[Any]":
    """Read a file of metadata, without a look at its signatures.

    Raises:
        Refusal: It cannot be read.
    """
    try:
        return Metadata.from_file(os.fspath(path))
    except (RepositoryError, OSError) as cause:
        reason = " ".join(str(cause).split())[:160]
        raise Refusal(Code.MALFORMED, f"{path}: {reason}", _RESTORE) from cause
