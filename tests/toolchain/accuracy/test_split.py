"""The three parts of the data are disjoint, and honest about their sizes."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.samples import Sample, Samples
from hwc.toolchain.accuracy.split import Sizes, split
from hypothesis import example, given
from hypothesis import strategies as st


class Numbered:
    """Samples whose label is their index."""

    def __init__(self, n: int, start: int = 0) -> None:
        self.n, self.start = n, start

    def __len__(self) -> int:
        """How many there are."""
        return self.n

    def __getitem__(self, index: int) -> Sample:
        """Make one."""
        if not 0 <= index < self.n:
            raise IndexError(index)
        return Sample({}, np.asarray(self.start + index))


def ids(samples: Samples) -> list[int]:
    """The labels."""
    return [int(samples[i].label) for i in range(len(samples))]  # type: ignore[arg-type]


@given(
    n=st.integers(3, 400),
    sizes=st.tuples(*[st.integers(1, 150)] * 4),
    seed=st.integers(0, 5),
)
@example(n=144, sizes=(1, 48, 48, 1), seed=0)  # one sample of the search's ranks, not a third
def test_disjoint(n: int, sizes: tuple[int, int, int, int], seed: int) -> None:
    """No sample is in two parts, none but the last is empty, none is larger than asked."""
    parts = split(Numbered(n), sizes=Sizes(*sizes), seed=seed)
    listed = [ids(part) for part in (parts.calibrate, parts.search, parts.report)]
    rank = ids(parts.rank)
    assert rank == sorted(rank)
    assert len(rank) <= sizes[3]
    assert not {*rank} & {*listed[0], *listed[2]}
    flat = [i for part in listed for i in part]
    assert len(flat) == len(set(flat)) <= n
    assert all(
        1 <= len(part) <= size and part == sorted(part)
        for part, size in zip(listed, sizes[:3], strict=True)
    )
    got = [len(listed[0]), len(listed[1]) + len(rank), len(listed[2])]
    if not parts.note:  # what ranks may be the search's
        assert all(have >= size for have, size in zip(got, sizes[:3], strict=True))
    else:
        assert tuple(map(len, listed)) != sizes[:3]


@pytest.mark.parametrize(
    ("n", "search", "rank"),
    [(120, 40, 0), (240, 53, 27), (1500, 256, 92), (5000, 256, 1024)],
    ids=["too few", "taken from the search", "left over", "as asked"],
)
def test_what_ranks(n: int, search: int, rank: int) -> None:
    """It is never the search's, and comes from all over the data."""
    parts = split(Numbered(n))
    assert (len(parts.search), len(parts.rank)) == (search, rank)
    assert not {*ids(parts.rank)} & {*ids(parts.search), *ids(parts.report), *ids(parts.calibrate)}
    if rank:
        assert 0.3 < np.mean(ids(parts.rank)) / n < 0.7


def test_enough() -> None:
    """Sizes as asked, and nothing to remark; another seed divides differently."""
    first, second = (split(Numbered(1500), seed=seed) for seed in (0, 1))
    assert [len(p) for p in (first.calibrate, first.search, first.report)] == [128, 256, 1024]
    assert first.note == ""
    assert ids(first.report) != ids(second.report)
    assert ids(first.report) == ids(split(Numbered(1500)).report)


@pytest.mark.parametrize("n", [1, 2])
def test_too_few(n: int) -> None:
    """The same samples serve all, which is said."""
    parts = split(Numbered(n))
    assert len(parts.report) == n
    assert "not independent" in parts.note


def test_separate_evaluation_data() -> None:
    """Search and report come from it, calibration from the data."""
    parts = split(Numbered(40), Numbered(300, start=1000))
    assert len(parts.calibrate) == 40
    assert max(ids(parts.calibrate)) < 1000
    assert min(ids(parts.search) + ids(parts.report)) >= 1000
    assert not set(ids(parts.search)) & set(ids(parts.report))
    assert "40 calibrate, 150 search, 150 report" in parts.note
