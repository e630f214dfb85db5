"""Who signs what in a repository, how many of them it takes, and for how long it holds.

The roles are TUF's (The Update Framework Specification 1.0, section 2.1) with three delegated ones
for each product. A key of `deltas` may be stolen without harm: a delta counts only if what it
rebuilds has the digest that `bundles` signed.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from ..refusal import Code, Refusal

METADATA, TARGETS = "metadata", "targets"  # folders of a repository
SIGNED_AT = "hwc-signed-at"  # seconds since 1970, in the timestamp: a clock is not before it
_PRODUCT = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


class Role(StrEnum):
    """The roles; of the last three there is one for each product."""

    ROOT = "root"
    TARGETS = "targets"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"
    BUNDLES = "bundles"
    DELTAS = "deltas"
    ROLLOUT = "rollout"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a role needs.

    Attributes:
        keys: How many keys it has.
        threshold: How many of them must sign.
        lasts: How long a signature holds.
        online: Whether its keys may lie on the server that publishes.
    """

    keys: int
    threshold: int
    lasts: timedelta
    online: bool


RULES = {
    Role.ROOT: Rule(3, 2, timedelta(days=365), online=False),
    Role.TARGETS: Rule(1, 1, timedelta(days=365), online=False),
    Role.SNAPSHOT: Rule(1, 1, timedelta(days=30), online=True),
    Role.TIMESTAMP: Rule(1, 1, timedelta(days=7), online=True),
    Role.BUNDLES: Rule(2, 2, timedelta(days=180), online=False),
    Role.DELTAS: Rule(1, 1, timedelta(days=90), online=True),
    Role.ROLLOUT: Rule(1, 1, timedelta(days=90), online=True),
}
PER_PRODUCT = (Role.BUNDLES, Role.DELTAS, Role.ROLLOUT)


def check_product(product: str) -> None:
    """Refuse a name that could not stand in a path, an address and a role's name.

    Raises:
        Refusal: It could not.
    """
    if not _PRODUCT.fullmatch(product):
        raise Refusal(
            Code.PATH,
            f"{product[:80]!r} cannot be the name of a product",
            "take up to 63 of a-z, 0-9, '_', '.' and '-', the first a letter or digit",
        )


def role_name(role: Role, product: str) -> str:
    """The name of a product's role: no slash, which servers and clients write differently."""
    return f"{role}-{product}"


def bundle_path(product: str, seq: int) -> str:
    """Where a release's `bundle.json` is."""
    return f"bundles/{product}/{seq}/bundle.json"


def delta_path(product: str, seq: int, base: str) -> str:
    """Where an update file is that leads from a base, or from nothing, to a release."""
    return f"deltas/{product}/{seq}/{base[:16] or 'full'}.hwcu"


def rollout_path(product: str) -> str:
    """Where it is said who gets the newest release."""
    return f"rollout/{product}.json"


PATTERNS = {
    Role.BUNDLES: "bundles/{}/*/bundle.json",
    Role.DELTAS: "deltas/{}/*/*.hwcu",
    Role.ROLLOUT: "rollout/{}.json",
}


def prefixed(path: str, digest: str) -> str:
    """The name of a target in a consistent snapshot (TUF 1.0, section 6.2)."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{digest}.{name}"
