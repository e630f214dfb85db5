"""Integers come back from both coders and from groups and gaps of them."""

import numpy as np
import pytest
from hwc.toolchain.update.codec import gaps, groups
from hwc.toolchain.update.codec.coder import Coder, Codes, fold, unfold
from hwc.toolchain.update.codec.payload import Payload, varint
from hwc.toolchain.update.codec.pco import Pco
from hwc.toolchain.update.codec.planes import Planes
from hwc.toolchain.update.refusal import Code, Refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

KINDS = ("<u1", "<u2", "<u4", "<u8")
CODERS = pytest.mark.parametrize("coder", [Pco(), Planes()], ids=["pco", "planes"])
ARRAYS = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(
        kind,
        st.integers(0, 60),
        elements=st.one_of(
            st.integers(0, 3),
            st.integers(0, 3).map(lambda n: 2 ** (8 * np.dtype(kind).itemsize) - 1 - n),
            st.integers(0, 2 ** (8 * np.dtype(kind).itemsize) - 1),
        ),
    )
)


@given(values=ARRAYS)
def test_folding_can_be_undone(values: Codes) -> None:
    assert np.array_equal(unfold(fold(values)), values)


def test_folded_numbers_are_small() -> None:
    values = np.array([0, -1, 1, -2, 2, -128, 127], np.int8).view(np.uint8)
    assert fold(values).tolist() == [0, 1, 2, 3, 4, 255, 254]


@CODERS
@settings(deadline=None)
@given(values=ARRAYS)
def test_integers_come_back(coder: Coder, values: Codes) -> None:
    payload = Payload(coder.encode(values) + b"next")
    assert np.array_equal(coder.decode(payload, len(values), values.dtype), values)
    assert payload.rest == b"next"


def test_what_repeats_by_chance_is_left_alone() -> None:
    """In noise of 15 numbers a search finds repeats that cost a tenth of all."""
    values = np.random.default_rng(1).integers(0, 15, 1 << 16).astype(np.uint32)
    least = np.log2(15) / 8 * values.size
    assert least < len(Planes().encode(values)) < 1.01 * least


@CODERS
@settings(deadline=None)
@given(values=ARRAYS, seed=st.integers(0, 9), shift=st.integers(0, 5))
def test_groups_come_back(coder: Coder, values: Codes, seed: int, shift: int) -> None:
    values = values << values.dtype.type(shift)
    keys = np.random.default_rng(seed).integers(0, 40, len(values)).astype(np.uint16)
    for known in (keys, None):
        payload = Payload(groups.encode(values, known, coder))
        form = len(values), values.dtype
        assert np.array_equal(groups.decode(payload, known, form, coder), values)
        payload.end()


@CODERS
@settings(deadline=None)
@given(values=ARRAYS)
def test_gaps_come_back(coder: Coder, values: Codes) -> None:
    payload = Payload(gaps.encode(values, coder))
    assert np.array_equal(gaps.decode(payload, len(values), values.dtype, coder), values)
    payload.end()


def test_unlike_numbers_come_into_groups_of_their_own() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 100, 1 << 16).astype(np.uint16)
    values = np.where(keys % 2, rng.integers(0, 4096, 1 << 16), rng.integers(0, 4, 1 << 16))
    packed = groups.encode(values.astype(np.uint32), keys, Pco())
    assert packed[0] == 2
    assert len(packed) < 1.01 * (1 << 16) / 8 * (12 + 2) / 2


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"\x11", b"\x02", b"\x83\xff\xff\xff\xff", b"\x81\x20\x20", b"\x02\x0f\x00"],
    ids=["empty", "none", "17", "cut", "shifts beyond", "shift of 32", "group beyond"],
)
@CODERS
def test_damaged_groups_are_refused(coder: Coder, data: bytes) -> None:
    keys = np.array([3, 5, 5, 9], np.uint16)
    with pytest.raises(Refusal) as refusal:
        groups.decode(Payload(data), keys, (4, np.dtype("<u4")), coder)
    assert refusal.value.code is Code.MALFORMED


@pytest.mark.parametrize("gap", [4, 1 << 31], ids=["one too far", "far"])
def test_a_gap_to_outside_is_refused(gap: int) -> None:
    coder = Planes()
    data = varint(2) + coder.encode(np.array([0, gap], np.uint32))
    data += coder.encode(np.array([1, 1], np.uint8))
    with pytest.raises(Refusal, match="a change at"):
        gaps.decode(Payload(data), 5, np.dtype(np.uint8), coder)


@pytest.mark.parametrize(
    "first",
    [b"\x02\x10", b"\x02\x01", b"\x03\x00", b"\x02", b"\x00\x09", b"\x00\x01\x03"],
    ids=["deltas", "mode", "width", "cut", "planes", "zstd"],
)
def test_modes_of_pcodec_that_take_memory_are_refused(first: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        Pco().decode(Payload(first + bytes(40)), 10, np.dtype("<u2"))
    assert refusal.value.code is Code.MALFORMED


@pytest.mark.parametrize("value", [0, 127, 128, 1 << 20, (1 << 35) - 1], ids=str)
def test_counts_come_back(value: int) -> None:
    payload = Payload(varint(value))
    assert payload.varint(value) == value
    payload.end()


@pytest.mark.parametrize(
    ("data", "most"),
    [(b"\x05", 4), (b"\xff\xff\xff\xff\xff\x00", 1 << 60), (b"\x80", 9), (b"", 9)],
    ids=["large", "long", "cut", "empty"],
)
def test_counts_beyond_their_bounds_are_refused(data: bytes, most: int) -> None:
    with pytest.raises(Refusal) as refusal:
        Payload(data).varint(most)
    assert refusal.value.code is Code.MALFORMED
