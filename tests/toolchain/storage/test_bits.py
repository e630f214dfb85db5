"""Codes without gaps, and entropy coding that refuses what is damaged."""

from contextlib import suppress

import numpy as np
import pytest
from hwc.toolchain.errors import IntegrityError
from hwc.toolchain.storage.bits import deflate, inflate, pack_bits, packed_size, unpack_bits
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(1, 8), st.binary(max_size=300))
def test_codes_come_back(bits: int, data: bytes) -> None:
    codes = np.frombuffer(data, np.uint8) & np.uint8(2**bits - 1)
    packed = pack_bits(codes, bits)
    assert len(packed) == packed_size(codes.size, bits)
    assert np.array_equal(unpack_bits(packed, bits, codes.size), codes)


def test_the_lowest_bits_come_first() -> None:
    assert pack_bits(np.array([1, 2, 3], np.uint8), 4) == bytes([0x21, 0x03])
    assert pack_bits(np.array([5, 1, 7], np.uint8), 3) == bytes([0b11001101, 0b1])


@pytest.mark.parametrize("change", [-1, 1])
def test_another_size_is_refused(change: int) -> None:
    packed = pack_bits(np.zeros(64, np.uint8), 5)
    with pytest.raises(IntegrityError, match="64 codes"):
        unpack_bits(packed[:change] if change < 0 else packed + b"\0", 5, 64)


@given(st.binary(max_size=500))
def test_what_was_deflated_inflates(data: bytes) -> None:
    assert inflate(deflate(data), len(data)) == data


@pytest.mark.parametrize("size", [0, 999, 1001], ids=["none", "less", "more"])
def test_another_size_than_was_said_is_refused(size: int) -> None:
    with pytest.raises(IntegrityError, match="damaged"):
        inflate(deflate(bytes(1000)), size)


@given(st.binary(min_size=20, max_size=60), st.data())
def test_no_flipped_byte_crashes(data: bytes, draw: st.DataObject) -> None:
    packed = bytearray(deflate(data))
    at = draw.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= draw.draw(st.integers(1, 255))
    with suppress(IntegrityError):
        assert len(inflate(bytes(packed), len(data))) == len(data)


def test_a_bomb_makes_no_more_than_what_was_said() -> None:
    bomb = deflate(bytes(50_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(IntegrityError):
        inflate(bomb, 1000)
