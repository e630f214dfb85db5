"""What the metadata of a product list, once their signatures were checked."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from tuf.api.metadata import TargetFile

from ..offer import Artefact, Step
from ..refusal import Code, Refusal
from .roles import PATTERNS, Role, role_name

_DIGEST = re.compile(r"[0-9a-f]{64}")


def read_artefacts(targets: Mapping[str, TargetFile]) -> Iterator[tuple[str, Artefact]]:
    """The update files that signed metadata list, each with the release it leads to.

    Raises:
        Refusal: One is described by something else.
    """
    for path, target in targets.items():
        match target.custom:
            case {"release": str(release), "base": str(base), "memory": int(memory)} if memory >= 0:
                named = _is_digest(release) and (not base or _is_digest(base))
                if named and not isinstance(memory, bool):
                    yield release, Artefact(path, target.length, digest_of(target), base, memory)
                    continue
        raise _strange(target)


def read_step(target: TargetFile, product: str, artefacts: Sequence[Artefact]) -> Step:
    """The release that a signed target is.

    Raises:
        Refusal: It is described by something else.
    """
    match target.custom:
        case {"seq": int(seq), "sec_epoch": int(epoch), "version": str(version)}:
            size = target.custom.get("size", 0)  # those who published with an older hwc lack it
            if all(map(_is_count, (seq, epoch, size))) and version.isprintable():
                digest = digest_of(target)
                return Step(digest, product, version, seq, epoch, tuple(artefacts), size)
    raise _strange(target)


def digest_of(target: TargetFile) -> str:
    """The SHA-256 of a target: part of names of files, so nothing else will do.

    Raises:
        Refusal: It is something else.
    """
    digest = target.hashes.get("sha256", "")
    if not _is_digest(digest):
        raise Refusal(Code.MALFORMED, f"{target.path[:80]!r} has no SHA-256")
    return digest


def check_paths(role: Role, product: str, paths: Iterable[str]) -> None:
    """Refuse what a role of a product may not sign.

    Raises:
        Refusal: One path is not of those that are delegated to it.
    """
    pattern = PATTERNS[role].format(product).split("/")
    for path in paths:
        parts = path.split("/")
        same = len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))
        if not same or set(parts) & {"", ".", ".."} or not path.isprintable():
            name = role_name(role, product)
            raise Refusal(Code.NOT_SIGNED, f"{name} lists {path[:80]!r}, which is not its to sign")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def _strange(target: TargetFile) -> Refusal:
    return Refusal(Code.MALFORMED, f"{target.path[:80]!r}: described by {target.custom!r:.60}")
