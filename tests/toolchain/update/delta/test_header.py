"""Headers come back as they went, and one that lies is refused before it costs anything."""

import struct
import tracemalloc
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.update.codec import zstd
from hwc.toolchain.update.delta.header import BLOCK, DIGEST, FILE, SEGMENT, Header, Op, Strategy
from hwc.toolchain.update.limits import LIMITS, Limits
from hwc.toolchain.update.refusal import Code, Refusal
from hypothesis import given
from hypothesis import strategies as st

PAYLOADS = 90  # bytes of those of `good`
COUNTS = 32 + 32 + 1 + 4  # where the header keeps how many rows its tables have


def header(segments: list[tuple[int, int, int, int, int]], blocks: list[tuple[int, int]]) -> Header:
    made = Header(
        base="ab" * 32,
        release="cd" * 32,
        strategy=Strategy.HASH,
        text=1000,
        files=np.array([(0, 0, len(segments))], FILE),
        segments=np.array(segments, SEGMENT),
        blocks=np.array(blocks, BLOCK),
        digests=b"",
    )
    return replace(made, digests=bytes(DIGEST * sum(1 for _ in made.chunks())))


def good() -> Header:
    return header([(Op.COPY, 0, 0, 5, 100), (Op.SKELETON, 0, 0, 0, 7)], [(2, 40), (2, 50)])


@given(
    segments=st.lists(
        st.tuples(
            st.sampled_from([int(op) for op in Op]),
            st.integers(0, 15),
            st.integers(0, 2**32 - 1),
            st.integers(-LIMITS.file, LIMITS.file),
            st.integers(1, LIMITS.file),
        ),
        max_size=20,
    ),
    sizes=st.lists(st.integers(1, LIMITS.payload), min_size=1, max_size=20),
)
def test_a_header_comes_back(
    segments: list[tuple[int, int, int, int, int]], sizes: list[int]
) -> None:
    made = header(segments, [(1, size) for size in sizes])
    read = Header.unpack(made.pack(), LIMITS, payloads=sum(sizes))
    for name in ("files", "segments", "blocks"):
        assert (getattr(read, name) == getattr(made, name)).all()
    assert read.pack() == made.pack()
    assert sum(count for count, _ in read.chunks()) == len(sizes)
    assert sum(total for _, total in read.chunks()) == sum(sizes)


def test_offsets_go_on_where_the_last_reading_segment_ended() -> None:
    rows: list[tuple[int, int, int, int, int]] = [
        (Op.COPY, 0, 0, 10, 5),
        (Op.SKELETON, 0, 0, 0, 99),
        (Op.CODED, 1, 0, -3, 8),
    ]
    assert header(rows, [(2, 1)]).offsets[[0, 2]].tolist() == [10, 12]


def test_a_full_update_names_no_base() -> None:
    assert Header.unpack(replace(good(), base="").pack(), LIMITS, payloads=PAYLOADS).base == ""


@pytest.mark.parametrize(
    ("made", "code"),
    [
        pytest.param(header([(9, 0, 0, 0, 1)], [(2, 1)]), Code.UNKNOWN, id="op"),
        pytest.param(header([(0, 99, 0, 0, 1)], [(2, 1)]), Code.UNKNOWN, id="dtype"),
        pytest.param(header([(0, 0, 0, 0, 0)], [(2, 1)]), Code.MALFORMED, id="empty"),
        pytest.param(header([(0, 0, 0, 0, 2**64 - 1)], [(2, 1)]), Code.LIMIT, id="huge segment"),
        pytest.param(header([(0, 0, 0, -(2**63), 1)], [(2, 1)]), Code.LIMIT, id="huge skip"),
        pytest.param(header([(0, 0, 0, 0, 1)], [(2, 2**32 - 1)]), Code.LIMIT, id="huge payload"),
        pytest.param(header([(0, 0, 0, 0, 1)], []), Code.MALFORMED, id="no block"),
        pytest.param(
            replace(good(), files=np.array([(0, 0, 2**32 - 1)] * 3, FILE)),
            Code.MALFORMED,
            id="segments that are not there",
        ),
        pytest.param(replace(good(), digests=b""), Code.MALFORMED, id="no digests"),
        pytest.param(replace(good(), digests=bytes(DIGEST * 2)), Code.MALFORMED, id="too many"),
        pytest.param(replace(good(), text=2**31), Code.LIMIT, id="huge bundle.json"),
    ],
)
def test_a_header_that_lies_is_refused(made: Header, code: Code) -> None:
    with pytest.raises(Refusal) as refusal:
        Header.unpack(made.pack(), LIMITS, payloads=PAYLOADS)
    assert refusal.value.code is code


@pytest.mark.parametrize("table", [0, 1, 2], ids=["files", "segments", "blocks"])
@pytest.mark.parametrize("count", [10**9, 2**32 - 1])
def test_a_billion_rows_are_refused_before_they_are_unpacked(table: int, count: int) -> None:
    packed = bytearray(good().pack())
    struct.pack_into("<I", packed, COUNTS + 4 * table, count)
    tracemalloc.start()
    try:
        with pytest.raises(Refusal) as refusal:
            Header.unpack(bytes(packed), LIMITS, payloads=PAYLOADS)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert refusal.value.code is Code.LIMIT


MANY = (LIMITS.header_decoded - FILE.itemsize - SEGMENT.itemsize) // BLOCK.itemsize
MEMORY = {"no byte for each": (0, 100_000), "a byte for each": (MANY, 20 << 20)}


@pytest.mark.parametrize("case", MEMORY)
@pytest.mark.parametrize("size", [0, LIMITS.payload])
def test_as_many_blocks_as_there_may_be_take_little_memory(case: str, size: int) -> None:
    payloads, most = MEMORY[case]
    blocks = np.full(MANY, np.array((2, size), BLOCK))
    packed = replace(good(), blocks=blocks, digests=bytes(DIGEST)).pack()
    tracemalloc.start()
    try:
        with suppress(Refusal):
            Header.unpack(packed, LIMITS, payloads=payloads)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def test_a_header_has_no_more_digests_than_payloads_can_need() -> None:
    padded = replace(good(), digests=bytes(DIGEST * 3)).pack()
    with pytest.raises(Refusal, match="of them tables") as refusal:
        Header.unpack(padded, LIMITS, payloads=PAYLOADS)
    assert refusal.value.code is Code.MALFORMED


def test_a_bomb_in_the_tables_is_refused() -> None:
    made = good()
    bomb = zstd.compress(bytes(50_000_000), level=19)
    fixed = bytearray(made.pack()[: COUNTS + 16])
    struct.pack_into("<I", fixed, COUNTS + 12, len(bomb))
    tracemalloc.start()
    try:
        with pytest.raises(Refusal) as refusal:
            Header.unpack(bytes(fixed) + bomb + made.digests, LIMITS, payloads=PAYLOADS)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert refusal.value.code in (Code.MALFORMED, Code.LIMIT)


@given(data=st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal):
        Header.unpack(data, LIMITS, payloads=PAYLOADS)


@given(at=st.integers(0, 400), value=st.integers(0, 255))
def test_a_changed_header_is_read_or_refused(at: int, value: int) -> None:
    packed = bytearray(good().pack())
    packed[at % len(packed)] = value
    with suppress(Refusal):
        Header.unpack(bytes(packed), LIMITS, payloads=PAYLOADS)


def test_limits_of_the_device_hold() -> None:
    with pytest.raises(Refusal) as refusal:
        Header.unpack(good().pack(), Limits(segments=1), payloads=PAYLOADS)
    assert refusal.value.code is Code.LIMIT
