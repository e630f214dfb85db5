"""The server's side: a folder of signed files that any static web server serves.

    metadata/   root, timestamp, snapshot, targets and each product's roles (TUF 1.0, section 4)
    targets/    bundle.json of each release, update files, rollouts; names begin with their digest
    staged/     what was prepared and still needs signatures; not to be served

Everything is written under a new name first and `timestamp.json` last, so whoever reads in between
sees what was there before.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from ..offer import Artefact
from ..refusal import Code, Refusal
from ..release import Release
from . import store
from .keys import Keyring, key_names
from .listed import read_artefacts
from .roles import (
    METADATA,
    PATTERNS,
    PER_PRODUCT,
    RULES,
    SIGNED_AT,
    TARGETS,
    Role,
    bundle_path,
    check_product,
    delta_path,
    prefixed,
    role_name,
    rollout_path,
)
from .rollout import Rollout

STAGED = "staged"


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
            Refusal: There is one, a name cannot be, or keys are missing.
        """
        if (self.folder / METADATA).exists():
            raise Refusal(Code.STATE, f"{self.folder}: there is a repository", "name a new folder")
        for product in products:
            check_product(product)
        root = Root(expires=self._until(Role.ROOT), consistent_snapshot=True)
        for role in (Role.ROOT, Role.TARGETS, Role.SNAPSHOT, Role.TIMESTAMP):
            root.roles[role].threshold = RULES[role].threshold
            for name in key_names(role, role):
                root.add_key(self.keyring.public(name), role)
        targets = Targets(
            expires=self._until(Role.TARGETS), delegations=self._delegations(products)
        )
        made: dict[str, Metadata[Any]] = {
            Role.ROOT: Metadata(root),
            Role.TARGETS: Metadata(targets),
        }
        for product in products:
            for role in PER_PRODUCT:
                made[role_name(role, product)] = Metadata(Targets(expires=self._until(role)))
        for name, metadata in made.items():
            self._sign(metadata, name)
            self._need(metadata, name, root, targets)
        for name, metadata in made.items():
            store.write(self._file(name, metadata.signed.version), metadata.to_bytes())
        self._snapshot(made)

    def publish(self, release: Release, artefacts: Sequence[NewArtefact]) -> tuple[str, ...]:
        """Add a release and the update files that lead to it.

        Returns:
            Names of the roles that still need signatures; none where it is published. Whoever has
            another key goes on with `sign`.

        Raises:
            Refusal: Its product is not of this repository, or there is a release of its `seq` or
                of a later one.
        """
        self._check_new(release)
        bundles = self._next(Role.BUNDLES, release.product)
        path = bundle_path(release.product, release.seq)
        about = {"seq": release.seq, "sec_epoch": release.sec_epoch, "version": release.version}
        target = TargetFile.from_data(path, release.text(), ["sha256"])
        target.unrecognized_fields["custom"] = about
        bundles.signed.targets[path] = target
        store.write(self._target(target), release.text())
        deltas = self._with_artefacts(release, artefacts)
        return self._stage({Role.BUNDLES: bundles, Role.DELTAS: deltas}, release.product)

    def add(self, release: Release, artefacts: Sequence[NewArtefact]) -> tuple[str, ...]:
        """Add update files that lead to a release which is published; as `publish`."""
        return self._stage({Role.DELTAS: self._with_artefacts(release, artefacts)}, release.product)

    def set_rollout(self, product: str, rollout: Rollout) -> tuple[str, ...]:
        """Say who is to have the newest release; as `publish`."""
        metadata = self._next(Role.ROLLOUT, product)
        target = TargetFile.from_data(rollout_path(product), rollout.text(), ["sha256"])
        metadata.signed.targets = {target.path: target}
        store.write(self._target(target), rollout.text())
        return self._stage({Role.ROLLOUT: metadata}, product)

    def sign(self) -> tuple[str, ...]:
        """Add this keyring's signatures to what is staged, and publish it if that is enough.

        Raises:
            Refusal: Nothing is staged.
        """
        staged = {path.stem: _read(path) for path in sorted((self.folder / STAGED).glob("*.json"))}
        if not staged:
            raise Refusal(Code.STATE, f"{self.folder}: nothing waits for signatures")
        return self._try_release(staged)

    def rotate(self, role: Role, old: str, new: str, product: str = "") -> None:
        """Replace a key of a role by another; the old root and the new one both sign a new root.

        Args:
            role: The role.
            old: Name of the key that goes.
            new: Name of the key that comes.
            product: For the roles that every product has.

        Raises:
            Refusal: A key is missing, or too few may sign.
        """
        gone, come = self.keyring.public(old), self.keyring.public(new)
        if role in PER_PRODUCT:
            targets = self._newest(Role.TARGETS)
            targets.signed.revoke_key(gone.keyid, role_name(role, product))
            targets.signed.add_key(come, role_name(role, product))
            self._renewed(targets, Role.TARGETS)
            self._sign(targets, Role.TARGETS)
            mine = self._next(role, product)
            self._sign(mine, role_name(role, product), also=(new,))
            self._need(mine, role_name(role, product), self._root(), targets.signed)
            made = {Role.TARGETS.value: targets, role_name(role, product): mine}
        else:
            root = self._newest(Role.ROOT)
            before = root.signed
            after = Root.from_dict(before.to_dict())
            after.revoke_key(gone.keyid, role)
            after.add_key(come, role)
            root = Metadata(after)
            self._renewed(root, Role.ROOT)
            self._sign(root, Role.ROOT, also=(old, new))
            _verified(before, Role.ROOT, root)
            made = {Role.ROOT.value: root}
            if role is Role.TARGETS:
                mine = self._newest(role)
                self._renewed(mine, role)
                self._sign(mine, role, also=(new,))
                made[role.value] = mine
            _verified(after, Role.ROOT, root)
        for name, metadata in made.items():
            store.write(self._file(name, metadata.signed.version), metadata.to_bytes())
        self._snapshot(made, also={role: (new,)})

    def touch(self) -> None:
        """Renew the snapshot and the timestamp, which run out first."""
        self._snapshot({})

    def releases(self, product: str) -> tuple[Release, ...]:
        """What is published of a product, by `seq`."""
        signed = self._newest(role_name(Role.BUNDLES, product)).signed
        texts = (self._target(target).read_bytes() for target in signed.targets.values())
        return tuple(sorted((Release.parse(text) for text in texts), key=lambda r: r.seq))

    def artefacts(self, product: str) -> tuple[Artefact, ...]:
        """The update files of a product."""
        signed = self._newest(role_name(Role.DELTAS, product)).signed
        return tuple(artefact for _, artefact in read_artefacts(signed.targets))

    def rollout(self, product: str) -> Rollout:
        """Who is to have the newest release."""
        signed = self._newest(role_name(Role.ROLLOUT, product)).signed
        target = signed.targets.get(rollout_path(product))
        return Rollout() if target is None else Rollout.parse(self._target(target).read_bytes())

    def products(self) -> tuple[str, ...]:
        """The products of this repository."""
        delegations = self._newest(Role.TARGETS).signed.delegations
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
        return self._file(Role.ROOT, 1).read_bytes()

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
        deltas = self._next(Role.DELTAS, release.product)
        for artefact in artefacts:
            path = delta_path(release.product, release.seq, artefact.base)
            target = TargetFile.from_file(path, str(artefact.path), ["sha256"])
            target.unrecognized_fields["custom"] = {
                "release": release.digest,
                "base": artefact.base,
                "memory": artefact.memory,
            }
            deltas.signed.targets[path] = target
            store.copy(artefact.path, self._target(target))
        return deltas

    def _delegations(self, products: Sequence[str]) -> Delegations:
        keys: dict[str, Any] = {}
        roles: dict[str, DelegatedRole] = {}
        for product in products:
            for role in PER_PRODUCT:
                name = role_name(role, product)
                own = [self.keyring.public(key) for key in key_names(name, role)]
                keys |= {key.keyid: key for key in own}
                roles[name] = DelegatedRole(
                    name,
                    [key.keyid for key in own],
                    RULES[role].threshold,
                    terminating=True,
                    paths=[PATTERNS[role].format(product)],
                )
        return Delegations(keys, roles)

    def _stage(self, changed: Mapping[Role, "Metadata[Any]"], product: str) -> tuple[str, ...]:
        return self._try_release({role_name(r, product): m for r, m in changed.items()})

    def _try_release(self, staged: dict[str, "Metadata[Any]"]) -> tuple[str, ...]:
        """Sign what can be signed; release all of it, or keep it for others to sign."""
        root, targets = self._root(), self._newest(Role.TARGETS).signed
        lacking = []
        for name, metadata in staged.items():
            self._sign(metadata, name)
            try:
                self._need(metadata, name, root, targets)
            except Refusal:
                lacking.append(name)
        if lacking:
            for name, metadata in staged.items():
                store.write(self.folder / STAGED / f"{name}.json", metadata.to_bytes())
            return tuple(lacking)
        for name, metadata in staged.items():
            store.write(self._file(name, metadata.signed.version), metadata.to_bytes())
        self._snapshot(staged)
        shutil.rmtree(self.folder / STAGED, ignore_errors=True)
        return ()

    def _snapshot(
        self,
        changed: Mapping[str, "Metadata[Any]"],
        also: Mapping[Role, tuple[str, ...]] | None = None,
    ) -> None:
        """Sign a new snapshot and, last of all, the timestamp."""
        signers, first = also or {}, not list((self.folder / METADATA).glob("*.snapshot.json"))
        snapshot = Metadata(Snapshot()) if first else self._newest(Role.SNAPSHOT)
        for name, metadata in changed.items():
            if name not in {Role.ROOT, Role.SNAPSHOT, Role.TIMESTAMP}:
                snapshot.signed.meta[f"{name}.json"] = MetaFile(metadata.signed.version)
        timestamp = Metadata(Timestamp()) if first else _read(self._timestamp())
        for metadata, role in ((snapshot, Role.SNAPSHOT), (timestamp, Role.TIMESTAMP)):
            if first:
                metadata.signed.expires = self._until(role)
            else:
                self._renewed(metadata, role)
        timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        timestamp.signed.unrecognized_fields[SIGNED_AT] = int(self.now.timestamp())
        root = self._root()
        for metadata, role in ((snapshot, Role.SNAPSHOT), (timestamp, Role.TIMESTAMP)):
            self._sign(metadata, role, also=signers.get(role, ()))
            _verified(root, role, metadata)
        store.write(self._file(Role.SNAPSHOT, snapshot.signed.version), snapshot.to_bytes())
        store.write(self._timestamp(), timestamp.to_bytes())

    def _next(self, role: Role, product: str) -> "Metadata[Any]":
        """The metadata of a product's role with the next version, not signed yet."""
        metadata = self._newest(role_name(role, product))
        self._renewed(metadata, role)
        return metadata

    def _renewed(self, metadata: "Metadata[Any]", role: Role) -> None:
        metadata.signed.version += 1
        metadata.signed.expires = self._until(role)
        metadata.signatures.clear()

    def _sign(self, metadata: "Metadata[Any]", name: str, also: Sequence[str] = ()) -> None:
        """Sign with every key of a role that is here."""
        files = (path.stem for path in sorted(self.keyring.folder.glob(f"{name}-*.pem")))
        own = [key for key in files if key.removeprefix(f"{name}-").isdecimal()]
        for key in dict.fromkeys([*own, *also]):
            signer = self.keyring.signer(key)
            if signer is not None and signer.public_key.keyid not in metadata.signatures:
                metadata.sign(signer, append=True)

    def _need(self, metadata: "Metadata[Any]", name: str, root: Root, targets: Targets) -> None:
        """Refuse metadata that has too few signatures."""
        top = {Role.ROOT, Role.TARGETS, Role.SNAPSHOT, Role.TIMESTAMP}
        _verified(root if name in top else targets, name, metadata)

    def _root(self) -> Root:
        root: Root = self._newest(Role.ROOT).signed
        return root

    def _newest(self, name: str) -> "Metadata[Any]":
        found = dict(self._versions(name))
        if not found:
            raise Refusal(
                Code.STATE, f"{self.folder}: no {name} here", "make it with hwc repo init"
            )
        return _read(found[max(found)])

    def _versions(self, name: str) -> Iterator[tuple[int, Path]]:
        for path in (self.folder / METADATA).glob(f"*.{name}.json"):
            version = path.name.split(".", 1)[0]
            if version.isdecimal() and path.name == f"{version}.{name}.json":
                yield int(version), path

    def _file(self, name: str, version: int) -> Path:
        return self.folder / METADATA / f"{version}.{name}.json"

    def _timestamp(self) -> Path:
        return self.folder / METADATA / "timestamp.json"

    def _target(self, target: TargetFile) -> Path:
        return self.folder / TARGETS / prefixed(target.path, target.hashes["sha256"])

    def _until(self, role: Role) -> datetime:
        return self.now + RULES[role].lasts


def _verified(delegator: Root | Targets, name: str, metadata: "Metadata[Any]") -> None:
    try:
        delegator.verify_delegate(name, metadata.signed_bytes, metadata.signatures)
    except (UnsignedMetadataError, ValueError) as cause:
        rule = f"{len(metadata.signatures)} signatures of {name}"
        raise Refusal(
            Code.SIGNATURE, f"{rule} are too few", "bring the folder with more of its keys"
        ) from cause


def _read(path: Path) -> "Metadata[Any]":
    try:
        return Metadata.from_file(os.fspath(path))
    except (RepositoryError, OSError) as cause:
        raise Refusal(Code.MALFORMED, f"{path}: {cause}", "restore the repository") from cause
