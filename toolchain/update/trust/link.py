"""How a repository is reached: a folder, or an address on a web server; neither is trusted."""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import urllib3

from ...archive import check_member
from ...errors import IntegrityError
from ..limits import LIMITS, Limits
from ..refusal import Code, Refusal
from .watch import Watch, make_pool

CHUNK = 1 << 16


class MissingError(Refusal):
    """There is no such file; of metadata that may be as it should be."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a file holds from some byte on.

    Attributes:
        start: That byte; 0 where the server does not go on in the middle.
        chunks: The bytes.
    """

    start: int
    chunks: Iterator[bytes]


class Link(Protocol):
    """Hands out files of a repository."""

    def open(self, path: str, start: int = 0) -> AbstractContextManager[Body]:
        """Open a file from a byte on.

        Raises:
            MissingError: There is no such file.
            Refusal: There is no answer, or a strange one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder: a stick, a share, or the repository itself.

    Attributes:
        path: The folder.
    """

    path: Path

    @contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[Body]:
        """See `Link.open`."""
        _checked(path)
        place = self.path / path
        try:
            handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as cause:
            raise MissingError(Code.NETWORK, f"{place}: no such file") from cause
        except OSError as cause:
            raise Refusal(Code.NETWORK, f"{place}: {cause.strerror}") from cause
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):  # a pipe would keep us waiting
                raise Refusal(Code.PATH, f"{place}: not a plain file", "do not use this folder")
            yield Body(start, _chunks_of(handle, place, start))
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class Web:
    """A web server.

    Attributes:
        address: Where the repository is: `https://host/fleet`.
        pool: Connections.
        limits: The slowest link that will do.
    """

    address: str
    pool: urllib3.PoolManager
    limits: Limits

    @classmethod
    def at(cls, address: str, limits: Limits = LIMITS) -> "Web":
        """A server that is given up when it is silent for too long; it may not send elsewhere.

        Raises:
            Refusal: The address has a password in it, which messages and logs would show.
        """
        if "@" in urlsplit(address).netloc:
            hint = "take it out; what is fetched is signed, and need not be secret"
            raise Refusal(Code.NETWORK, "the address of the repository holds a password", hint)
        return cls(address.rstrip("/"), make_pool(limits), limits)

    @contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[Body]:
        """See `Link.open`."""
        _checked(path)
        place = f"{self.address}/{quote(path)}"
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            answer = self.pool.request(
                "GET",
                place,
                headers=headers,
                preload_content=False,
                decode_content=False,  # bytes are counted as they were signed, not unpacked
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as cause:
            raise _unreached(place, cause) from cause
        try:
            with Watch(self.limits, answer.shutdown) as watch:
                yield Body(_begin(answer, place, start), self._chunks(answer, place, watch))
        finally:
            answer.close()

    def _chunks(
        self, answer: urllib3.BaseHTTPResponse, place: str, watch: Watch
    ) -> Iterator[bytes]:
        """The bytes, as long as they come fast enough."""
        try:
            while chunk := answer.read1(CHUNK):
                yield chunk
                watch.got += len(chunk)
        except urllib3.exceptions.HTTPError as cause:
            if not watch.slow:
                raise _unreached(place, cause) from cause
        if watch.slow:
            message = f"{place}: slower than {self.limits.rate} B/s"
            raise Refusal(Code.NETWORK, message, "try again later")


def link_to(repository: str, limits: Limits = LIMITS) -> Link:
    """A link to an address or a folder.

    Raises:
        Refusal: It is neither.
    """
    if urlsplit(repository).scheme in {"http", "https"}:
        return Web.at(repository, limits)
    if not Path(repository).is_dir():
        hint = "name the folder of a repository, or an address with http or https"
        raise Refusal(Code.NETWORK, f"{repository}: no such repository", hint)
    return Folder(Path(repository))


def _begin(answer: urllib3.BaseHTTPResponse, place: str, start: int) -> int:
    """The byte that an answer begins with.

    Raises:
        MissingError: There is no such file.
        Refusal: It is no answer to what was asked.
    """
    match answer.status:
        case 200:
            return 0
        case 206 if answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            return start
        case 403 | 404:
            raise MissingError(Code.NETWORK, f"{place}: not there ({answer.status})")
    hint = "check the address; an answer that sends elsewhere is not followed"
    raise Refusal(Code.NETWORK, f"{place}: answer {answer.status}", hint)


def _chunks_of(handle: int, place: Path, start: int) -> Iterator[bytes]:
    try:
        while chunk := os.pread(handle, CHUNK, start):
            yield chunk
            start += len(chunk)
    except OSError as cause:  # a stick was pulled out
        raise Refusal(
            Code.NETWORK, f"{place}: {cause.strerror}", "it can be tried again"
        ) from cause


def _checked(path: str) -> None:
    try:
        check_member(path)
    except IntegrityError as cause:
        raise Refusal(Code.PATH, f"the repository names {path[:80]!r}") from cause


def _unreached(place: str, cause: Exception) -> Refusal:
    reason = " ".join(str(cause).split())[:160]
    return Refusal(Code.NETWORK, f"{place}: {reason}", "check the network; it can be tried again")
