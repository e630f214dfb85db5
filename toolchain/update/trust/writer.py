"""Signs metadata and puts them in place, or keeps them until enough have signed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

from ..refusal import Code, Refusal
from . import store
from .keys import Keyring
from .published import Published, read_metadata
from .roles import PER_PRODUCT, RULES, SIGNED_AT, Role, role_name
from .signing import Delegator, enough, sign, too_few

STAGED = "staged"
_TOP = {Role.ROOT, Role.TARGETS, Role.SNAPSHOT, Role.TIMESTAMP}
Changed = dict[str, "Metadata[Any]"]  # by the name of the role


@dataclass(frozen=True, slots=True)
class Writer:
    """Changes what is published: all of a change, or nothing of it.

    Attributes:
        published: What is there now.
        keyring: The keys that are here.
        now: The time that signatures count from.
    """

    published: Published
    keyring: Keyring
    now: datetime

    def next(self, role: Role, product: str = "") -> "Metadata[Any]":
        """The metadata of a role with the next version, not signed yet."""
        metadata = self.published.newest(name_of(role, product))
        metadata.signed.version += 1
        metadata.signed.expires = self.until(role)
        metadata.signatures.clear()
        return metadata

    def until(self, role: Role) -> datetime:
        """When metadata of a role run out that are signed now."""
        return self.now + RULES[role].lasts

    def publish(self, changed: Changed) -> None:
        """Sign it all and put it in place.

        Raises:
            Refusal: Too few keys are here; nothing was written.
        """
        heads, lacking = self._signed(changed)
        if lacking:
            raise too_few(lacking)
        self._place(changed, heads)

    def publish_or_stage(self, changed: Changed) -> tuple[str, ...]:
        """Sign it all and put it in place; or keep it for others to sign.

        Returns:
            The roles that lack signatures.
        """
        heads, lacking = self._signed(changed)
        if not lacking:
            self._place(changed, heads)
            return ()
        for name, metadata in changed.items():
            store.write(self._staged_path(name), metadata.to_bytes())
        return lacking

    def check_none_waits(self, changed: Iterable[str]) -> None:
        """Refuse to put something else in the place of what waits for signatures."""
        for name in changed:
            if (path := self._staged_path(name)).exists():
                hint = f"sign it with hwc repo sign, or remove {path}"
                raise Refusal(Code.STATE, f"{name} waits for signatures already", hint)

    def staged(self) -> Iterator[tuple[str, "Metadata[Any]"]]:
        """What waits for signatures, and follows what is published now."""
        for path in sorted((self.published.folder / STAGED).glob("*.json")):
            if path.stem in {Role.SNAPSHOT, Role.TIMESTAMP}:  # always made of what there is
                raise Refusal(Code.NOT_SIGNED, f"{path}: is never staged", "remove it")
            metadata, now = read_metadata(path), self.published.newest(path.stem)
            if metadata.signed == now.signed:  # the power was cut before it could be removed
                path.unlink()
                continue
            follows = metadata.signed.version == now.signed.version + 1
            if metadata.signed.type != now.signed.type or not follows:
                message = f"{path}: made before something else was published"
                raise Refusal(Code.ROLLBACK, message, "remove it, and publish again")
            yield path.stem, metadata

    def _place(self, changed: Changed, heads: Changed) -> None:
        """Write it all; the timestamp last but for a root, which counts as soon as it is there."""
        for name, metadata in (changed | heads).items():
            if name not in {Role.ROOT, Role.TIMESTAMP}:
                place = self.published.path(name, metadata.signed.version)
                store.write(place, metadata.to_bytes())
        store.write(self.published.timestamp_path(), heads[Role.TIMESTAMP].to_bytes())
        if root := changed.get(Role.ROOT):
            store.write(self.published.path(Role.ROOT, root.signed.version), root.to_bytes())
        for name in changed:
            self._staged_path(name).unlink(missing_ok=True)

    def _staged_path(self, name: str) -> Path:
        return self.published.folder / STAGED / f"{name}.json"

    def _signed(self, changed: Changed) -> tuple[Changed, tuple[str, ...]]:
        """Sign it; the snapshot and timestamp that go with it, and the roles that lack more."""
        lacking = self._sign(changed, changed)
        return ({}, lacking) if lacking else self._heads(changed)

    def _sign(self, some: Changed, changed: Changed) -> tuple[str, ...]:
        """Add the signatures that there are keys for; the roles that lack more."""
        lacking = []
        for name, metadata in some.items():
            delegators = self._delegators(name, changed)
            sign(metadata, name, self.keyring, delegators)
            counting = delegators if name == Role.ROOT else delegators[-1:]
            if not enough(metadata, name, counting):
                lacking.append(name)
        return tuple(lacking)

    def _delegators(self, name: str, changed: Changed) -> list[Delegator]:
        """Who says which keys of a role count: as published, and as it is to be."""
        parent = Role.ROOT if name in _TOP else Role.TARGETS
        published = [self.published.newest(parent)] if self.published.exists() else []
        coming = [changed[parent]] if parent in changed else []
        return [metadata.signed for metadata in (*published, *coming)]

    def _heads(self, changed: Changed) -> tuple[Changed, tuple[str, ...]]:
        """A new snapshot with what changed and a new timestamp; those that lack signatures."""
        if self.published.exists():
            snapshot, timestamp = self.next(Role.SNAPSHOT), self.next(Role.TIMESTAMP)
        else:
            snapshot = Metadata(Snapshot(expires=self.until(Role.SNAPSHOT)))
            timestamp = Metadata(Timestamp(expires=self.until(Role.TIMESTAMP)))
        for name, metadata in changed.items():
            if name != Role.ROOT:
                snapshot.signed.meta[f"{name}.json"] = _meta_file(metadata)
        lacking = self._sign({Role.SNAPSHOT.value: snapshot}, changed)
        timestamp.signed.snapshot_meta = _meta_file(snapshot)
        timestamp.signed.unrecognized_fields[SIGNED_AT] = int(self.now.timestamp())
        lacking += self._sign({Role.TIMESTAMP.value: timestamp}, changed)
        return {Role.SNAPSHOT.value: snapshot, Role.TIMESTAMP.value: timestamp}, lacking


def name_of(role: Role, product: str) -> str:
    """The name of a role, of which there is perhaps one for each product."""
    return role_name(role, product) if role in PER_PRODUCT else role.value


def _meta_file(metadata: "Metadata[Any]") -> MetaFile:
    return MetaFile.from_data(metadata.signed.version, metadata.to_bytes(), ["sha256"])
