"""Update files over bad links: they go on where they were cut, and are checked before use."""

import hashlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from ...progress import Progress
from ..offer import Artefact
from ..refusal import Code, Refusal, short
from .link import Link, MissingError

TRIES = 6  # in a row without much
_MUCH = 1 << 12  # bytes
_PAUSE = 0.5  # seconds after the first; then twice as long each time
_STEP = 1 << 20  # bytes that progress is told in
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Download:
    """Brings files of a repository.

    Attributes:
        link: Where from.
        pause: Waits, in seconds.
        tries: How often in a row a server may fail without having sent 4 KiB more than before.
    """

    link: Link
    pause: Callable[[float], None] = time.sleep
    tries: int = TRIES

    def fetch(self, name: str, artefact: Artefact, into: Path, progress: Progress) -> None:
        """Bring a file, of which a part may be there already, and check it.

        What was brought stays in `into` with `.part` behind, until it is all there.

        Args:
            name: Its name in the repository.
            artefact: What it must be.
            into: Where it goes.
            progress: Told of each MiB.

        Raises:
            Refusal: It could not be had (what came is kept), or is another (nothing is kept).
        """
        part = into.with_name(f"{into.name}.part")
        try:
            with os.fdopen(_opened(part), "r+b") as file:
                self._complete(name, artefact, file, progress)
                _check(file, artefact)
                os.fsync(file.fileno())
        except OSError as cause:
            hint = "make room; the download goes on then"
            raise Refusal(Code.DISK, f"{part}: {cause.strerror}", hint) from cause
        except Refusal as cause:
            if cause.code in {Code.DIGEST, Code.LIMIT}:  # whoever sent the rest sent this too
                part.unlink()
            raise
        part.replace(into)

    def _complete(
        self, name: str, artefact: Artefact, file: BufferedRandom, progress: Progress
    ) -> None:
        """Ask again and again for what is missing, as long as something comes."""
        size, failed, shown = file.seek(0, os.SEEK_END), 0, 0
        reached = size
        if size > artefact.size:
            raise Refusal(Code.DIGEST, f"{name}: {size} B were kept of {artefact.size}")
        with progress.stage(f"fetch {artefact.path}", -(-artefact.size // _STEP)) as step:
            while size < artefact.size:
                try:
                    size = self._more(name, artefact, file)
                except Refusal as cause:
                    if cause.code is not Code.NETWORK or isinstance(cause, MissingError):
                        raise
                    size = file.seek(0, os.SEEK_END)
                    failed = 0 if size >= reached + _MUCH else failed + 1
                    reached = max(reached, size)
                    if failed >= self.tries:
                        raise
                    self.pause(_PAUSE * 2.0 ** max(0, failed - 1))
                while shown < size // _STEP:
                    step()
                    shown += 1

    def _more(self, name: str, artefact: Artefact, file: BufferedRandom) -> int:
        """Ask once; the size of what there is then."""
        size = file.seek(0, os.SEEK_END)
        with self.link.open(name, size) as body:
            if body.start != size:  # a server that cannot go on in the middle begins anew
                size = body.start
                file.seek(size)
                file.truncate()
            for chunk in body.chunks:
                if size + len(chunk) > artefact.size:
                    hint = "the repository was changed, or someone in between sends more"
                    raise Refusal(
                        Code.LIMIT, f"{name}: over the {artefact.size} B that were signed", hint
                    )
                size += file.write(chunk)
        if size < artefact.size:
            raise Refusal(
                Code.NETWORK, f"{name}: cut at {size} of {artefact.size} B", "it can be tried again"
            )
        return size


def _opened(part: Path) -> int:
    """Open or make a plain file; what lies in its place is not written through."""
    try:
        handle = os.open(part, _FLAGS, 0o600)
    except OSError as cause:
        raise Refusal(Code.PATH, f"{part}: {cause.strerror}", "remove it") from cause
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refusal(Code.PATH, f"{part}: not a plain file", "remove it")
    return handle


def _check(file: BufferedRandom, artefact: Artefact) -> None:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != artefact.sha256:
        raise Refusal(
            Code.DIGEST,
            f"{artefact.path}: SHA-256 {short(digest)}, signed {short(artefact.sha256)}",
            "it was removed; it can be fetched again",
        )
