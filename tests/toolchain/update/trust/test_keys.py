"""Tests of toolchain/update/trust/keys.py: keys at rest, and what a wrong one is refused with."""

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hwc.toolchain.update.refusal import Code
from hwc.toolchain.update.trust.keys import Keyring, check_key_name, key_names
from hwc.toolchain.update.trust.roles import Role

from .world import PASSPHRASE, refused

NAME = "timestamp-1"


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """A keyring of one key."""
    keyring = Keyring(tmp_path / "keys", lambda _: PASSPHRASE)
    keyring.create(NAME)
    return keyring


def test_a_key_signs_what_its_public_half_verifies(keyring: Keyring) -> None:
    signer = keyring.signer(NAME)
    assert signer is not None
    keyring.public(NAME).verify_signature(signer.sign(b"data"), b"data")


def test_a_private_key_is_encrypted_and_for_its_owner_only(keyring: Keyring) -> None:
    path = keyring.folder / f"{NAME}.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused(keyring: Keyring, mode: int) -> None:
    (keyring.folder / f"{NAME}.pem").chmod(mode)
    with refused(Code.KEY):
        keyring.signer(NAME)


@pytest.mark.parametrize("passphrase", ["", "wrong horse", PASSPHRASE.upper(), "\udcff"])
def test_a_wrong_passphrase_is_refused_and_not_shown(keyring: Keyring, passphrase: str) -> None:
    with refused(Code.KEY):
        Keyring(keyring.folder, lambda _: passphrase).signer(NAME)


@pytest.mark.parametrize("passphrase", ["", "short", "\udcff" * 9])
def test_no_key_is_made_with_a_bad_passphrase(tmp_path: Path, passphrase: str) -> None:
    with refused(Code.KEY):
        Keyring(tmp_path, lambda _: passphrase).create(NAME)
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_never_written_over(keyring: Keyring) -> None:
    before = (keyring.folder / f"{NAME}.pem").read_bytes()
    with refused(Code.KEY):
        keyring.create(NAME)
    assert (keyring.folder / f"{NAME}.pem").read_bytes() == before


@pytest.mark.parametrize("data", [b"", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", b"\0" * 100])
def test_a_damaged_private_key_is_refused(keyring: Keyring, data: bytes) -> None:
    (keyring.folder / f"{NAME}.pem").write_bytes(data)
    with refused(Code.KEY):
        keyring.signer(NAME)


def test_a_key_that_lies_open_is_refused(keyring: Keyring) -> None:
    path = keyring.folder / f"{NAME}.pem"
    key = load_pem_private_key(path.read_bytes(), PASSPHRASE.encode())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with refused(Code.KEY):
        keyring.signer(NAME)


def test_a_key_of_another_kind_is_refused(keyring: Keyring) -> None:
    cipher = BestAvailableEncryption(PASSPHRASE.encode())
    text = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, cipher
    )
    (keyring.folder / f"{NAME}.pem").write_bytes(text)
    with refused(Code.KEY):
        keyring.signer(NAME)


def test_halves_of_two_keys_are_refused(keyring: Keyring) -> None:
    keyring.create("timestamp-2")
    (keyring.folder / "timestamp-2.pem").rename(keyring.folder / f"{NAME}.pem")
    with refused(Code.KEY):
        keyring.signer(NAME)


def test_a_key_that_is_not_here_signs_nothing(keyring: Keyring) -> None:
    (keyring.folder / f"{NAME}.pem").unlink()
    assert keyring.signer(NAME) is None
    assert keyring.names_of("timestamp") == ()
    with refused(Code.KEY):
        keyring.public("snapshot-1")


@pytest.mark.parametrize(
    "change",
    [
        {"keyid": "a" * 64},  # one key under two names would count for two
        {"keytype": "rsa"},
        {"scheme": "none"},
        {"keyval": {"public": "zz"}},
        {"keyval": {"public": "aa"}},
        {"keyval": {}},
        {"keyval": None},
    ],
    ids=str,
)
def test_a_public_key_that_was_changed_is_refused(
    keyring: Keyring, change: dict[str, object]
) -> None:
    path = keyring.folder / f"{NAME}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with refused(Code.KEY):
        keyring.public(NAME)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"keyid": 1}'])
def test_what_is_no_public_key_is_refused(keyring: Keyring, text: str) -> None:
    (keyring.folder / f"{NAME}.json").write_text(text)
    with refused(Code.KEY):
        keyring.public(NAME)


def test_keys_of_a_product_whose_name_ends_in_a_number_are_its_own(keyring: Keyring) -> None:
    for name in ("bundles-door-1", "bundles-door-2", "bundles-door-1-1"):
        keyring.create(name)
    assert keyring.names_of("bundles-door") == ("bundles-door-1", "bundles-door-2")
    assert keyring.names_of("bundles-door-1") == ("bundles-door-1-1",)
    assert key_names("root", Role.ROOT) == ("root-1", "root-2", "root-3")


@pytest.mark.parametrize("name", ["timestamp", "timestamp-x", "snapshot-1", "timestamp-1-1", ""])
def test_a_name_by_which_a_key_would_not_be_found_is_refused(name: str) -> None:
    with refused(Code.KEY):
        check_key_name(name, "timestamp")
