"""Keys: Ed25519 (RFC 8032), the private half encrypted at rest (PKCS#8), the public one as JSON."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from ..refusal import Code, Refusal
from .roles import PER_PRODUCT, RULES, Role, role_name

SHORTEST = 8  # characters of a passphrase
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Keyring:
    """A folder of keys: `NAME.pem` private, `NAME.json` public; a name is a role and a number.

    Attributes:
        folder: The folder; not every key need be in it.
        ask: Gives the passphrase of a key, by its file.
    """

    folder: Path
    ask: Ask

    def create(self, name: str) -> SSlibKey:
        """Make a key.

        Raises:
            Refusal: There is one of that name, or the passphrase is too short.
        """
        private, public = self.folder / f"{name}.pem", self.folder / f"{name}.json"
        if private.exists() or public.exists():
            raise Refusal(Code.KEY, f"{private}: there is such a key", "take another name")
        key = Ed25519PrivateKey.generate()
        text = encrypted(key, self.ask(str(private)), private)
        made = SSlibKey.from_crypto(key.public_key())
        self.folder.mkdir(parents=True, exist_ok=True)
        write_new(private, text, 0o600)
        about = {"keyid": made.keyid, **made.to_dict()}
        write_new(public, json.dumps(about, indent=1).encode(), 0o644)
        return made

    def create_all(self, products: tuple[str, ...]) -> tuple[str, ...]:
        """Make every key of a repository; their names."""
        names = tuple(name for role in role_names(products) for name in key_names(*role))
        for name in names:
            self.create(name)
        return names

    def public(self, name: str) -> SSlibKey:
        """The public half of a key.

        Raises:
            Refusal: There is none, or it cannot be read.
        """
        path = self.folder / f"{name}.json"
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            key = SSlibKey.from_dict(about.pop("keyid"), about)
            raw = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))
        except FileNotFoundError as cause:
            raise Refusal(Code.KEY, f"{path}: no such key", "make it with hwc keys new") from cause
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as cause:
            raise Refusal(Code.KEY, f"{path}: not a public key", "copy it again") from cause
        if SSlibKey.from_crypto(raw) != key:  # by another name one key could count for two
            raise Refusal(Code.KEY, f"{path}: not called as its key has to be", "copy it again")
        return key

    def names_of(self, role: str) -> tuple[str, ...]:
        """The keys of a role whose private halves are here."""
        names = (path.stem for path in sorted(self.folder.glob(f"{role}-*.pem")))
        return tuple(name for name in names if _is_of(name, role))

    def signer(self, name: str) -> CryptoSigner | None:
        """What signs with a key; None where its private half is not here.

        Raises:
            Refusal: The file is open to others, the passphrase is wrong, or it is no such key.
        """
        path = self.folder / f"{name}.pem"
        if not path.exists():
            return None
        check_closed(path)
        public = self.public(name)
        try:
            private = load_pem_private_key(path.read_bytes(), self.ask(str(path)).encode())
        except (ValueError, TypeError, UnsupportedAlgorithm, OSError) as cause:
            hint = "check the passphrase"
            raise Refusal(Code.KEY, f"{path}: this key does not open", hint) from cause
        if not isinstance(private, Ed25519PrivateKey):
            raise Refusal(Code.KEY, f"{path}: not an Ed25519 key", "make one with hwc keys new")
        if SSlibKey.from_crypto(private.public_key()).keyval != public.keyval:
            raise Refusal(Code.KEY, f"{path}: not the private half of {name}.json", "copy it again")
        return CryptoSigner(private, public)


def role_names(products: tuple[str, ...]) -> tuple[tuple[str, Role], ...]:
    """Every role of a repository with what it is a role of."""
    plain = tuple((role.value, role) for role in Role if role not in PER_PRODUCT)
    of_products = tuple((role_name(role, p), role) for p in products for role in PER_PRODUCT)
    return plain + of_products


def key_names(name: str, role: Role) -> tuple[str, ...]:
    """The names of a role's keys: `root-1`, `root-2`, ..."""
    return tuple(f"{name}-{number + 1}" for number in range(RULES[role].keys))


def check_key_name(name: str, role: str) -> None:
    """Refuse a name by which a role's key would not be found when it is to sign.

    Raises:
        Refusal: It is not the role's and a number.
    """
    if not _is_of(name, role):
        raise Refusal(Code.KEY, f"{name} is not the name of a key of {role}", f"take {role}-9")


def _is_of(name: str, role: str) -> bool:
    return name.removeprefix(f"{role}-").isdecimal()


def encrypted(key: Ed25519PrivateKey | EllipticCurvePrivateKey, passphrase: str, of: Path) -> bytes:
    """A private key as it may lie on a disk.

    Raises:
        Refusal: The passphrase is too short.
    """
    if len(passphrase) < SHORTEST or not passphrase.isprintable():
        hint = f"give at least {SHORTEST} characters that can be typed"
        raise Refusal(Code.KEY, f"{of}: the passphrase is too short", hint)
    cipher = BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cipher)


def check_closed(path: Path) -> None:
    """Refuse a private key that others than its owner may read.

    Raises:
        Refusal: They may, or it is not there.
    """
    try:
        mode = path.stat().st_mode
    except OSError as cause:
        raise Refusal(Code.KEY, f"{path}: {cause.strerror}", "name a private key") from cause
    if mode & _OTHERS:
        raise Refusal(Code.KEY, f"{path}: others may read this key", f"chmod 600 {path}")


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there yet, with its mode from the first byte on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
