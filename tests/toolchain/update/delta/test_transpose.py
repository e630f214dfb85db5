"""Exchanged axes: what numpy says, whatever the size of a tile; and nothing else is accepted."""

import tracemalloc
from contextlib import suppress
from itertools import product

import numpy as np
import pytest
from hwc.toolchain.update.delta import transpose
from hwc.toolchain.update.delta.transpose import AXES, TILE, Axes
from hwc.toolchain.update.refusal import Code, Refusal
from hypothesis import given
from hypothesis import strategies as st


class Bytes:
    """A Reader of some bytes that keeps the most that it was asked for at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.most = 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self._data)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on."""
        self.most = max(self.most, size)
        return self._data[offset : offset + size]

    def close(self) -> None:
        """There is nothing to let go of."""


def array(axes: Axes, count: int) -> np.ndarray:
    shape = (count, axes.rows, axes.columns, axes.item)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@given(
    axes=st.builds(Axes, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    count=st.integers(1, 5),
    lead=st.integers(0, 7),
    tile=st.integers(1, 2000),
)
def test_the_pieces_are_the_transposed_array(axes: Axes, count: int, lead: int, tile: int) -> None:
    before = array(axes, count)
    wanted = before.swapaxes(1, 2).tobytes()
    reader = Bytes(bytes(lead) + before.tobytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transpose, "TILE", max(tile, axes.rows * axes.item))
        assert b"".join(axes.pieces(reader, lead, len(wanted))) == wanted
    assert axes.exchanged(before.tobytes()) == wanted
    one = before[0].swapaxes(0, 1).tobytes()
    assert axes.head(before.tobytes(), 20) == one[:20]


def test_the_inverse_exchange_gives_the_array_back() -> None:
    axes = Axes(6, 35, 4)
    data = array(axes, 3).tobytes()
    assert Axes(35, 6, 4).exchanged(axes.exchanged(data)) == data


@given(st.integers(1, 2**14), st.integers(1, 2**26), st.integers(1, 64))
def test_a_payload_comes_back(rows: int, columns: int, item: int) -> None:
    axes = Axes(rows, columns, item)
    assert Axes.decode(*axes.encode(), 2 * axes.size) == axes


def test_a_large_matrix_takes_a_tile_of_memory() -> None:
    axes = Axes(4_000, 3_000, 4)
    matrix = np.arange(12_000_000, dtype="<u4").reshape(4_000, 3_000)
    reader, wanted = Bytes(matrix.tobytes()), memoryview(matrix.T.tobytes())
    tracemalloc.start()
    try:
        at = 0
        for piece in axes.pieces(reader, 0, axes.size):
            assert piece == wanted[at : at + len(piece)]
            at += len(piece)
        assert tracemalloc.get_traced_memory()[1] < 5 * TILE
    finally:
        tracemalloc.stop()
    assert at == axes.size
    assert reader.most <= TILE


@pytest.mark.parametrize(
    ("axes", "size"),
    [
        pytest.param(Axes(0, 4, 4), 64, id="no rows"),
        pytest.param(Axes(4, 0, 4), 64, id="no columns"),
        pytest.param(Axes(4, 4, 0), 64, id="no item"),
        pytest.param(Axes(4, 4, 4), 65, id="no whole arrays"),
        pytest.param(Axes(4, 5, 4), 64, id="another size"),
        pytest.param(Axes(2**15, 2**10, 1), 2**25, id="a million small reads"),
        pytest.param(Axes(1, 2, 2**20 + 1), 2**21 + 2, id="an item larger than a tile"),
        pytest.param(Axes(2, 2**26 + 1, 1), 2**27 + 2, id="a count over the most"),
    ],
)
def test_what_no_maker_writes_is_refused(axes: Axes, size: int) -> None:
    with pytest.raises(Refusal) as refusal:
        Axes.decode(*axes.encode(), size)
    assert refusal.value.code is Code.MALFORMED


@pytest.mark.parametrize("payload", [b"", b"\x02\x02", b"\x02\x02\x04\x00", b"\xff" * 20])
def test_a_damaged_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        Axes.decode(AXES, payload, 16)
    assert refusal.value.code is Code.MALFORMED


@pytest.mark.parametrize("method", [0, 1, 128, 130, 255])
def test_another_method_is_refused(method: int) -> None:
    with pytest.raises(Refusal) as refusal:
        Axes.decode(method, b"\x02\x02\x04", 16)
    assert refusal.value.code is Code.UNKNOWN


@given(st.binary(max_size=12), st.integers(1, 2**30))
def test_noise_is_refused_or_fits(payload: bytes, size: int) -> None:
    with suppress(Refusal):
        assert Axes.decode(AXES, payload, size).fits(size)


@pytest.mark.parametrize("missing", [1, 500])
def test_a_file_that_ends_before_is_refused(missing: int) -> None:
    axes = Axes(10, 10, 4)
    reader = Bytes(array(axes, 2).tobytes()[:-missing])
    with pytest.raises(Refusal):
        list(axes.pieces(reader, 0, 2 * axes.size))


def test_all_small_shapes_agree_with_numpy() -> None:
    for rows, columns, item in product((1, 2, 3), repeat=3):
        axes = Axes(rows, columns, item)
        before = array(axes, 2)
        assert axes.exchanged(before.tobytes()) == before.swapaxes(1, 2).tobytes()
