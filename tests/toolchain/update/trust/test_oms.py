"""Tests of toolchain/update/trust/oms.py, by the OpenSSF library itself."""

import json
import stat
import sys
from pathlib import Path

import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.update.refusal import Code
from hwc.toolchain.update.trust.keys import Keyring
from hwc.toolchain.update.trust.oms import create_key, sign, verify

from .world import PASSPHRASE, refused


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two keys."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        create_key(folder / f"{name}.pem", folder / f"{name}.pub", PASSPHRASE)
    return folder


@pytest.fixture
def release(keys: Path, tmp_path: Path) -> Path:
    """A signed release; its signature lies beside it."""
    pytest.importorskip("model_signing.signing", exc_type=ImportError)
    folder = tmp_path / "release"
    (folder / "engine").mkdir(parents=True)
    (folder / "bundle.json").write_bytes(b"{}")
    (folder / "engine" / "model.plan").write_bytes(b"weights")
    sign(folder, tmp_path / "release.sig", key=keys / "own.pem", passphrase=PASSPHRASE)
    return folder


def check(release: Path, key: Path) -> None:
    verify(release, release.parent / "release.sig", key=key)


def test_a_release_is_what_was_signed(release: Path, keys: Path) -> None:
    check(release, keys / "own.pub")
    check(release.rename(release.parent / "another name"), keys / "own.pub")


def test_a_private_key_is_encrypted_and_for_its_owner_only(keys: Path) -> None:
    assert stat.S_IMODE((keys / "own.pem").stat().st_mode) == 0o600
    assert "ENCRYPTED" in (keys / "own.pem").read_text()
    with refused(Code.KEY):
        create_key(keys / "own.pem", keys / "new.pub", PASSPHRASE)


@pytest.mark.parametrize("path", ["bundle.json", "engine/model.plan"])
def test_a_changed_file_is_found_out(release: Path, keys: Path, path: str) -> None:
    (release / path).write_bytes(b"other")
    with refused(Code.SIGNATURE):
        check(release, keys / "own.pub")


@pytest.mark.parametrize("path", ["new", "engine/new", ".gitattributes", ".git/config"])
def test_an_added_file_is_found_out(release: Path, keys: Path, path: str) -> None:
    (release / path).parent.mkdir(exist_ok=True)
    (release / path).write_bytes(b"")
    with refused(Code.SIGNATURE):
        check(release, keys / "own.pub")


def test_a_missing_file_is_found_out(release: Path, keys: Path) -> None:
    (release / "bundle.json").unlink()
    with refused(Code.SIGNATURE):
        check(release, keys / "own.pub")


def test_a_link_is_neither_signed_nor_verified(release: Path, keys: Path) -> None:
    (release / "link").symlink_to("/etc/passwd")
    with refused(Code.SIGNATURE):
        check(release, keys / "own.pub")
    with pytest.raises(InputError, match="plain files"):
        sign(release, release.parent / "2.sig", key=keys / "own.pem", passphrase=PASSPHRASE)


def test_the_signature_of_another_is_refused(release: Path, keys: Path) -> None:
    with refused(Code.SIGNATURE):
        check(release, keys / "other.pub")


@pytest.mark.parametrize("place", ["sig", "payload", "hint"])
def test_a_changed_signature_is_refused(release: Path, keys: Path, place: str) -> None:
    path = release.parent / "release.sig"
    text = path.read_text()
    start = text.index(f'"{place}"') + len(place) + 12
    path.write_text(text[:start] + ("A" if text[start] != "A" else "B") + text[start + 1 :])
    with refused(Code.SIGNATURE, Code.MALFORMED):
        check(release, keys / "own.pub")


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"x": [{}]}'])
def test_what_is_no_signature_is_refused(release: Path, keys: Path, text: bytes) -> None:
    (release.parent / "release.sig").write_bytes(text)
    with refused(Code.SIGNATURE, Code.MALFORMED):
        check(release, keys / "own.pub")


def test_a_signature_without_signatures_is_refused(release: Path, keys: Path) -> None:
    path = release.parent / "release.sig"
    about = json.loads(path.read_text())
    about["dsseEnvelope"]["signatures"] = []
    path.write_text(json.dumps(about))
    with refused(Code.SIGNATURE, Code.MALFORMED):
        check(release, keys / "own.pub")


def test_a_key_of_a_repository_is_of_another_kind(release: Path, tmp_path: Path) -> None:
    Keyring(tmp_path, lambda _: PASSPHRASE).create("root-1")
    target = tmp_path / "2.sig"
    with refused(Code.KEY):
        sign(release, target, key=tmp_path / "root-1.pem", passphrase=PASSPHRASE)
    with refused(Code.KEY):
        verify(release, target, key=tmp_path / "root-1.json")


@pytest.mark.parametrize("passphrase", ["", "wrong horse"])
def test_a_wrong_passphrase_is_refused(release: Path, keys: Path, passphrase: str) -> None:
    with refused(Code.KEY):
        sign(release, release.parent / "2.sig", key=keys / "own.pem", passphrase=passphrase)


def test_a_signature_is_not_put_into_what_it_signs(release: Path, keys: Path) -> None:
    with pytest.raises(InputError, match="beside"):
        sign(release, release / "model.sig", key=keys / "own.pem", passphrase=PASSPHRASE)


def test_what_is_not_there_is_named(release: Path, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        verify(tmp_path / "none", tmp_path / "release.sig", key=keys / "own.pub")
    with pytest.raises(InputError, match=r"none\.sig"):
        verify(release, tmp_path / "none.sig", key=keys / "own.pub")
    with refused(Code.KEY):
        verify(release, tmp_path / "release.sig", key=tmp_path / "none.pub")


def test_without_the_library_it_says_what_to_install(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    (tmp_path / "release").mkdir()
    with pytest.raises(InputError, match="model-signing") as caught:
        sign(
            tmp_path / "release",
            tmp_path / "release.sig",
            key=keys / "own.pem",
            passphrase=PASSPHRASE,
        )
    assert "hwc-compiler[signing]" in caught.value.hint
