"""Known stretches are found wherever they lie on the grid of four bytes."""

import numpy as np
import pytest
from hwc.toolchain.update.delta.find import Finder, Known, same
from hypothesis import given
from hypothesis import strategies as st


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def known(*pieces: bytes) -> list[Known]:
    return [Known(memoryview(piece), f"file {k}", 0, new=False) for k, piece in enumerate(pieces)]


def found(data: bytes, *pieces: bytes) -> list[tuple[int, int, str, int]]:
    stretches = Finder(known(*pieces)).search(memoryview(data))
    return [(one.begin, one.size, one.known.path, one.offset) for one in stretches]


@pytest.mark.parametrize("begin", [0, 4, 60, 64, 100, 4000])
@pytest.mark.parametrize("size", [124, 128, 1000, 100_001])
def test_a_stretch_is_found_to_its_last_byte(begin: int, size: int) -> None:
    piece = noise(size, 1)
    data = noise(begin, 2) + piece + noise(500, 3)
    assert found(data, noise(300, 4), piece) == [(begin, size, "file 1", 0)]


def test_a_part_of_a_stretch_is_found() -> None:
    piece = noise(2000, 1)
    data = noise(100, 2) + piece[400:1000] + noise(100, 3)
    assert found(data, piece) == [(100, 600, "file 0", 400)]


def test_stretches_in_another_order_are_found_apart() -> None:
    one, two = noise(400, 1), noise(800, 2)
    assert found(two + one + two, one, two) == [
        (0, 800, "file 1", 0),
        (800, 400, "file 0", 0),
        (1200, 800, "file 1", 0),
    ]


def test_a_stretch_across_the_parts_of_a_search_is_found_once() -> None:
    piece = noise(3 << 20, 1)
    data = noise((1 << 20) - 400, 2) + piece
    assert found(data, piece) == [(len(data) - len(piece), len(piece), "file 0", 0)]


@pytest.mark.parametrize("data", [b"", b"abc", bytes(63), bytes(10_000)], ids=len)
def test_what_has_no_content_is_not_found(data: bytes) -> None:
    assert found(data, data, bytes(500), noise(200)) == []
    assert found(data) == []


@given(
    pieces=st.lists(st.integers(0, 5), max_size=6),
    target=st.lists(st.integers(0, 5), max_size=10),
)
def test_what_is_found_is_there(pieces: list[int], target: list[int]) -> None:
    blocks = [noise(size, k) for k, size in enumerate((7, 64, 68, 256, 300, 1000))]
    data = b"".join(blocks[k] for k in target)
    sources = [blocks[k] for k in pieces]
    end = 0
    for begin, size, path, offset in found(data, *sources):
        piece = sources[int(path.split()[1])]
        assert begin >= end
        assert data[begin : begin + size] == piece[offset : offset + size]
        end = begin + size


def test_bytes_are_compared_to_the_end() -> None:
    data = noise(200_000)
    other = data[:-1] + bytes([data[-1] ^ 1])
    assert same(memoryview(data), memoryview(bytes(data)))
    assert not same(memoryview(data), memoryview(other))
    assert not same(memoryview(data), memoryview(data[:-1]))
