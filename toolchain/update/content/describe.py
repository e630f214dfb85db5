"""The release that a folder of plain files is, and `bundle.json` in it."""

import hashlib
import mmap
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...archive import check_member
from ...errors import IntegrityError
from ...output import atomic_output
from ..limits import LIMITS, Limits
from ..refusal import Code, Refusal, short
from ..release import RELEASE, Compatibility, Golden, Release, ReleaseFile, Tensor
from .find import find
from .span import Span

_CHUNK = 1 << 20
_AGAIN = "make the release again from its model"


def describe(  # noqa: PLR0913 - what nobody but the publisher knows of a release
    folder: Path,
    *,
    product: str,
    version: str,
    seq: int,
    sec_epoch: int,
    compatibility: Compatibility,
    golden: Golden | None,
    provenance: Mapping[str, str],
) -> Release:
    """Describe all files of a folder but its `bundle.json`, reading each of them once.

    Args:
        folder: What is to be released.
        product: See `Release`, as all that follow.
        version: What people call it.
        seq: Counts the product's releases.
        sec_epoch: Raised when older releases must not run any more.
        compatibility: Where it runs.
        golden: How a device tells that it works.
        provenance: Who made it of what.

    Raises:
        Refusal: There is a link, a special file or a forbidden name, or too much of something.
    """
    views = {path: mapped(folder, path) for path in walk(folder) if path != RELEASE}
    spans = find(views)
    files = tuple(_described(path, views[path], spans[path]) for path in sorted(views))
    release = Release(
        product, version, seq, sec_epoch, compatibility, golden, dict(provenance), files
    )
    Release.parse(release.text())  # what no device would accept is not published
    return release


def write_release(folder: Path, release: Release) -> None:
    """Write `bundle.json`, whole or not at all."""
    with atomic_output(folder / RELEASE, force=True) as target:
        target.write_bytes(release.text())


def read_release(folder: Path, *, verify: bool = True, limits: Limits = LIMITS) -> Release:
    """Read `bundle.json` and check that its folder holds its files and no others.

    Args:
        folder: Of the release.
        verify: Compare digests, too; without it only names and sizes.
        limits: What is accepted.

    Raises:
        Refusal: A file is missing, added, changed, linked or named against the rule.
    """
    found = walk(folder)
    if RELEASE not in found:
        hint = "name the folder of a release, which hwc publish makes"
        raise Refusal(Code.PATH, f"{folder} has no {RELEASE}", hint)
    if (folder / RELEASE).stat().st_size > limits.release:
        raise Refusal(Code.LIMIT, f"{folder / RELEASE} is over {limits.release} B", _AGAIN)
    release = Release.parse(bytes(mapped(folder, RELEASE)), limits)
    listed = {file.path for file in release.files}
    if differing := sorted(listed ^ (set(found) - {RELEASE})):
        what = "is missing" if differing[0] in listed else f"is not in {RELEASE}"
        raise Refusal(Code.DIGEST, f"{folder / differing[0]} {what}", _AGAIN)
    for file in release.files:
        _check(folder, file, verify=verify)
    return release


def walk(folder: Path) -> tuple[str, ...]:
    """All files below a folder by their relative paths with forward slashes, sorted.

    Raises:
        Refusal: There is a link, a special file, or a name that a release cannot have.
    """
    found = []
    for root, folders, names in os.walk(folder, onerror=_unreadable):
        for name in (*folders, *names):
            path = Path(root) / name
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode):
                found.append(_checked(path, path.relative_to(folder).as_posix(), mode))
            elif name not in folders:
                raise Refusal(Code.PATH, f"{path} changes while it is read", _AGAIN)
    return tuple(sorted(found))


def _checked(path: Path, relative: str, mode: int) -> str:
    if not stat.S_ISREG(mode):
        raise Refusal(Code.PATH, f"{path} is a link or a special file", "put the file itself there")
    try:
        check_member(relative)
        relative.encode()  # a name of undecodable bytes is no text
    except (IntegrityError, UnicodeEncodeError) as cause:
        raise Refusal(Code.PATH, f"{relative!r} is no name for a file", "rename it") from cause
    if len(relative) > LIMITS.path:
        raise Refusal(Code.PATH, f"{relative[:80]!r}… has {len(relative)} characters", "rename it")
    return relative


def _unreadable(cause: OSError) -> None:
    message = f"{cause.filename}: {cause.strerror}"
    raise Refusal(Code.PATH, message, "name a folder that can be read") from cause


def mapped(folder: Path, path: str) -> memoryview:
    """The bytes of a file, mapped into memory.

    Raises:
        Refusal: It is missing, a link, or cannot be read.
    """
    try:
        descriptor = os.open(folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as cause:
        raise Refusal(Code.PATH, f"{folder / path}: {cause.strerror}", _AGAIN) from cause
    try:
        if os.fstat(descriptor).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def _described(path: str, data: memoryview, spans: Sequence[Span]) -> ReleaseFile:
    """One pass over a file gives its digest and those of its tensors."""
    whole, tensors, at = hashlib.sha256(), [], 0
    for span in spans:
        for chunk in _chunks(data[at : span.offset]):
            whole.update(chunk)
        one = hashlib.sha256()
        for chunk in _chunks(data[span.offset : span.end]):
            whole.update(chunk)
            one.update(chunk)
        at, digest = span.end, one.hexdigest()
        tensors.append(Tensor(span.name, span.dtype, span.shape, span.offset, span.size, digest))
    for chunk in _chunks(data[at:]):
        whole.update(chunk)
    return ReleaseFile(path, len(data), whole.hexdigest(), tuple(tensors))


def _chunks(data: memoryview) -> Iterator[memoryview]:
    return (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))


def _check(folder: Path, file: ReleaseFile, *, verify: bool) -> None:
    path = folder / file.path
    size = path.lstat().st_size
    if size != file.size:
        message = f"{path} has {size} B, its {RELEASE} says {file.size}"
        raise Refusal(Code.DIGEST, message, _AGAIN)
    if not verify:
        return
    spans = [Span(t.name, t.dtype, t.shape, t.offset, t.size) for t in file.tensors]
    found = _described(file.path, mapped(folder, file.path), spans)
    if found == file:
        return
    if found.sha256 != file.sha256:
        message = f"{path} has SHA-256 {short(found.sha256)}, not {short(file.sha256)}"
        raise Refusal(Code.DIGEST, message, _AGAIN)
    pairs = zip(found.tensors, file.tensors, strict=True)
    name = next(one.name for one, other in pairs if one != other)
    raise Refusal(Code.DIGEST, f"{path}: the tensor {name!r} has another SHA-256", _AGAIN)
