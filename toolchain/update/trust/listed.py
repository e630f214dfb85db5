"""What the metadata of a product list, once their signatures were checked."""

from collections.abc import Iterator, Mapping

from tuf.api.metadata import TargetFile

from ..offer import Artefact
from ..refusal import Code, Refusal


def read_artefacts(targets: Mapping[str, TargetFile]) -> Iterator[tuple[str, Artefact]]:
    """The update files that signed metadata list, each with the release it leads to.

    Raises:
        Refusal: One is described by something else.
    """
    for path, target in targets.items():
        custom = target.custom
        match custom:
            case {"release": str(release), "base": str(base), "memory": int(memory)}:
                digest = target.hashes.get("sha256", "")
                yield release, Artefact(path, target.length, digest, base, memory)
            case _:
                raise Refusal(Code.MALFORMED, f"{path[:80]}: described by {custom!r:.60}")
