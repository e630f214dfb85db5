"""The server's side: a folder of signed files that any static web server serves.

    metadata/   root, timestamp, snapshot, targets and each product's roles (TUF 1.0, section 4)
    targets/    bundle.json of each release, update files, rollouts; names begin with their digest
    staged/     what was prepared and still needs signatures; not to be served

Everything is written under a new name first and `timestamp.json` last, so whoever reads in between
sees what was there before.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    TargetFile,
    Targets,
)

from ..offer import Artefact
from ..refusal import Code, Refusal, short
from ..release import Release
from . import store
from .keys import Keyring, check_key_name, key_names
from .listed import read_artefacts
from .published import Published
from .roles import (
    METADATA,
    PATTERNS,
    PER_PRODUCT,
    RULES,
    TARGETS,
    Role,
    bundle_path,
    check_product,
    delta_path,
    role_name,
    rollout_path,
)
from .rollout import Rollout
from .signing import Delegator
from .writer import Changed, Writer, name_of


@dataclass(frozen=True, slots=True)
class NewArtefact:
    """An update file that is to be published.

    Attributes:
        path: Where it lies now.
        base: Digest of the release that it starts from; empty: none.
        memory: Bytes that applying it takes.
    """

    path: Path
    base: str
    memory: int


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on this machine.

    Attributes:
        folder: Where it is.
        keyring: The keys that are here.
        now: The time that signatures count from.
    """

    folder: Path
    keyring: Keyring
    now: datetime

    @classmethod
    def at(cls, folder: Path, keyring: Keyring) -> "Repository":
        """A repository, signed with what the clock says."""
        return cls(folder, keyring, datetime.now(UTC).replace(microsecond=0))

    def init(self, products: Sequence[str]) -> None:
        """Make it, with nothing published; root needs two of its three keys.

        Raises:
            Refusal: There is one, a name cannot be, or keys are missing; nothing was written.
        """
        if self._published.exists():
            raise Refusal(Code.STATE, f"{self.folder}: there is a repository", "name a new folder")
        for product in products:
            check_product(product)
        root = Root(expires=self._writer.until(Role.ROOT), consistent_snapshot=True)
        for role in (Role.ROOT, Role.TARGETS, Role.SNAPSHOT, Role.TIMESTAMP):
            root.roles[role].threshold = RULES[role].threshold
            for key in self._public(role, role):
                root.add_key(key, role)
        delegations = self._delegations(products)
        made: Changed = {
            Role.ROOT: Metadata(root),
            Role.TARGETS: Metadata(
                Targets(expires=self._writer.until(Role.TARGETS), delegations=delegations)
            ),
        }
        for product in products:
            for role in PER_PRODUCT:
                made[role_name(role, product)] = Metadata(Targets(expires=self._writer.until(role)))
        self.folder.mkdir(parents=True, exist_ok=True)
        with store.alone(self.folder):
            self._writer.publish(made)

    def publish(self, release: Release, artefacts: Sequence[NewArtefact]) -> tuple[str, ...]:
        """Add a release and the update files that lead to it.

        Returns:
            Names of the roles that still need signatures; none where it is published. Whoever has
            another key goes on with `sign`.

        Raises:
            Refusal: Its product is not of this repository, there is a release of its `seq` or of a
                later one, or another waits for signatures.
        """
        with store.alone(self.folder):
            self._check_new(release)
            bundles = self._writer.next(Role.BUNDLES, release.product)
            path = bundle_path(release.product, release.seq)
            about = {
                "seq": release.seq,
                "sec_epoch": release.sec_epoch,
                "version": release.version,
                "size": release.size,
            }
            target = TargetFile.from_data(path, release.text(), ["sha256"])
            target.unrecognized_fields["custom"] = about
            bundles.signed.targets[path] = target
            deltas = self._with_artefacts(release, artefacts)
            store.write(self._published.target_path(target), release.text())
            changed: Changed = {  # deltas first: of an unknown release they do no harm
                role_name(Role.DELTAS, release.product): deltas,
                role_name(Role.BUNDLES, release.product): bundles,
            }
            return self._publish_or_stage(changed)

    def add(self, release: Release, artefacts: Sequence[NewArtefact]) -> tuple[str, ...]:
        """Add update files that lead to a release which is published; as `publish`."""
        with store.alone(self.folder):
            deltas = self._with_artefacts(release, artefacts)
            return self._publish_or_stage({role_name(Role.DELTAS, release.product): deltas})

    def set_rollout(self, product: str, rollout: Rollout) -> tuple[str, ...]:
        """Say who is to have the newest release; as `publish`."""
        with store.alone(self.folder):
            metadata = self._writer.next(Role.ROLLOUT, product)
            target = TargetFile.from_data(rollout_path(product), rollout.text(), ["sha256"])
            metadata.signed.targets = {target.path: target}
            store.write(self._published.target_path(target), rollout.text())
            return self._publish_or_stage({role_name(Role.ROLLOUT, product): metadata})

    def sign(self) -> tuple[str, ...]:
        """Add this keyring's signatures to what is staged, and publish it if that is enough.

        Raises:
            Refusal: Nothing is staged, or what is was made before something else was published.
        """
        with store.alone(self.folder):
            staged = dict(self._writer.staged())
            if not staged:
                raise Refusal(Code.STATE, f"{self.folder}: nothing waits for signatures")
            return self._writer.publish_or_stage(staged)

    def rotate(self, role: Role, old: str, new: str, product: str = "") -> tuple[str, ...]:
        """Replace a key of a role by another; as `publish`.

        The old root and the new one both have to sign a new root. A device is at no time without
        metadata that it believes, if the old key is here to sign a last time.

        Args:
            role: The role.
            old: Name of the key that goes.
            new: Name of the key that comes: the role's and a number, such as `timestamp-2`.
            product: For the roles that every product has.

        Raises:
            Refusal: A key is missing, not of this role, or there already.
        """
        with store.alone(self.folder):
            name = name_of(role, product)
            check_key_name(new, name)
            parent = Role.TARGETS if role in PER_PRODUCT else Role.ROOT
            delegator = self._writer.next(parent)
            _exchange(delegator.signed, name, self.keyring.public(old), self.keyring.public(new))
            changed: Changed = {parent.value: delegator}
            if role is Role.TARGETS or role in PER_PRODUCT:
                changed[name] = self._writer.next(role, product)
            return self._publish_or_stage(changed)

    def renew(self, role: Role, product: str = "") -> tuple[str, ...]:
        """Sign a role's metadata for another term, with nothing else changed; as `publish`."""
        with store.alone(self.folder):
            changed = {name_of(role, product): self._writer.next(role, product)}
            return self._publish_or_stage(changed)

    def touch(self) -> None:
        """Renew the snapshot and the timestamp, and other online roles in their second half.

        Raises:
            Refusal: A key is missing.
        """
        with store.alone(self.folder):
            due: Changed = {}
            for product in self.products():
                for role in PER_PRODUCT:
                    expires = self._published.newest(role_name(role, product)).signed.expires
                    if RULES[role].online and expires - self.now < RULES[role].lasts / 2:
                        due[role_name(role, product)] = self._writer.next(role, product)
            self._writer.publish(due)

    def releases(self, product: str) -> tuple[Release, ...]:
        """What is published of a product, by `seq`."""
        signed = self._published.newest(role_name(Role.BUNDLES, product)).signed
        texts = map(self._published.target, signed.targets.values())
        return tuple(sorted((Release.parse(text) for text in texts), key=lambda r: r.seq))

    def artefacts(self, product: str) -> tuple[Artefact, ...]:
        """The update files of a product."""
        signed = self._published.newest(role_name(Role.DELTAS, product)).signed
        return tuple(artefact for _, artefact in read_artefacts(signed.targets))

    def rollout(self, product: str) -> Rollout:
        """Who is to have the newest release."""
        signed = self._published.newest(role_name(Role.ROLLOUT, product)).signed
        target = signed.targets.get(rollout_path(product))
        return Rollout() if target is None else Rollout.parse(self._published.target(target))

    def products(self) -> tuple[str, ...]:
        """The products of this repository."""
        delegations = self._published.targets().delegations
        prefix = role_name(Role.BUNDLES, "")
        roles = delegations.roles if delegations and delegations.roles else {}
        return tuple(n.removeprefix(prefix) for n in sorted(roles) if n.startswith(prefix))

    def export(self, folder: Path) -> None:
        """Copy what a server would serve, for devices that no network reaches."""
        if folder.exists():
            raise Refusal(Code.STATE, f"{folder}: is there already", "name a new folder")
        for part in (TARGETS, METADATA):
            shutil.copytree(self.folder / part, folder / part, symlinks=False)

    def root_text(self) -> bytes:
        """The first root: what a new device is given to trust."""
        return self._published.path(Role.ROOT, 1).read_bytes()

    @property
    def _published(self) -> Published:
        return Published(self.folder)

    @property
    def _writer(self) -> Writer:
        return Writer(self._published, self.keyring, self.now)

    def _publish_or_stage(self, changed: Changed) -> tuple[str, ...]:
        self._writer.check_none_waits(changed)
        return self._writer.publish_or_stage(changed)

    def _check_new(self, release: Release) -> None:
        if release.product not in self.products():
            names = ", ".join(self.products())
            raise Refusal(
                Code.NOT_SIGNED, f"no product {release.product!r} in {self.folder}", f"has {names}"
            )
        have = self.releases(release.product)
        if have and release.seq <= have[-1].seq:
            raise Refusal(
                Code.ROLLBACK,
                f"{release.product} has release {have[-1].seq}, and this is {release.seq}",
                "count on with --seq",
            )
        if have and release.sec_epoch < have[-1].sec_epoch:
            epochs = f"{have[-1].sec_epoch} to {release.sec_epoch}"
            raise Refusal(Code.ROLLBACK, f"{release.product}: sec_epoch falls from {epochs}")

    def _with_artefacts(
        self, release: Release, artefacts: Sequence[NewArtefact]
    ) -> "Metadata[Targets]":
        deltas = self._writer.next(Role.DELTAS, release.product)
        for artefact in artefacts:
            path = delta_path(release.product, release.seq, artefact.base)
            target = TargetFile.from_file(path, str(artefact.path), ["sha256"])
            target.unrecognized_fields["custom"] = {
                "release": release.digest,
                "base": artefact.base,
                "memory": artefact.memory,
            }
            deltas.signed.targets[path] = target
            store.copy(artefact.path, self._published.target_path(target))
        return deltas

    def _delegations(self, products: Sequence[str]) -> Delegations:
        keys: dict[str, Any] = {}
        roles: dict[str, DelegatedRole] = {}
        for product in products:
            for role in PER_PRODUCT:
                name = role_name(role, product)
                own = {key.keyid: key for key in self._public(name, role)}
                keys |= own
                roles[name] = DelegatedRole(
                    name,
                    list(own),
                    RULES[role].threshold,
                    terminating=True,
                    paths=[PATTERNS[role].format(product)],
                )
        return Delegations(keys, roles)

    def _public(self, name: str, role: Role) -> list[SSlibKey]:
        """The keys of a role, each another one."""
        keys = [self.keyring.public(key) for key in key_names(name, role)]
        if len({key.keyid for key in keys}) < len(keys):
            hint = "make each with hwc keys new"
            raise Refusal(Code.KEY, f"two keys of {name} are the same", hint)
        return keys


def _exchange(delegator: Delegator, name: str, old: SSlibKey, new: SSlibKey) -> None:
    """Let another key count for a role.

    Raises:
        Refusal: The old one does not count, or the new one does already.
    """
    known = delegator.get_delegated_role(name).keyids
    if old.keyid not in known or new.keyid in known:
        wrong, what = (old, "no key") if old.keyid not in known else (new, "a key already")
        raise Refusal(Code.KEY, f"{short(wrong.keyid)} is {what} of {name}", "name another key")
    delegator.revoke_key(old.keyid, name)
    delegator.add_key(new, name)
