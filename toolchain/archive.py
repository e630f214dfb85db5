"""A bundle as one zip file: packed reproducibly, unpacked only after its directory is checked."""

import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .errors import IntegrityError, OutputError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold: equal bundles, equal archives
_MODE = stat.S_IFREG | 0o644
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a bundle from outside may ask of this machine.

    Attributes:
        manifest_bytes: Size of the manifest.
        files: Number of files.
        archive_bytes: Sum of the sizes that a zip declares for its members.
        ratio: Declared size over compressed size; deflate itself ends at about 1032.
    """

    manifest_bytes: int = 16 << 20
    files: int = 4096
    archive_bytes: int = 64 << 30
    ratio: int = 1040


LIMITS = Limits()


def check_member(path: str) -> None:
    """Refuse a path that could leave the folder it is meant for, or mean two things.

    Raises:
        IntegrityError: It is empty, absolute, has an empty, `.` or `..` part, a backslash, a
            drive's colon or a control character.
    """
    parts = path.split("/")
    bad = any(part in ("", ".", "..") for part in parts)
    if bad or any(mark in path for mark in "\\:") or not path.isprintable():
        raise IntegrityError(f"the file name {path!r} is not allowed in a bundle", _DISCARD)


def pack(folder: Path, archive: Path) -> None:
    """Write all files of `folder` to a zip file with fixed order, dates and modes."""
    with zipfile.ZipFile(archive, "x", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(str(PurePosixPath(path.relative_to(folder))), _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = _MODE << 16
            info.file_size = path.stat().st_size  # tells zipfile whether it needs 64-bit sizes
            with path.open("rb") as source, target.open(info, "w") as member:
                shutil.copyfileobj(source, member, 1 << 20)


def is_packed(archive: Path, name: str) -> bool:
    """Whether a file is a zip with such a member; says nothing about what is in it."""
    try:
        with zipfile.ZipFile(archive) as source:
            return name in source.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def unpack(archive: Path, folder: Path, limits: Limits = LIMITS) -> None:
    """Extract a zip file into the empty `folder`.

    Raises:
        IntegrityError: It is no zip, is damaged, or its directory breaks the path rule or the
            limits; nothing has been written then.
        OutputError: There is no room for what it declares.
    """
    if not looks_like_zip(archive):
        hint = "name a folder or zip made by hwc compile"
        raise IntegrityError("is not a bundle, neither a folder nor a zip", hint)
    try:
        with zipfile.ZipFile(archive) as source:
            members = _checked(source, archive, limits)
            _check_room(members, archive, folder)
            for info in members:
                path = folder / info.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                with source.open(info) as member, path.open("xb") as target:
                    shutil.copyfileobj(member, target, 1 << 20)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as cause:
        raise IntegrityError(f"damaged archive ({cause})", _DISCARD) from cause


def looks_like_zip(path: Path) -> bool:
    """Whether a file begins as a zip file does, damaged or not."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _checked(source: zipfile.ZipFile, archive: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    members = [info for info in source.infolist() if not info.is_dir()]
    for info in source.infolist():
        check_member(info.filename.rstrip("/"))
        _check_kind(info)
        if info.file_size > limits.ratio * max(info.compress_size, 1):
            raise IntegrityError(f"{info.filename} expands beyond belief", _DISCARD)
    if len(source.infolist()) > limits.files:
        raise IntegrityError(f"more than {limits.files} files", _DISCARD)
    if len({info.filename for info in members}) != len(members):
        raise IntegrityError("the same file name twice", _DISCARD)
    if sum(info.file_size for info in members) > limits.archive_bytes:
        raise IntegrityError(f"declares more than {limits.archive_bytes} B", _DISCARD)
    # Members that overlap (one stream declared many times) add up to more than the file.
    if sum(info.compress_size for info in members) > archive.stat().st_size:
        raise IntegrityError("members overlap", _DISCARD)
    return members


def _check_kind(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise IntegrityError(f"{info.filename} is a link or a special file", _DISCARD)
    if info.flag_bits & _ENCRYPTED:
        raise IntegrityError(f"{info.filename} is encrypted", "decrypt the archive first")


def _check_room(members: list[zipfile.ZipInfo], archive: Path, folder: Path) -> None:
    need, free = sum(info.file_size for info in members), shutil.disk_usage(folder).free
    if need > free:
        raise OutputError(
            f"{archive}: {need} B are needed to unpack it in {folder.parent}, {free} B are free",
            "set TMPDIR to a larger disk, or unpack the bundle yourself",
        )


_DISCARD = "do not use this bundle; fetch or compile it again"
