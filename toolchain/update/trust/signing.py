"""Signatures of a role: added with the keys that are here, counted against who may sign."""

from collections.abc import Sequence
from typing import Any

from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Targets

from ..refusal import Code, Refusal
from .keys import Keyring

Delegator = Root | Targets


def sign(
    metadata: "Metadata[Any]", name: str, keyring: Keyring, delegators: Sequence[Delegator]
) -> None:
    """Add the signatures that lack, of keys that are here and count for the role.

    Args:
        metadata: What is signed.
        name: The role.
        keyring: The keys.
        delegators: Who says which keys count; more than one while a key is replaced.

    Raises:
        Refusal: Nobody knows this role, or a key cannot be opened.
    """
    counted: set[str] = set()
    signed: set[str] = set()
    data = metadata.signed_bytes
    for delegator in delegators:
        try:
            counted.update(delegator.get_delegated_role(name).keyids)
            result = delegator.get_verification_result(name, data, metadata.signatures)
        except ValueError as cause:
            raise Refusal(Code.NOT_SIGNED, f"no role {name[:80]!r} in this repository") from cause
        signed.update(result.signed)
    for key in keyring.names_of(name):
        keyid = keyring.public(key).keyid
        if keyid in counted and keyid not in signed and (signer := keyring.signer(key)):
            metadata.sign(signer, append=True)


def enough(metadata: "Metadata[Any]", name: str, delegators: Sequence[Delegator]) -> bool:
    """Whether as many have signed as each delegator asks for."""
    try:
        for delegator in delegators:
            delegator.verify_delegate(name, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError:
        return False
    return True


def too_few(names: Sequence[str]) -> Refusal:
    """What is said where nothing can be done without more signatures."""
    hint = "bring the folder with more of its keys"
    return Refusal(Code.SIGNATURE, f"too few signatures of {', '.join(names)}", hint)
