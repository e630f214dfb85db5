"""Both ends find the same bytes of the base to tell a skeleton from, and never too many."""

from itertools import pairwise

import pytest
from hwc.toolchain.update.delta.files import ViewReader
from hwc.toolchain.update.delta.skeleton import BLOCK, Skeleton, blocks, prefix_spans, read_spans
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Dtype, ReleaseFile, Tensor
from hypothesis import given
from hypothesis import strategies as st

MOST = BLOCK + (1 << 19)  # bytes of a prefix

SPANS = st.lists(st.integers(0, 3000), max_size=30).map(
    lambda ends: list(zip(sorted(ends)[::2], sorted(ends)[1::2], strict=False))
)


def file(size: int, *tensors: tuple[int, int]) -> ReleaseFile:
    listed = (Tensor("w", Dtype.U8, (n,), offset, n, "0" * 64) for offset, n in tensors)
    return ReleaseFile("m", size, "0" * 64, tuple(listed))


@given(spans=SPANS, begin=st.integers(0, 4000), size=st.integers(0, 4000))
def test_a_part_is_a_part_of_the_whole(spans: list[tuple[int, int]], begin: int, size: int) -> None:
    data = memoryview(bytes(k % 251 for k in range(3000)))
    bones = Skeleton.of(spans)
    whole = b"".join(data[low:high] for low, high in spans)
    assert bones.size == len(whole)
    part = read_spans(ViewReader(data), bones.part(begin, begin + size))
    assert part == whole[begin : begin + size]


def test_of_a_file_with_tensors_it_is_what_lies_between_them() -> None:
    told_from = file(1000, (100, 200), (300, 63), (500, 500))
    assert prefix_spans(Skeleton.of([(0, 10)]), 0, told_from) == [(0, 100), (300, 500)]


def test_of_an_opaque_file_it_is_what_lies_in_the_same_places() -> None:
    told_from = file(100 << 20)
    spans = [(10 << 20, (10 << 20) + 5), (50 << 20, (50 << 20) + 7)]
    around = 1 << 17
    assert prefix_spans(Skeleton.of(spans), 0, told_from) == [
        (low - around, high + around) for low, high in spans
    ]


def test_of_a_shorter_file_it_is_what_there_is() -> None:
    assert prefix_spans(Skeleton.of([(0, 5000)]), 0, file(3000)) == [(0, 3000)]
    assert prefix_spans(Skeleton.of([(0, 5), (9 << 20, 10 << 20)]), 0, file(10)) == [(0, 10)]
    assert prefix_spans(Skeleton.of([(0, 5)]), 0, file(0)) == []


@given(
    gaps=st.lists(st.integers(1, 1 << 16), min_size=1, max_size=200),
    size=st.integers(0, 30 << 20),
    opaque=st.booleans(),
)
def test_a_prefix_is_never_too_large(gaps: list[int], size: int, *, opaque: bool) -> None:
    spans, at = [], 0
    for gap in gaps:
        spans.append((at + gap, at + 2 * gap))
        at += 2 * gap
    bones = Skeleton.of(spans)
    told_from = file(size) if opaque else file(size, (0, min(size, 100)))
    for block in range(blocks(bones.size)):
        found = prefix_spans(bones, block, told_from)
        assert sum(end - begin for begin, end in found) <= MOST
        assert all(0 <= begin < end <= size for begin, end in found)
        assert all(one[1] < two[0] for one, two in pairwise(found))


def test_a_file_that_ends_too_soon_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        read_spans(ViewReader(memoryview(bytes(10))), [(5, 11)])
    assert refusal.value.code is Code.BASE
