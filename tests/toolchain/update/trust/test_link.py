"""Tests of toolchain/update/trust/{link,watch}.py: names, folders and servers of repositories."""

import errno
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hwc.toolchain.update.refusal import Code
from hwc.toolchain.update.trust.link import Folder, Link, MissingError, Web, link_to

from .server import Handler, Server, serving
from .world import SMALL, refused

DATA = bytes(range(256)) * 1000
HOSTILE = ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a\\b", "c:x", "a\nb", "a\0b"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of a folder of one file, whose name an address has to quote."""
    (tmp_path / "a b#c?").write_bytes(DATA)
    with serving(tmp_path) as running:
        yield running


def read(link: Link, path: str = "a b#c?", start: int = 0) -> bytes:
    with link.open(path, start) as body:
        assert body.start == start
        return b"".join(body.chunks)


@pytest.mark.parametrize("path", HOSTILE, ids=repr)
def test_a_name_that_leaves_the_repository_is_refused(tmp_path: Path, path: str) -> None:
    for link in (Folder(tmp_path), Web.at("http://127.0.0.1:9")):
        with refused(Code.PATH):
            read(link, path)


@pytest.mark.parametrize("start", [0, 1, 255_999])
def test_a_folder_and_a_server_hand_out_the_same(server: Server, start: int) -> None:
    for repository in (server.address, f"{server.address}/", str(server.folder)):
        assert read(link_to(repository), start=start) == DATA[start:]


def test_a_file_that_is_not_there_is_told_from_a_failure(server: Server) -> None:
    for repository in (server.address, str(server.folder)):
        for path in ("b", "a b#c?/b"):
            with pytest.raises(MissingError):
                read(link_to(repository), path)


@pytest.mark.parametrize("repository", ["/no/such/folder", "ftp://host/fleet", "file:///etc"])
def test_what_is_no_repository_is_refused(repository: str) -> None:
    with refused(Code.NETWORK):
        link_to(repository)


def test_a_password_in_an_address_is_neither_taken_nor_shown() -> None:
    with pytest.raises(Exception, match="password") as caught:
        link_to("https://me:Tr0ub4dor@host/fleet")
    assert "Tr0ub4dor" not in str(caught.value)


# Folders


def test_a_folder_with_a_pipe_does_not_keep_a_device_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with refused(Code.PATH):
        read(Folder(tmp_path), "pipe")


@pytest.mark.parametrize("target", ["/dev/zero", "/proc"])
def test_a_link_to_what_is_no_file_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "timestamp.json").symlink_to(target)
    with refused(Code.PATH):
        read(Folder(tmp_path), "timestamp.json")


def test_a_stick_that_is_pulled_out_is_a_bad_link_and_no_full_disk(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", gone)
    with refused(Code.NETWORK):
        read(Folder(server.folder))


# Servers that dawdle: in any of these a byte comes well before a socket's timeout


def dribble(handler: Handler, data: bytes) -> None:
    for byte in itertools.cycle(data):
        if handler.server.over.wait(0.02):
            return
        handler.send(bytes([byte]))


def in_a_header(handler: Handler, _: bytes) -> None:
    handler.send(b"HTTP/1.1 200 OK\r\nX: ")
    dribble(handler, b"x")


def in_the_status(handler: Handler, _: bytes) -> None:
    dribble(handler, b"HTTP/1.1 100 Continue\r\n\r\n")


def in_the_length_of_a_chunk(handler: Handler, _: bytes) -> None:
    handler.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    dribble(handler, b"0")


def in_the_trailer(handler: Handler, _: bytes) -> None:
    handler.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
    dribble(handler, b"x")


def in_a_body_without_length(handler: Handler, _: bytes) -> None:
    handler.send(b"HTTP/1.1 200 OK\r\n\r\n")
    dribble(handler, b"x")


@pytest.mark.parametrize(
    "dawdle",
    [
        in_a_header,
        in_the_status,
        in_the_length_of_a_chunk,
        in_the_trailer,
        in_a_body_without_length,
    ],
)
def test_a_server_that_dawdles_is_given_up(server: Server, dawdle: object) -> None:
    server.odd = dawdle  # type: ignore[assignment] # a function of this module
    with refused(Code.NETWORK):
        read(Web.at(server.address, SMALL))
    assert 1 < server.sent < 100


def test_a_server_that_goes_on_and_on_is_given_up(server: Server) -> None:
    def on_and_on(handler: Handler, _: bytes) -> None:
        while not server.over.is_set():
            handler.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    server.odd = on_and_on
    with refused(Code.NETWORK):
        read(Web.at(server.address, SMALL))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 100,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 999999999999 OK\r\n\r\n",
    ],
    ids=["nothing", "zeros", "ssh", "chunk", "many headers", "long header", "status"],
)
def test_what_is_no_answer_is_refused(server: Server, answer: bytes) -> None:
    def odd(handler: Handler, _: bytes) -> None:
        handler.close_connection = True
        handler.send(answer)

    server.odd = odd
    with refused(Code.NETWORK):
        read(Web.at(server.address, SMALL))
    ends = time.monotonic() + 5
    while server.sent < len(answer) and time.monotonic() < ends:
        time.sleep(0.01)  # the server's thread counts after the client has it
    assert server.sent == len(answer)
