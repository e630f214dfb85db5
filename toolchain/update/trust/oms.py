"""An OpenSSF model signature beside a release, for whoever checks models with those tools.

Devices do not read it: they go by TUF. It is the format of OpenSSF Model Signing 1.0 (a Sigstore
bundle with an in-toto statement that lists each file's SHA-256), by the library `model-signing`,
whose keys are on NIST curves; ours are P-256.
"""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ...errors import InputError, OutputError
from ..refusal import Code, Refusal
from .keys import check_closed, encrypted, write_new

if TYPE_CHECKING:
    from model_signing.hashing import Config

_MAKE = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 makes one"


def create_key(private: Path, public: Path, passphrase: str) -> None:
    """Make a key: the private half encrypted (PKCS#8), the public one as PEM.

    Raises:
        Refusal: There is one, or the passphrase is too short.
    """
    for path in (private, public):
        if path.exists():
            raise Refusal(Code.KEY, f"{path}: there is such a key", "take another name")
    key = generate_private_key(SECP256R1())
    write_new(private, encrypted(key, passphrase, private), 0o600)
    about = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_new(public, about, 0o644)


def sign(folder: Path, signature: Path, *, key: Path, passphrase: str) -> None:
    """Sign every file of a release.

    Args:
        folder: The release.
        signature: Where the signature goes; not into the folder, which it would change.
        key: A private key.
        passphrase: Opens it.

    Raises:
        InputError: The extra is missing, or the folder is none, or holds a link.
        Refusal: The key is wrong.
        OutputError: The signature cannot be written.
    """
    _check_folder(folder, signature)
    _check_private(key, passphrase)
    signing, _, hashing = _library()
    # model-signing 1.1 hands the passphrase to cryptography as it is, and that takes bytes.
    signer = signing.Config().use_elliptic_key_signer(private_key=key, password=passphrase.encode())
    try:
        signer.set_hashing_config(_every_file(hashing)).sign(folder, signature)
    except ValueError as cause:
        raise InputError(f"{folder}: {cause}", "sign a folder of plain files") from cause
    except OSError as cause:
        raise OutputError(f"{signature}: {cause.strerror}") from cause


def verify(folder: Path, signature: Path, *, key: Path) -> None:
    """Check that a release is, file by file, what was signed.

    Args:
        folder: The release.
        signature: Its signature.
        key: The public key.

    Raises:
        InputError: The extra is missing, or a file cannot be read.
        Refusal: The signature is none, of another key, or of other files.
    """
    _check_folder(folder, signature)
    _check_public(key)
    _, verifying, hashing = _library()
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    try:
        verifier.set_hashing_config(_every_file(hashing)).verify(folder, signature)
    except InvalidSignature as cause:
        raise Refusal(Code.SIGNATURE, f"{signature}: not signed by {key}") from cause
    except (KeyError, TypeError, AttributeError, IndexError, UnicodeDecodeError) as cause:
        raise Refusal(Code.MALFORMED, f"{signature}: not a model signature") from cause
    except ValueError as cause:
        reason = " ".join(str(cause).split())[:300]
        raise Refusal(
            Code.SIGNATURE, f"{signature} does not hold for {folder}: {reason}"
        ) from cause
    except OSError as cause:
        raise InputError(f"{cause.filename}: {cause.strerror}") from cause


def _library() -> tuple[ModuleType, ModuleType, ModuleType]:
    try:
        from model_signing import hashing, signing, verifying  # noqa: PLC0415 - an extra
    except ImportError as cause:
        message = f"OpenSSF signatures need model-signing, which is not installed ({cause.name})"
        raise InputError(message, "pip install 'hwc-compiler[signing]'") from cause
    return signing, verifying, hashing


def _every_file(hashing: ModuleType) -> "Config":
    """Every file counts, also those of git, which the library leaves out by itself."""
    config: Config = hashing.Config().set_ignored_paths(paths=(), ignore_git_paths=False)
    return config


def _check_folder(folder: Path, signature: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "name the folder of a release")
    if signature.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{signature} is in the folder that it signs", "put it beside the folder")


def _check_private(path: Path, passphrase: str) -> None:
    """Refuse a key that the library would fail on with an error of its own."""
    check_closed(path)
    try:
        key = load_pem_private_key(path.read_bytes(), passphrase.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm, OSError) as cause:
        raise Refusal(
            Code.KEY, f"{path}: this key does not open", "check the passphrase"
        ) from cause
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise Refusal(Code.KEY, f"{path}: not a P-256 key", _MAKE)


def _check_public(path: Path) -> None:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm, OSError) as cause:
        raise Refusal(Code.KEY, f"{path}: not a public key", "copy it again") from cause
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Refusal(Code.KEY, f"{path}: not a P-256 key", _MAKE)
