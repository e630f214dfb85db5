"""Arrays coded without loss: every bit comes back, and few numbers take few bytes."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hwc.toolchain.errors import HwcError, IntegrityError
from hwc.toolchain.storage.encode import stored
from hwc.toolchain.storage.formats import Format
from hwc.toolchain.storage.lossless import How, code, restore
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Items = npt.NDArray[np.unsignedinteger[Any]]
KINDS = [np.dtype(kind) for kind in (np.uint8, np.uint16, np.uint32, np.uint64)]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)
NAMES = [
    "int2",
    "int4",
    "int4/tensor",
    "int4/32",
    "lsq3",
    "log4",
    "float8e4m3",
    "codebook3",
    "lsq3~60",
]


def weight(shape: tuple[int, ...] = (32, 8, 3, 3)) -> npt.NDArray[np.float32]:
    generator = np.random.default_rng(0)
    size = generator.uniform(0.05, 1.0, (shape[0], *[1] * (len(shape) - 1)))
    return (generator.standard_normal(shape) * size).astype(np.float32)


def back(items: Items, *formats: Format) -> tuple[How, int]:
    section, data = code(items, formats)
    assert sum(section.sizes) == len(data)
    again = restore(section, memoryview(data), items.shape, items.dtype)
    assert again.dtype == items.dtype
    assert np.array_equal(again, items)
    return section.how, len(data)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(KINDS), SHAPES, st.sampled_from([1, 3, 200, 2**8 - 1]))
def test_every_bit_comes_back(
    data: st.DataObject, kind: npt.DTypeLike, shape: tuple[int, ...], most: int
) -> None:
    back(data.draw(hnp.arrays(kind, shape, elements=st.integers(0, most))))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [0, 1, None])
def test_what_a_format_wrote_takes_no_more_than_the_format(name: str, axis: int | None) -> None:
    form = Format.parse(name)
    held = stored(weight(), form, axis)
    how, size = back(held.view(np.uint32), form)
    channels = held.shape[axis] if axis is not None else 1
    assert how is not How.BYTES
    assert size <= form.bytes(held.size, channels) + 32


@pytest.mark.parametrize("name", ["int4", "codebook4/channel", "lsq3"])
def test_without_the_format_there_are_tables(name: str) -> None:
    form = Format.parse(name)
    held = stored(weight((64, 64, 3, 3)), form)
    how, size = back(held.view(np.uint32))
    assert how is How.TABLE
    assert size < 1.25 * form.bytes(held.size, 64)


def test_int8_weights_that_are_of_4_bits_take_4() -> None:
    steps = np.rint(stored(weight(), Format.parse("int4/tensor")) * 20).astype(np.int8)
    how, size = back(steps.view(np.uint8))
    assert how is How.TABLE
    assert size <= steps.size // 2 + 32


def test_a_table_for_each_channel_of_the_second_axis() -> None:
    generator = np.random.default_rng(1)
    table = generator.integers(0, 256, (4, 20))
    codes = generator.integers(0, 4, (5000, 20))
    items = np.take_along_axis(table, codes, axis=0).astype(np.uint8)
    _, size = back(items)
    assert size < items.size * 2 / 8 + 200


def test_pruned_zeros_cost_little() -> None:
    held = stored(weight((64, 64, 3, 3)), Format.parse("int4"))
    dense = back(held.view(np.uint32), Format.parse("int4"))[1]
    held[np.random.default_rng(0).random(held.shape) < 0.8] = 0.0
    assert back(held.view(np.uint32), Format.parse("int4"))[1] < 0.55 * dense


@pytest.mark.parametrize(
    ("name", "slack"),
    [("lsq3~50", 1.0), ("int4~75x4", 1.02), ("int8~90", 1.02), ("lsq4~60x8", 1.06)],
)
def test_zeros_take_what_the_format_says(name: str, slack: float) -> None:
    """A format's own figure, which the search goes by, is near that of the file."""
    form = Format.parse(name)
    held = stored(weight((64, 64, 3, 3)), form)
    size = back(held.view(np.uint32), form)[1]
    said = form.bytes(held.size, 64)
    assert 0.8 * said < size <= slack * said + 32


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_runs_of_zeros_take_less_than_zeros_here_and_there(dtype: Any) -> None:  # noqa: ANN401 - a type
    sizes = []
    for name in ("int8~75", "int8~75x4"):
        held = stored(weight((64, 64, 3, 3)), Format.parse(name), None)
        steps = np.rint(held * (127 / np.abs(held).max())).astype(dtype)
        sizes.append(back(steps.view(np.uint8 if dtype is np.int8 else np.uint32))[1])
    assert sizes[1] < 0.9 * sizes[0]
    assert sizes[0] < 0.4 * held.size


def test_a_bitmap_is_only_taken_where_it_is_less() -> None:
    for share, wanted in ((0.1, False), (0.9, True)):
        held = stored(weight((64, 64, 3, 3)), Format.parse("int4"))
        held[np.random.default_rng(0).random(held.shape) < share] = 0.0
        section, _ = code(held.view(np.uint32), [Format.parse("int4")])
        assert (section.common is not None) == wanted


def test_one_number_alone() -> None:
    _, size = back(np.full((64, 64), 7, np.uint32))
    assert size < 100


def test_not_a_number_and_negative_zero_come_back() -> None:
    array = np.array([[np.nan, -0.0, 0.0, np.inf]] * 40, np.float32)
    back(array.view(np.uint32), Format.parse("int4"))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(NAMES))
def test_no_flipped_byte_crashes(data: st.DataObject, name: str) -> None:
    form = Format.parse(name)
    items = stored(weight((4, 16)), form).view(np.uint32)
    section, coded = code(items, [form])
    damaged = bytearray(coded)
    damaged[data.draw(st.integers(0, len(coded) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(IntegrityError):
        restore(section, memoryview(bytes(damaged)), items.shape, items.dtype)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": ()},
        {"sizes": (1, -1)},
        {"bits": 9},
        {"bits": -1},
        {"axis": 7},
        {"axis": -1},
        {"wide": 0},
        {"wide": 10**12},
        {"wide": 2},
        {"form": "int9"},
        {"form": "codebook3/channel"},
        {"how": How.TABLE, "wide": 255},
        {"how": How.BYTES},
    ],
    ids=str,
)
def test_a_section_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    items = stored(weight((8, 64)), Format.parse("int4")).view(np.uint32)
    section, coded = code(items, [Format.parse("int4")])
    assert section.how is How.FORMAT
    with pytest.raises(HwcError):
        restore(replace(section, **change), memoryview(coded), items.shape, items.dtype)


@pytest.mark.parametrize("change", [{"common": None}, {"common": -1}, {"common": 15}, {"bits": 1}])
def test_a_bitmap_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    items = stored(weight((64, 64)), Format.parse("int4~80")).view(np.uint32)
    section, coded = code(items, [Format.parse("int4~80")])
    assert section.common is not None
    with pytest.raises(IntegrityError):
        restore(replace(section, **change), memoryview(coded), items.shape, items.dtype)
