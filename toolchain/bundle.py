"""A bundle: the folder (or zip) that a compilation delivers, every file with its digest."""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from .accuracy.stacked import read_npz
from .archive import LIMITS, Limits, check_member, is_packed, pack, unpack
from .codec import LATER, canonical, parse
from .device import DeviceProfile
from .engine import Array, Check, Engine, Feeds, Status
from .errors import InputError, IntegrityError, OutputError
from .npz import write_npz
from .output import atomic_output
from .output import check_target as check_output
from .plan import Plan
from .report import Report
from .storage.pack import unpack_model
from .update.release import RELEASE

FORMAT = 1
MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
MODEL = "model.onnx"
PACKED = "model.hwcw"  # stands for MODEL, which is rebuilt where the bundle is opened
PLAN = "plan.json"
REPORT = "report.json"
GOLDEN = "golden.npz"

_DISCARD = "do not use this bundle; fetch or compile it again"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a bundle: its path with forward slashes, its size in bytes and its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """What a bundle was made from.

    Attributes:
        role: `model`, or `data` for a file of external tensors.
        given: The path or `module:factory` as the user gave it.
        size: Bytes; 0 where there is no file.
        sha256: Empty where there is no file.
    """

    role: str
    given: str
    size: int = 0
    sha256: str = ""

    @classmethod
    def of_file(cls, path: Path, role: str = "model") -> Self:
        """Describe a file as it is now."""
        return cls(role, str(path), path.stat().st_size, file_digest(path))

    def matches(self, path: Path) -> bool:
        """Whether `path` still holds what was compiled."""
        if not self.sha256 or not path.is_file() or path.stat().st_size != self.size:
            return False
        return file_digest(path) == self.sha256


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        backend: Name of the backend that builds and runs it.
        profile: The device it is made for, in full: a profile may change after it.
        engine: The built engine; None while `hwc build` on the device is still to come.
        build_commands: Shell commands that build the engine, run in the bundle's folder.
        versions: Of hwc, Python, onnx and the runtime.
        sources: The original model and its external data.
        checks: What was checked, and what is owed to the device.
        files: Every other file of the bundle; `seal` fills it in.
        original_options: How the runtime opens the original at its best, as in `Engine.options`:
            what the engine was compared with.
        format: Version of this format.
    """

    backend: str
    profile: DeviceProfile
    engine: Engine | None
    build_commands: tuple[str, ...]
    versions: Mapping[str, str]
    sources: tuple[Source, ...]
    checks: tuple[Check, ...]
    files: tuple[FileEntry, ...] = ()
    original_options: Mapping[str, str] = field(default_factory=dict, metadata=LATER)
    format: int = FORMAT

    @property
    def owed(self) -> tuple[Check, ...]:
        """The checks that this bundle still needs on its device."""
        return tuple(check for check in self.checks if check.status is Status.OWED)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every byte was checked against its manifest; a context manager.

    Attributes:
        path: What was opened: a folder or a zip file.
        folder: Where its files lie; of a zip, or where the model is packed, a temporary folder
            that is gone when the block ends.
        manifest: The parsed manifest.
    """

    path: Path
    folder: Path
    manifest: Manifest
    _temporary: "tempfile.TemporaryDirectory[str] | None" = None

    @classmethod
    def open(cls, path: Path, limits: Limits = LIMITS) -> Self:
        """Check all digests of a bundle and parse its manifest.

        Raises:
            InputError: There is no such file or folder.
            IntegrityError: A file is missing, added, changed, linked or named against the rule.
        """
        if not (path.is_dir() or path.is_file()):
            raise InputError(f"{path}: no such bundle", "name a folder or zip made by hwc compile")
        try:
            return cls._checked(path, limits)
        except IntegrityError as cause:
            raise IntegrityError(f"{path}: {cause.message}", cause.hint) from cause

    @classmethod
    def _checked(cls, path: Path, limits: Limits) -> Self:
        if path.is_dir():
            manifest = read_manifest(path, limits)
            if not (path / PACKED).exists():
                return cls(path, path, manifest)
        temporary = tempfile.TemporaryDirectory(prefix="hwc-bundle-")
        try:
            folder = Path(temporary.name)
            if path.is_dir():
                for each in path.iterdir():
                    (folder / each.name).symlink_to(each.absolute(), each.is_dir())
            else:
                unpack(path, folder, limits)
                manifest = read_manifest(folder, limits)
            _rebuild(folder, manifest)
            return cls(path, folder, manifest, temporary)
        except BaseException:
            temporary.cleanup()
            raise

    def close(self) -> None:
        """Remove what was unpacked."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def model(self) -> Path:
        """The deploy graph."""
        return self.folder / MODEL

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.manifest.files)

    def plan(self) -> Plan:
        """The plan that was chosen."""
        return Plan.from_json((self.folder / PLAN).read_text(encoding="utf-8"))

    def report(self) -> Report:
        """What `compile` measured and decided."""
        return parse(Report, (self.folder / REPORT).read_bytes())

    def golden(self) -> tuple[tuple[Feeds, Feeds], ...]:
        """A few inputs with the original's outputs."""
        return read_golden(self.folder / GOLDEN)

    def original(self) -> Path | None:
        """The recorded original model, if it and its external data are still what was compiled."""
        sources = self.manifest.sources
        if not sources or not all(source.matches(Path(source.given)) for source in sources):
            return None
        return next((Path(s.given) for s in sources if s.role == "model"), None)


def check_target(target: Path, *, force: bool) -> None:
    """Refuse, before any long work, a path that a bundle could not be written to.

    Raises:
        OutputError: See `output.check_target`; or it is a file or a folder that is no bundle, which
            even `force` does not replace.
    """
    check_output(target, force=force)
    if target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise OutputError(f"{target}: is a folder but not a bundle", "change -o")
    if target.is_file() and not is_packed(target, MANIFEST):
        raise OutputError(f"{target}: is a file but not a bundle", "change -o")


@contextmanager
def staged(target: Path, *, force: bool = False, archive: bool = False) -> Iterator[Path]:
    """Yield a folder beside `target` that becomes the bundle when the block ends well.

    The block writes the files and calls `seal` last. Nothing is left behind when it fails.

    Args:
        target: Where the bundle goes.
        force: Replace an earlier bundle there.
        archive: Deliver a zip file instead of a folder.

    Raises:
        OutputError: The target cannot be written, or the disk is full.
    """
    check_target(target, force=force)
    with atomic_output(target, force=force) as place:
        if not archive:
            place.mkdir()
            yield place
            return
        beside = target.absolute().parent
        with tempfile.TemporaryDirectory(dir=beside, prefix=f".{target.name}.") as scratch:
            yield Path(scratch)
            pack(Path(scratch), place)


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest of all files now in `folder`, and the manifest's own digest, last.

    `manifest.sha256` has the form that `sha256sum --check` reads. A model that is
    there packed, too, is removed.

    Returns:
        The manifest with its files filled in.
    """
    for name in (MANIFEST, DIGEST, RELEASE):
        (folder / name).unlink(missing_ok=True)
    if (folder / PACKED).exists():
        (folder / MODEL).unlink(missing_ok=True)
    names = _walk(folder)
    entries = (FileEntry(n, p.stat().st_size, file_digest(p)) for n, p in sorted(names.items()))
    full = replace(manifest, files=tuple(entries))
    text = canonical(full).encode()
    (folder / MANIFEST).write_bytes(text)
    (folder / DIGEST).write_bytes(_digest_line(text))
    return full


def read_manifest(folder: Path, limits: Limits = LIMITS) -> Manifest:
    """Check a bundle's folder from the outside in, and only then hand out its manifest.

    Raises:
        IntegrityError: The folder does not hold exactly what its manifest says; names the file.
    """
    found = _walk(folder)
    for name in (MANIFEST, DIGEST):
        if name not in found:
            raise IntegrityError(f"has no {name}", "name a bundle made by hwc compile")
    if found[MANIFEST].stat().st_size > limits.manifest_bytes:
        raise IntegrityError(f"{MANIFEST} is over {limits.manifest_bytes} B", _DISCARD)
    text = found.pop(MANIFEST).read_bytes()
    line = _digest_line(text)
    digest = found.pop(DIGEST)
    if digest.stat().st_size != len(line) or digest.read_bytes() != line:
        raise IntegrityError(f"{MANIFEST} does not have the digest in {DIGEST}", _DISCARD)
    try:
        manifest = parse(Manifest, text)
    except InputError as cause:
        raise IntegrityError(f"{MANIFEST}: {cause.message}", "use the hwc that made it") from cause
    if manifest.format != FORMAT:
        raise IntegrityError(f"format {manifest.format}, not {FORMAT}", "update hwc")
    found.pop(RELEASE, None)  # of a release made from this bundle, which has its own digests
    _check_files(manifest, found, limits)
    return manifest


def write_golden(path: Path, pairs: tuple[tuple[Feeds, Feeds], ...]) -> None:
    """Store a few inputs with the original's outputs."""
    arrays: dict[str, Array] = {}
    for index, (feeds, outputs) in enumerate(pairs):
        arrays |= {f"{index}<{name}": array for name, array in feeds.items()}
        arrays |= {f"{index}>{name}": array for name, array in outputs.items()}
    write_npz(path, arrays)


def read_golden(path: Path) -> tuple[tuple[Feeds, Feeds], ...]:
    """Read what `write_golden` wrote."""
    pairs: dict[int, tuple[dict[str, Array], dict[str, Array]]] = {}
    for key, array in read_npz(path).items():
        index, mark, name = re.split("([<>])", key, maxsplit=1)
        feeds, outputs = pairs.setdefault(int(index), ({}, {}))
        (feeds if mark == "<" else outputs)[name] = array
    return tuple(pairs[index] for index in sorted(pairs))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rebuild(folder: Path, manifest: Manifest) -> None:
    """Write the model where it is packed.

    Raises:
        IntegrityError: The manifest has it both ways, or it is damaged.
    """
    listed = {entry.path for entry in manifest.files}
    if PACKED not in listed:
        return
    if MODEL in listed:
        raise IntegrityError(f"{MODEL} is there beside {PACKED}", _DISCARD)
    (folder / MODEL).write_bytes(unpack_model((folder / PACKED).read_bytes()))


def _digest_line(text: bytes) -> bytes:
    return f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode()


def _walk(folder: Path) -> dict[str, Path]:
    """All files below `folder` by relative path; links and special files are refused unopened."""
    found = {}
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(root) / name
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise IntegrityError(
                    f"{path.relative_to(folder)} is a link or a special file", _DISCARD
                )
        found.update(
            {(Path(root) / n).relative_to(folder).as_posix(): Path(root) / n for n in names}
        )
    return found


def _check_files(manifest: Manifest, found: Mapping[str, Path], limits: Limits) -> None:
    if len(manifest.files) > limits.files:
        raise IntegrityError(f"{MANIFEST} lists over {limits.files} files", _DISCARD)
    for entry in manifest.files:
        check_member(entry.path)
    listed = {entry.path for entry in manifest.files}
    if len(listed) < len(manifest.files):
        raise IntegrityError(f"{MANIFEST} lists a file twice", _DISCARD)
    if extra := sorted(found.keys() - listed):
        raise IntegrityError(f"{extra[0]} is not in the manifest", "remove it, or fetch again")
    for entry in manifest.files:
        path = found.get(entry.path)
        if path is None:
            raise IntegrityError(f"{entry.path} is missing", _DISCARD)
        if path.stat().st_size != entry.size or file_digest(path) != entry.sha256:
            raise IntegrityError(f"{entry.path} does not have its size and digest", _DISCARD)
