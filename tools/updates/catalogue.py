"""A product's releases in a repository of this machine: what is offered, and each `bundle.json`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...toolchain.errors import InputError
from ...toolchain.output import scratch_folder
from ...toolchain.update.limits import LIMITS
from ...toolchain.update.offer import Offer, Step
from ...toolchain.update.refusal import Code, Refusal, short
from ...toolchain.update.release import Release
from ...toolchain.update.trust.client import TufSource
from ...toolchain.update.trust.link import Folder
from ...toolchain.update.trust.roles import METADATA, TARGETS, bundle_path, prefixed

_FIRST_ROOT = "1.root.json"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What signed metadata offer, and the releases by digest."""

    offer: Offer
    releases: Mapping[str, Release]


def read_catalogue(repo: Path, product: str) -> Catalogue:
    """Check the metadata as a new device of the product would, and read every release in them.

    Raises:
        InputError: The folder holds no repository.
        Refusal: Anything in it is not as it was signed.
    """
    root = repo / METADATA / _FIRST_ROOT
    try:
        trusted = root.read_bytes()
    except OSError as cause:
        hint = "name the folder that hwc repo init made"
        raise InputError(f"{root}: {cause.strerror}", hint) from cause
    with scratch_folder("hwc-fleet-") as state:
        offer = TufSource(Folder(repo), product, state, trusted).refresh()
    return Catalogue(offer, {step.release: _release(repo, step) for step in offer.steps})


def _release(repo: Path, step: Step) -> Release:
    path = repo / TARGETS / prefixed(bundle_path(step.product, step.seq), step.release)
    try:
        with path.open("rb") as file:
            text = file.read(LIMITS.release + 1)
    except OSError as cause:
        what = f"{path}: {cause.strerror}"
        raise Refusal(Code.NOT_SIGNED, what, "bring it back, or publish again") from cause
    found = hashlib.sha256(text).hexdigest()
    if found != step.release:
        what = f"{path} has the digest {short(found)}, not {short(step.release)}"
        raise Refusal(Code.DIGEST, what, "bring it back, or publish again")
    return Release.parse(text)
