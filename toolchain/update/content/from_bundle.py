"""From what `hwc compile` delivers to a release and back: the same files, beside `bundle.json`."""

import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...archive import check_member, looks_like_zip, pack, unpack
from ...bundle import (
    GOLDEN,
    MANIFEST,
    MODEL,
    PACKED,
    PLAN,
    Manifest,
    file_digest,
    read_manifest,
)
from ...engine import Engine
from ...errors import IntegrityError
from ...output import atomic_output
from ...version import __version__
from ..refusal import Code, Refusal
from ..release import RELEASE, Compatibility, Golden, Release
from .describe import describe, mapped, read_release, walk, write_release
from .onnx import locations

OF_MANIFEST = "manifest"  # key of the digest of a bundle's manifest in a release's provenance

_SM = re.compile(r"sm(\d+)(\d)")
_INSTRUCTIONS = "+"  # between an architecture and what it needs of it: x86_64+avx512_vnni


@dataclass(frozen=True, slots=True)
class Edition:
    """What only the publisher knows of a release; the attributes are those of `Release`."""

    product: str
    version: str
    seq: int
    sec_epoch: int = 0


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the files themselves say of a release."""

    compatibility: Compatibility
    golden: Golden | None
    provenance: Mapping[str, str]


def from_bundle(
    source: Path,
    target: Path,
    edition: Edition,
    *,
    compatibility: Compatibility | None = None,
    link: bool = False,
) -> Release:
    """Make the folder of a release.

    Args:
        source: A bundle, as a folder or a zip file; a model file with its external data beside it;
            or the folder of a release, which becomes this edition and stays the same otherwise.
        target: The folder to make.
        edition: What to call it.
        compatibility: Where it runs; None: what the bundle was compiled for, with the runtime that
            it was checked with or a later one, and an engine with the very version it needs.
        link: Share the bytes on disk with the source, where that is possible; it must then never
            be written in place.

    Raises:
        Refusal: The source is neither, is damaged, or has a link in it; nothing is left behind.
        OutputError: The target is there already or cannot be written.
    """
    with atomic_output(target) as stage:
        stage.mkdir()
        if source.is_dir():
            _place(source, stage, walk(source), link=link)
            released = (source / RELEASE).is_file()
            facts = _of_release(source) if released else _of_bundle(source, stage)
        elif source.is_file() and looks_like_zip(source):
            _unpack(source, stage)
            facts = _of_bundle(source, stage)
        else:
            _place(source.parent, stage, model_files(source), link=link)
            facts = _of_model(stage)
        release = describe(
            stage,
            product=edition.product,
            version=edition.version,
            seq=edition.seq,
            sec_epoch=edition.sec_epoch,
            compatibility=compatibility or facts.compatibility,
            golden=facts.golden,
            provenance=facts.provenance,
        )
        write_release(stage, release)
    return release


def to_bundle(folder: Path, target: Path, *, archive: bool = False, link: bool = False) -> None:
    """Give back, byte by byte, what a release was made from.

    Args:
        folder: Of the release.
        target: The folder or zip file to make.
        archive: Make a zip file.
        link: See `from_bundle`; a zip file shares nothing.

    Raises:
        Refusal: The release is damaged.
        OutputError: The target is there already or cannot be written.
    """
    paths = [file.path for file in read_release(folder).files]
    with atomic_output(target) as stage:
        if not archive:
            stage.mkdir()
            _place(folder, stage, paths, link=link)
            return
        with tempfile.TemporaryDirectory(dir=stage.parent, prefix=f".{target.name}.") as scratch:
            _place(folder, Path(scratch), paths, link=True)
            pack(Path(scratch), stage)


def model_files(model: Path) -> tuple[str, ...]:
    """The name of a model file and, relative to its folder, those of its external data.

    Raises:
        Refusal: One is not there, or would lie outside of the folder.
    """
    if not model.is_file():
        hint = "name a bundle made by hwc compile, or a model file"
        raise Refusal(Code.PATH, f"{model}: no such file or folder", hint)
    plain = model.resolve()
    named = locations(mapped(plain.parent, plain.name))
    return (model.name, *sorted({_data_file(model, name) for name in named}))


def _data_file(model: Path, location: str) -> str:
    """The path of external data relative to the model's folder, in the one form for it."""
    path, hint = posixpath.normpath(location), "put the external data beside the model"
    try:
        check_member(path)
    except IntegrityError as cause:
        message = f"{model}: its external data {location[:80]!r} lie outside of its folder"
        raise Refusal(Code.PATH, message, hint) from cause
    place = model.parent / path
    if not place.is_file() or place.resolve() != model.parent.resolve() / path:
        raise Refusal(Code.PATH, f"{place} is missing or a link", hint)
    return path


def _place(source: Path, target: Path, paths: Iterable[str], *, link: bool) -> None:
    """Link or copy files, each to where it lay; `bundle.json` stays behind."""
    for path in paths:
        if path == RELEASE:
            continue
        origin, copy = (source / path).resolve(), target / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        if link and _linked(origin, copy):
            continue
        shutil.copyfile(origin, copy)


def _linked(origin: Path, copy: Path) -> bool:
    try:
        os.link(origin, copy)
    except OSError:  # another disk, or one without hard links
        return False
    return True


def _unpack(source: Path, stage: Path) -> None:
    try:
        unpack(source, stage)
    except IntegrityError as cause:
        raise Refusal(Code.MALFORMED, f"{source}: {cause.message}", cause.hint) from cause
    (stage / RELEASE).unlink(missing_ok=True)


def _of_release(source: Path) -> _Facts:
    release = read_release(source)
    return _Facts(release.compatibility, release.golden, release.provenance)


def _of_bundle(source: Path, stage: Path) -> _Facts:
    """What a bundle's manifest says, once every file was compared with it."""
    try:
        manifest = read_manifest(stage)
    except IntegrityError as cause:
        raise Refusal(Code.DIGEST, f"{source}: {cause.message}", cause.hint) from cause
    listed = {entry.path: entry for entry in manifest.files}
    golden = Golden(GOLDEN) if GOLDEN in listed else None
    provenance = {
        "backend": manifest.backend,
        "profile": manifest.profile.name,
        "target": manifest.profile.target,
        OF_MANIFEST: file_digest(stage / MANIFEST),
        **{f"version.{name}": text for name, text in manifest.versions.items()},
    }
    if PLAN in listed:
        provenance["plan"] = listed[PLAN].sha256
    for i, made_from in enumerate(manifest.sources):
        provenance[f"source.{i}.{made_from.role}"] = made_from.sha256 or made_from.given
    return _Facts(_compatibility(manifest), golden, provenance)


def _of_model(stage: Path) -> _Facts:
    paths = walk(stage)
    provenance = {"version.hwc": __version__}
    memory = sum((stage / path).stat().st_size for path in paths)
    return _Facts(Compatibility(memory=memory), None, provenance)


def _compatibility(manifest: Manifest) -> Compatibility:
    """Where a bundle runs. It needs at least the memory that its engine, or its model, fills."""
    target, engine = manifest.profile.target, manifest.engine
    runtime, lowest, highest = _runtime(engine)
    sm = _SM.fullmatch(target)
    arch = target.partition(_INSTRUCTIONS)[0] if _INSTRUCTIONS in target else ""
    files = engine.files if engine else (MODEL,)
    sizes = {entry.path: entry.size for entry in manifest.files}
    sizes.setdefault(MODEL, sizes.get(PACKED, 0))
    return Compatibility(
        arch=arch,
        accelerator="" if sm or arch else target,
        sm=f"{sm[1]}.{sm[2]}" if sm else "",
        runtime=runtime,
        runtime_min=lowest,
        runtime_max=highest,
        memory=sum(sizes.get(path, 0) for path in files),
    )


def _runtime(engine: Engine | None) -> tuple[str, str, str]:
    """Name, lowest and highest version of what opens an engine; later ones open a graph, too."""
    if engine is None:
        return "", "", ""
    name, _, version = engine.runtime.rpartition(" ")
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    if not name or not numbers:
        return engine.runtime, "", ""
    portable = engine.files[0].endswith(".onnx")
    behind = [numbers[0] + 1] if portable else [*numbers[:-1], numbers[-1] + 1]
    return name, version, ".".join(map(str, behind))
