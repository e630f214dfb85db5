"""Frames and messages: round trips, limits, and everything that is refused."""

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hwc.backends.agent_frames import MARK, Frame, Limits, read, write
from hwc.backends.agent_messages import (
    PROTOCOL,
    REPLY_LIMITS,
    Hello,
    Kind,
    Order,
    build_frame,
    build_of,
    error_frame,
    error_of,
    graph_frame,
    graph_of,
)
from hwc.backends.ort_timing import RawBuild
from hwc.toolchain.host import Host
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Limits(header=1000, part=100, total=150, count=3)
HOST = Host("aarch64", "Cortex-A78AE", 8, 8, 2200.0, frozenset({"asimd"}), {1: 64, 3: 4096}, None)
HELLO = Hello(PROTOCOL, "0.1.0", "3.11.2", "1.32.0", HOST, 3.5)
BUILD = RawBuild(
    {"conv": np.array([1.0, 2.0]), "quiet": np.zeros(0), "relu": np.array([0.5, 0.25])},
    b"graph",
    np.array([3.0, 4.0]),
    np.array([5.0, 6.0]),
)


def raw(header: object, *parts: bytes, mark: bytes = MARK, length: int | None = None) -> bytes:
    """A frame as it lies on the wire, right or wrong."""
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(data) if length is None else length
    return mark + size.to_bytes(4, "big") + data + b"".join(parts)


def head(**changes: object) -> dict[str, object]:
    """A header, with changes."""
    return {"kind": "graph", "fields": {}, "parts": [], **changes}


@given(
    kind=st.text(),
    fields=st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
    parts=st.lists(st.binary(), max_size=REPLY_LIMITS.count),
)
def test_frames_round_trip(kind: str, fields: dict[str, object], parts: list[bytes]) -> None:
    stream = io.BytesIO()
    frames = [Frame(kind, fields, tuple(parts)), Frame("next")]
    for frame in frames:
        write(stream, frame)
    stream.seek(0)
    assert [read(stream, REPLY_LIMITS), read(stream, REPLY_LIMITS)] == frames
    assert read(stream, REPLY_LIMITS) is None


class Narrow(io.BytesIO):
    """A pipe that takes a few bytes at a time."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - as its base has it
        """Write the first three."""
        return super().write(bytes(data[:3]))


def test_a_sink_may_take_less_than_it_is_given() -> None:
    stream = Narrow()
    write(stream, graph_frame(b"0123456789"))
    stream.seek(0)
    assert read(stream, LIMITS) == graph_frame(b"0123456789")


NONSENSE = {
    "another mark": raw(head(), mark=b"HTTP"),
    "a header beyond the limit": raw(head(), length=1001),
    "a header of 4 GiB": raw(head(), length=(1 << 32) - 1),
    "not JSON": raw(b"{kind: graph}"),
    "not text": raw(b"\xff\xfe"),
    "nested without end": raw(b"[" * 900),
    "a list": raw([1, 2]),
    "no kind": raw({"fields": {}, "parts": []}),
    "a kind that is no text": raw(head(kind=7)),
    "fields that are a list": raw(head(fields=[])),
    "parts that are a number": raw(head(parts=5)),
    "a negative part": raw(head(parts=[-1])),
    "a fractional part": raw(head(parts=[1.5]), b"xx"),
    "a true part": raw(head(parts=[True]), b"x"),
    "a part beyond the limit": raw(head(parts=[101]), b"x" * 101),
    "a part of 2^63": raw(head(parts=[1 << 63])),
    "parts beyond the limit": raw(head(parts=[80, 80]), b"x" * 160),
    "too many parts": raw(head(parts=[0, 0, 0, 0])),
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=list(NONSENSE))
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(io.BytesIO(data), LIMITS)


@pytest.mark.parametrize("cut", [1, 5, 20, 70])
def test_a_stream_that_ends_within_a_frame(cut: int) -> None:
    whole = raw(head(parts=[30]), b"x" * 30)
    with pytest.raises(ConnectionError):
        read(io.BytesIO(whole[:-cut]), LIMITS)


def test_nothing_of_a_refused_size_is_read() -> None:
    stream = io.BytesIO(raw(head(parts=[101]), b"x" * 101))
    with pytest.raises(ValueError, match="of 101 bytes"):
        read(stream, LIMITS)
    assert len(stream.read()) == 101


def test_noise_before_the_first_frame() -> None:
    data = b"Welcome! hwc hhwc\n" + raw(head())
    assert read(io.BytesIO(data), LIMITS, noise=100) == Frame("graph")
    with pytest.raises(ValueError, match="no frame begins"):
        read(io.BytesIO(data), LIMITS, noise=10)
    assert read(io.BytesIO(b"Welcome! And good bye."), LIMITS, noise=100) is None


@pytest.mark.parametrize("data", [b"", MARK[:2]], ids=["nothing", "half a mark"])
def test_a_stream_that_ends_before_a_frame(data: bytes) -> None:
    assert read(io.BytesIO(data), LIMITS) is None


def test_hello_round_trip() -> None:
    assert Hello.of(HELLO.frame()) == HELLO


def test_order_round_trip() -> None:
    feeds = {
        "x/in:0": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
        "ids": np.array(7),
        "text": np.array(["a", "bc"], dtype=object),
        "none": np.zeros((0, 4), np.uint8),
    }
    order = Order.of(Order(3, feeds, 40, 2).frame())
    assert (order.graphs, order.runs, order.threads) == (3, 40, 2)
    assert list(order.feeds) == list(feeds)
    for name, array in feeds.items():
        np.testing.assert_array_equal(order.feeds[name], array)
    assert order.feeds["x/in:0"].dtype == np.float32


def test_build_round_trip() -> None:
    got = build_of(build_frame(BUILD), runs=2)
    assert got.graph == BUILD.graph
    assert list(got.events) == list(BUILD.events)
    for name, us in BUILD.events.items():
        np.testing.assert_array_equal(got.events[name], us)
    np.testing.assert_array_equal(got.total_us, BUILD.total_us)
    np.testing.assert_array_equal(got.wall_us, BUILD.wall_us)


def test_a_build_without_kernels() -> None:
    empty = RawBuild({}, b"", np.zeros(0), np.zeros(0))
    assert build_of(build_frame(empty), runs=0).events == {}


def test_an_error_cannot_write_to_the_terminal() -> None:
    message, hint = error_of(error_frame("\x1b[31mred\nline", "h" * 9999))
    assert message == "[31mred line"
    assert len(hint) == 1000


def changed(frame: Frame, **fields: object) -> Frame:
    """A message with other fields."""
    return replace(frame, fields={**frame.fields, **fields})


def host(**fields: object) -> Frame:
    """A hello from a machine with other properties."""
    known = HELLO.frame()
    return changed(known, host={**dict(known.fields["host"]), **fields})  # type: ignore[call-overload]  # a dictionary, in an object


WRONG_HELLOS = {
    "another message": Frame(Kind.TURN),
    "nothing in it": Frame(Kind.HELLO),
    "a protocol in words": changed(HELLO.frame(), protocol="one"),
    "a true protocol": changed(HELLO.frame(), protocol=True),
    "a negative protocol": changed(HELLO.frame(), protocol=-1),
    "a version that is a list": changed(HELLO.frame(), version=["1.32"]),
    "negative memory": changed(HELLO.frame(), free_gib=-1),
    "memory that is no number": changed(HELLO.frame(), free_gib=float("nan")),
    "endless memory": changed(HELLO.frame(), free_gib=float("inf")),
    "no machine": changed(HELLO.frame(), host=None),
    "cores that are many": host(cores=1 << 40),
    "instruction sets that are numbers": host(isa=[1, 2]),
    "caches that are no pairs": host(caches=[[1, 2, 3]]),
    "caches in words": host(caches=[["L1", 64]]),
}


@pytest.mark.parametrize("frame", WRONG_HELLOS.values(), ids=list(WRONG_HELLOS))
def test_a_hello_that_cannot_be(frame: Frame) -> None:
    with pytest.raises(ValueError, match="a message"):
        Hello.of(frame)


def with_part(index: int, data: bytes) -> Frame:
    """A build with another part."""
    frame = build_frame(BUILD)
    parts = list(frame.parts)
    parts[index] = data
    return replace(frame, parts=tuple(parts))


def times(*us: float) -> bytes:
    """Times on the wire."""
    return np.array(us, "<f8").tobytes()


WRONG_BUILDS = {
    "another message": Frame(Kind.TURN),
    "no parts": replace(build_frame(BUILD), parts=()),
    "a part too many": replace(build_frame(BUILD), parts=(b"",) * 5),
    "more counts than nodes": changed(build_frame(BUILD), counts=[2, 0, 2, 0]),
    "counts of other times": changed(build_frame(BUILD), counts=[2, 0, 9]),
    "negative counts": changed(build_frame(BUILD), counts=[-2, 4, 2]),
    "a node twice": changed(build_frame(BUILD), nodes=["conv", "conv", "relu"]),
    "half a number": with_part(1, times(1, 2, 3, 4)[:-3]),
    "negative times": with_part(2, times(3, -4)),
    "times that are no numbers": with_part(2, times(3, float("nan"))),
    "endless times": with_part(3, times(3, float("inf"))),
    "times beyond any kernel": with_part(1, times(1, 2, 3, 1e10)),
    "other runs than asked for": with_part(2, times(3, 4, 5)),
    "other runs on the wall": with_part(3, times(3)),
}


@pytest.mark.parametrize("frame", WRONG_BUILDS.values(), ids=list(WRONG_BUILDS))
def test_a_build_that_cannot_be(frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"."):
        build_of(frame, runs=2)


def pickled() -> bytes:
    """An npy file that would run code."""
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    return stream.getvalue()


ORDER = Order(1, {"x": np.zeros(2)}, 3, 1).frame()
WRONG_ORDERS = {
    "another message": Frame(Kind.TURN),
    "no feeds": replace(ORDER, parts=()),
    "feeds that are pickled": replace(ORDER, parts=(pickled(),)),
    "feeds that are cut off": replace(ORDER, parts=(ORDER.parts[0][:-3],)),
    "feeds that are no arrays": replace(ORDER, parts=(b"PK\x03\x04",)),
    "negative runs": changed(ORDER, runs=-1),
    "runs in words": changed(ORDER, runs="many"),
}


@pytest.mark.parametrize("frame", WRONG_ORDERS.values(), ids=list(WRONG_ORDERS))
def test_an_order_that_cannot_be(frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"."):
        Order.of(frame)


def test_a_graph_that_does_not_come() -> None:
    assert graph_of(graph_frame(b"g")) == b"g"
    with pytest.raises(ConnectionError):
        graph_of(None)
    with pytest.raises(ValueError, match="'turn' where 'graph' is due"):
        graph_of(Frame(Kind.TURN))
