"""Tests of toolchain/update/trust/download.py: update files over bad and hostile links."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hwc.toolchain.progress import Silent
from hwc.toolchain.update.offer import Artefact
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.trust.download import TRIES, Download
from hwc.toolchain.update.trust.link import Body, Folder, Web

from .server import Handler, Server, serving
from .world import SMALL, refused

NAME = "update.hwcu"
DATA = hashlib.shake_128(b"update").digest(300_000)
ARTEFACT = Artefact(NAME, len(DATA), hashlib.sha256(DATA).hexdigest(), "", 0)


@dataclass
class Site:
    """A server of one update file, and where a device puts it.

    Attributes:
        server: The server.
        into: Where the file goes.
        pauses: What the device waited, in seconds.
    """

    server: Server
    into: Path
    pauses: list[float] = field(default_factory=list)

    @property
    def part(self) -> Path:
        """What was fetched so far."""
        return self.into.with_name(f"{self.into.name}.part")

    def fetch(self, tries: int = TRIES) -> bytes:
        """Bring it."""
        link = Web.at(self.server.address, SMALL)
        Download(link, self.pauses.append, tries).fetch(NAME, ARTEFACT, self.into, Silent())
        return self.into.read_bytes()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site; a device that went through anything at it can fetch the file afterwards."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / NAME).write_bytes(DATA)
    (tmp_path / "device").mkdir()
    with serving(tmp_path / "site") as server:
        site = Site(server, tmp_path / "device" / "got")
        yield site
        server.odd = None
        assert site.fetch() == DATA
        assert sorted(path.name for path in site.into.parent.iterdir()) == ["got"]


def test_a_file_is_brought_and_nothing_else_is_left(site: Site) -> None:
    assert site.fetch() == DATA
    assert site.server.asked == [(f"/{NAME}", 0)]


# Links that are cut


def test_a_cut_download_goes_on_where_it_was_cut(site: Site) -> None:
    def cut(handler: Handler, data: bytes) -> None:
        begin = handler.start()
        rest = data[begin:]
        span = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}
        handler.reply(206 if begin else 200, rest[:70_000], span, length=len(rest))

    site.server.odd = cut
    assert site.fetch() == DATA
    assert site.server.sent == len(DATA)  # no byte twice
    assert [begin for _, begin in site.server.asked] == [0, 70_000, 140_000, 210_000, 280_000]


def test_a_download_goes_on_after_the_device_was_switched_off(site: Site) -> None:
    site.part.write_bytes(DATA[:250_000])
    assert site.fetch() == DATA
    assert site.server.sent == 50_000


def test_what_was_fetched_is_kept_while_the_server_is_down(site: Site) -> None:
    site.part.write_bytes(DATA[:100])
    site.server.odd = lambda handler, _: handler.reply(503, b"")
    with refused(Code.NETWORK):
        site.fetch()
    assert site.part.read_bytes() == DATA[:100]
    assert len(site.server.asked) == TRIES
    assert site.pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_server_that_is_not_there_is_a_refusal(site: Site) -> None:
    link = Web.at("http://127.0.0.1:9", SMALL)  # discard: nobody listens
    with refused(Code.NETWORK):
        Download(link, site.pauses.append).fetch(NAME, ARTEFACT, site.into, Silent())


def test_a_file_that_is_gone_is_asked_for_once(site: Site) -> None:
    site.server.odd = lambda handler, _: handler.reply(404, b"")
    with refused(Code.NETWORK):
        site.fetch()
    assert len(site.server.asked) == 1


# Servers that do not know ranges, or lie about them


def test_a_server_without_ranges_begins_anew(site: Site) -> None:
    site.part.write_bytes(DATA[:1000])
    site.server.odd = lambda handler, data: handler.reply(200, data)
    assert site.fetch() == DATA


def test_a_server_without_ranges_that_is_cut_again_and_again_is_given_up(site: Site) -> None:
    cuts = iter(range(20_000, 200_000, 2000))

    def cut(handler: Handler, data: bytes) -> None:
        place = next(cuts)
        handler.reply(200, data[: place if place // 2000 % 2 else 10_000], length=len(data))

    site.server.odd = cut
    with refused(Code.NETWORK):
        site.fetch()
    assert len(site.server.asked) < 3 * TRIES


@pytest.mark.parametrize(
    "span",
    ["bytes 0-299999/300000", "bytes 99-299999/300000", "bytes 1000", "", "lines 100-2/3"],
    ids=["whole", "before", "no end", "none", "lines"],
)
def test_another_range_than_was_asked_for_is_refused(site: Site, span: str) -> None:
    site.part.write_bytes(DATA[:100])
    site.server.odd = lambda handler, data: handler.reply(206, data[99:], {"Content-Range": span})
    with refused(Code.NETWORK):
        site.fetch()
    assert site.part.read_bytes() == DATA[:100]


def test_a_right_range_with_other_bytes_is_refused_and_dropped(site: Site) -> None:
    site.part.write_bytes(DATA[:100])
    span = {"Content-Range": "bytes 100-299999/300000"}
    site.server.odd = lambda handler, data: handler.reply(206, data[:-100], span)
    with refused(Code.DIGEST):
        site.fetch()
    assert not site.part.exists()


def test_a_range_that_is_said_not_to_be_there_is_refused(site: Site) -> None:
    site.part.write_bytes(DATA[:100])
    site.server.odd = lambda handler, _: handler.reply(416, b"")
    with refused(Code.NETWORK):
        site.fetch()


# Other bytes


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (DATA[:-1] + b"\0", Code.DIGEST),
        (DATA + b"\0", Code.LIMIT),
        (DATA[:-1], Code.NETWORK),
        (b"", Code.NETWORK),
        (DATA[::-1], Code.DIGEST),
    ],
    ids=["last byte", "longer", "shorter", "nothing", "another"],
)
def test_another_file_is_refused(site: Site, data: bytes, code: Code) -> None:
    site.server.odd = lambda handler, _: handler.reply(200, data[handler.start() :])
    with refused(code):
        site.fetch()
    assert not site.into.exists()


def test_a_file_without_an_end_is_cut_off_and_dropped(site: Site) -> None:
    def endless(handler: Handler, data: bytes) -> None:
        handler.reply(200, data, length=1 << 50)
        while not site.server.over.is_set():
            handler.send(data)

    site.server.odd = endless
    with refused(Code.LIMIT):
        site.fetch()
    assert not site.part.exists()


def test_a_packed_answer_is_not_unpacked(site: Site) -> None:
    bomb = b"\x1f\x8b\x08" + bytes(1000)
    site.server.odd = lambda handler, _: handler.reply(200, bomb, {"Content-Encoding": "gzip"})
    with refused(Code.NETWORK):  # 1003 bytes that are no answer
        site.fetch()
    assert site.part.read_bytes() == bomb
    site.part.unlink()


def test_more_than_was_signed_lies_there_already(site: Site) -> None:
    site.part.write_bytes(DATA + b"!")
    with refused(Code.DIGEST):
        site.fetch()


def test_other_bytes_that_lie_there_already_are_found_out(site: Site) -> None:
    site.part.write_bytes(bytes(1000))
    with refused(Code.DIGEST):
        site.fetch()


# Slow links


def dribble(site: Site, handler: Handler, data: bytes, pause: float) -> None:
    for place in range(len(data)):
        if site.server.over.wait(pause):
            return
        handler.send(data[place : place + 1])


def test_a_link_under_the_least_rate_is_refused(site: Site) -> None:
    def slow(handler: Handler, data: bytes) -> None:
        handler.reply(200, b"", length=len(data))
        dribble(site, handler, data, 0.01)

    site.server.odd = slow
    with refused(Code.NETWORK):
        site.fetch(tries=1)
    assert site.server.sent < 1000


def test_a_link_that_falls_silent_is_refused(site: Site) -> None:
    def silent(handler: Handler, data: bytes) -> None:
        handler.reply(200, data[:5000], length=len(data))
        site.server.over.wait(5)

    site.server.odd = silent
    with refused(Code.NETWORK):
        site.fetch(tries=1)


def test_a_server_that_hands_out_crumbs_is_refused(site: Site) -> None:
    def crumb(handler: Handler, data: bytes) -> None:
        begin = handler.start()
        rest = data[begin:]
        span = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}
        handler.reply(206 if begin else 200, rest[:100], span, length=len(rest))

    site.server.odd = crumb
    with refused(Code.NETWORK):
        site.fetch()
    assert len(site.server.asked) <= TRIES
    assert site.part.read_bytes() == DATA[: site.part.stat().st_size]  # it goes on next time


# What was planted on the device


@pytest.mark.parametrize("target", ["file", "nothing"])
def test_a_link_that_was_planted_is_not_followed(site: Site, target: str) -> None:
    victim = site.into.parent.parent / "victim"
    if target == "file":
        victim.write_bytes(b"precious")
    site.part.symlink_to(victim)
    with refused(Code.PATH):
        site.fetch()
    assert not victim.exists() or victim.read_bytes() == b"precious"
    site.part.unlink()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused(site: Site, kind: str) -> None:
    site.part.mkdir() if kind == "folder" else os.mkfifo(site.part)
    with refused(Code.PATH):
        site.fetch()
    site.part.rmdir() if kind == "folder" else site.part.unlink()


def test_a_link_in_the_place_of_the_file_is_replaced(site: Site) -> None:
    victim = site.into.parent.parent / "victim"
    victim.write_bytes(b"precious")
    site.into.symlink_to(victim)
    assert site.fetch() == DATA
    assert not site.into.is_symlink()
    assert victim.read_bytes() == b"precious"


# Sticks


@dataclass
class Pulled:
    """A stick that is pulled out in the middle; a `Link`."""

    folder: Path

    @contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[Body]:
        """See `Link.open`."""
        with Folder(self.folder).open(path, start) as body:

            def chunks() -> Iterator[bytes]:
                yield next(body.chunks)
                raise Refusal(Code.NETWORK, "Input/output error")

            yield Body(start, chunks())


def test_a_stick_that_was_pulled_out_is_read_on(site: Site) -> None:
    link = Pulled(site.server.folder)
    Download(link, site.pauses.append).fetch(NAME, ARTEFACT, site.into, Silent())
    assert site.into.read_bytes() == DATA
