"""The device's side of a repository: nothing is believed but what enough known keys signed."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from ...progress import Progress
from ..limits import LIMITS, Limits
from ..offer import Artefact, Offer
from ..refusal import Code, Refusal
from .download import Download
from .link import Link, MissingError
from .listed import check_paths, digest_of, read_artefacts, read_step
from .roles import (
    METADATA,
    SIGNED_AT,
    TARGETS,
    Role,
    check_product,
    prefixed,
    role_name,
    rollout_path,
)
from .rollout import Rollout

ROOT = "root.json"  # what a device was given to trust, in its own folder
_TIMESTAMP = 1 << 14  # bytes; the only metadata whose length nobody signs
_HISTORY = "root_history"  # tuf's folder of the roots that it has seen
_BASE = "repository:"  # what stands for the link in tuf's addresses

logging.getLogger("tuf").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class TufSource:
    """A repository as a device sees it; an `offer.Source`.

    Attributes:
        link: How it is reached.
        product: What this device runs.
        state: Folder of metadata that was checked before: what makes older ones known as such.
        root: The root that this device was given to trust.
        limits: The largest metadata that will do.
        download: Makes, of the link, what brings update files.
    """

    link: Link
    product: str
    state: Path
    root: bytes
    limits: Limits = LIMITS
    download: Callable[[Link], Download] = Download

    def refresh(self) -> Offer:
        """See `offer.Source.refresh`."""
        check_product(self.product)
        self._check_folders()
        self.state.mkdir(parents=True, exist_ok=True)
        try:
            updater = self._updater()
            updater.refresh()
            for role in (Role.BUNDLES, Role.DELTAS, Role.ROLLOUT):
                updater.get_targetinfo(_any_path(role, self.product))
            offer = self._offer()
        except exceptions.RepositoryError as cause:
            raise _refused(cause) from cause
        except exceptions.DownloadError as cause:
            raise _unreached(cause) from cause
        except OSError as cause:
            raise Refusal(Code.DISK, f"{self.state}: {cause.strerror}") from cause
        _sync(self.state)
        return offer

    def fetch(self, artefact: Artefact, into: Path, progress: Progress) -> None:
        """See `offer.Source.fetch`."""
        name = f"{TARGETS}/{prefixed(artefact.path, artefact.sha256)}"
        self.download(self.link).fetch(name, artefact, into, progress)

    def _check_folders(self) -> None:
        """Refuse links in the place of folders, which tuf would follow."""
        for folder in (self.state, self.state / _HISTORY):
            if folder.is_symlink():
                hint = "remove it; somebody put it there"
                raise Refusal(Code.PATH, f"{folder}: not a folder", hint)

    def _updater(self) -> Updater:
        most = self.limits.metadata
        config = UpdaterConfig(
            root_max_length=most,
            timestamp_max_length=min(most, _TIMESTAMP),
            snapshot_max_length=most,
            targets_max_length=most,
            app_user_agent="hwc",
        )
        return Updater(
            metadata_dir=str(self.state),
            metadata_base_url=f"{_BASE}{METADATA}/",
            fetcher=_Fetcher(self.link),
            config=config,
            bootstrap=self.root,
        )

    def _offer(self) -> Offer:
        """What the metadata say that were just checked."""
        deltas: dict[str, list[Artefact]] = {}
        for release, artefact in read_artefacts(self._targets(Role.DELTAS)):
            deltas.setdefault(release, []).append(artefact)
        steps = [
            read_step(target, self.product, deltas.get(digest_of(target), ()))
            for target in self._targets(Role.BUNDLES).values()
        ]
        if not steps:
            raise Refusal(Code.NOT_SIGNED, f"no release of {self.product} is published")
        rollout = self._rollout()
        signed_at = self._metadata(Role.TIMESTAMP.value).signed.unrecognized_fields.get(SIGNED_AT)
        if not isinstance(signed_at, int):
            raise Refusal(Code.MALFORMED, f"the timestamp has no {SIGNED_AT}")
        steps.sort(key=lambda step: step.seq)
        about_newest = rollout.release in {"", steps[-1].release}
        return Offer(
            tuple(steps),
            rollout.share if about_newest else 0,  # nobody has been let at the newest yet
            rollout.salt,
            rollout.halted,
            signed_at,
        )

    def _rollout(self) -> Rollout:
        target = self._targets(Role.ROLLOUT).get(rollout_path(self.product))
        if target is None:
            return Rollout()
        name = f"{TARGETS}/{prefixed(target.path, digest_of(target))}"
        text = _read(self.link, name, min(target.length, self.limits.metadata))
        target.verify_length_and_hashes(text)
        return Rollout.parse(text)

    def _targets(self, role: Role) -> dict[str, TargetFile]:
        """What a role of the product lists.

        Raises:
            Refusal: There is no such role any more, or it lists what it may not.
        """
        name = role_name(role, self.product)
        delegations = self._metadata(Role.TARGETS.value).signed.delegations
        if delegations is None or name not in (delegations.roles or {}):
            hint = "check the product's name, or publish it there"
            raise Refusal(Code.NOT_SIGNED, f"the repository has no role {name}", hint)
        signed: Targets = self._metadata(name).signed
        check_paths(role, self.product, signed.targets)
        return dict(signed.targets)

    def _metadata(self, name: str) -> "Metadata[Any]":
        """Metadata that were checked and kept by the updater in this very refresh."""
        return Metadata.from_file(str(self.state / f"{name}.json"))


class _Fetcher(FetcherInterface):
    """Gives tuf files of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with self._link.open(url.removeprefix(_BASE)) as body:
                yield from body.chunks
        except MissingError as cause:
            raise exceptions.DownloadHTTPError(cause.message, 404) from cause
        except Refusal as cause:
            raise exceptions.DownloadError(cause.message) from cause


def _any_path(role: Role, product: str) -> str:
    """A path of a role: to look it up is to have its metadata fetched and checked."""
    return rollout_path(product) if role is Role.ROLLOUT else f"{role}/{product}/0/{_END[role]}"


_END = {Role.BUNDLES: "bundle.json", Role.DELTAS: "full.hwcu"}


def _read(link: Link, name: str, most: int) -> bytes:
    data = b""
    with link.open(name) as body:
        for chunk in body.chunks:
            data += chunk
            if len(data) > most:
                raise Refusal(Code.LIMIT, f"{name}: over the {most} B that were signed")
    return data


def _refused(cause: exceptions.RepositoryError) -> Refusal:
    """The code of what tuf found."""
    found = " ".join(str(cause).split())
    match cause:
        case exceptions.ExpiredMetadataError():
            hint = "someone may be holding newer ones back, or this clock is wrong"
            return Refusal(Code.EXPIRED, f"metadata ran out: {found}", hint)
        case exceptions.BadVersionNumberError():
            return Refusal(Code.ROLLBACK, f"metadata of another version than is due: {found}")
        case exceptions.UnsignedMetadataError():
            return Refusal(Code.SIGNATURE, f"too few signatures: {found}")
        case exceptions.LengthOrHashMismatchError():
            return Refusal(Code.DIGEST, f"metadata do not belong together: {found}")
    return Refusal(Code.MALFORMED, f"metadata cannot be read: {found[:200]}")


def _unreached(cause: exceptions.DownloadError) -> Refusal:
    if isinstance(cause.__cause__, Refusal):
        return cause.__cause__
    found = " ".join(str(cause).split())
    if isinstance(cause, exceptions.DownloadLengthMismatchError):
        return Refusal(Code.LIMIT, f"metadata are too large: {found}")
    return Refusal(Code.NETWORK, found, "check the address and the network; it can be tried again")


def _sync(folder: Path) -> None:
    """Have what was learnt survive a power cut: older metadata are then known as older."""
    for root, _, names in os.walk(folder):
        for place in (*(Path(root) / name for name in names), Path(root)):
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def first_root(text: bytes) -> str:
    """The keys of a root that a device is to be given, for a person to compare.

    Raises:
        Refusal: It is no root.
    """
    try:
        signed = json.loads(text)["signed"]
        keys = signed["roles"][Role.ROOT]["keyids"]
    except (ValueError, KeyError, TypeError) as cause:
        raise Refusal(Code.MALFORMED, "not a root.json", "take it from the repository") from cause
    return ", ".join(str(key)[:12] for key in keys)
