"""A header that asks for what neither release has is refused before anything is written."""

import numpy as np
import pytest
from hwc.toolchain.update.delta.header import BLOCK, FILE, NO_FILE, SEGMENT, Header, Op, Strategy
from hwc.toolchain.update.delta.script import Step, scripts
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Compatibility, Dtype, Release, ReleaseFile

Row = tuple[int, int, int, int, int]
F32 = 1


def release(**sizes: int) -> Release:
    files = tuple(ReleaseFile(path, size, "0" * 64) for path, size in sizes.items())
    return Release("p", "1", 1, 0, Compatibility(), None, {}, files)


def header(files: list[tuple[int, int, int]], segments: list[Row], blocks: int = 1) -> Header:
    return Header(
        base="",
        release="0" * 64,
        strategy=Strategy.HASH,
        text=0,
        files=np.array(files, FILE),
        segments=np.array(segments, SEGMENT),
        blocks=np.array([(2, 1)] * blocks, BLOCK),
        digests=b"",
    )


OLD = release(a=1000, b=50)
NEW = release(x=300, y=40)


def test_steps_name_files_and_places() -> None:
    rows: list[Row] = [
        (Op.COPY, 0, 0, 100, 40),
        (Op.SKELETON, 0, 0, 0, 60),
        (Op.CODED, F32, 0, 10, 200),
        (Op.REFERENCE, 0, 0, -350, 40),
    ]
    made = header([(0, 1, 3), (1, NO_FILE, 1)], rows, blocks=3)
    first, second = list(scripts(made, NEW, OLD))
    assert first.file.path == "x"
    assert first.bones.spans == ((40, 100),)
    assert first.told_from is not None
    assert first.told_from.path == "b"
    assert list(first.steps) == [
        Step(Op.COPY, Dtype.F64, "a", 100, 40),
        Step(Op.SKELETON, Dtype.F64, "", 140, 60),
        Step(Op.CODED, Dtype.F32, "a", 150, 200),
    ]
    assert second.told_from is None
    assert list(second.steps) == [Step(Op.REFERENCE, Dtype.F64, "x", 0, 40)]


@pytest.mark.parametrize(
    ("files", "segments", "blocks"),
    [
        pytest.param([(0, NO_FILE, 1)], [(Op.COPY, 0, 0, 0, 300)], 1, id="a file left out"),
        pytest.param(
            [(0, NO_FILE, 1), (0, NO_FILE, 1)],
            [(Op.COPY, 0, 0, 0, 300), (Op.COPY, 0, 0, -300, 300)],
            1,
            id="a file twice",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (7, NO_FILE, 1)],
            [(Op.COPY, 0, 0, 0, 300), (Op.COPY, 0, 0, 0, 40)],
            1,
            id="a file that is not listed",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.COPY, 0, 0, 0, 299), (Op.COPY, 0, 0, 0, 41)],
            1,
            id="too short and too long",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.COPY, 0, 0, 701, 300), (Op.COPY, 0, 0, -1001, 40)],
            1,
            id="beyond the end of the base",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.COPY, 0, 0, -1, 300), (Op.COPY, 0, 0, 0, 40)],
            1,
            id="before the beginning of the base",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.COPY, 0, 2, 0, 300), (Op.COPY, 0, 0, 0, 40)],
            1,
            id="a file that the base does not have",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.COPY, 0, 2**32 - 1, 0, 300), (Op.COPY, 0, 0, 0, 40)],
            1,
            id="the last file that there could be",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.REFERENCE, 0, 1, 0, 300), (Op.COPY, 0, 0, 0, 40)],
            1,
            id="a reference to a later file",
        ),
        pytest.param(
            [(0, NO_FILE, 2), (1, NO_FILE, 1)],
            [(Op.COPY, 0, 0, 0, 100), (Op.REFERENCE, 0, 0, -100, 200), (Op.COPY, 0, 0, 0, 40)],
            1,
            id="a reference to itself",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.TRANSPOSED, 0, 1, 0, 300), (Op.COPY, 0, 0, 0, 40)],
            2,
            id="a transposed later file",
        ),
        pytest.param(
            [(0, NO_FILE, 2), (1, NO_FILE, 1)],
            [(Op.COPY, 0, 0, 0, 100), (Op.TRANSPOSED, 0, 0, -99, 200), (Op.COPY, 0, 0, 0, 40)],
            2,
            id="transposed bytes that are not written yet",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.COPY, 0, 0, 0, 300), (Op.TRANSPOSED, 0, 0, -300, 40)],
            1,
            id="axes that no block names",
        ),
        pytest.param(
            [(0, 2, 1), (1, NO_FILE, 1)],
            [(Op.COPY, 0, 0, 0, 300), (Op.COPY, 0, 0, 0, 40)],
            1,
            id="a skeleton of no file",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.FRESH, F32, 0, 0, 300), (Op.COPY, 0, 0, 0, 40)],
            1,
            id="a block too few",
        ),
        pytest.param(
            [(0, NO_FILE, 1), (1, NO_FILE, 1)],
            [(Op.SKELETON, 0, 0, 0, 300), (Op.COPY, 0, 0, 0, 40)],
            3,
            id="a block too many",
        ),
        pytest.param(
            [(0, NO_FILE, 2), (1, NO_FILE, 1)],
            [(Op.FRESH, F32, 0, 0, 299), (Op.COPY, 0, 0, 0, 1), (Op.COPY, 0, 0, 0, 40)],
            2,
            id="half an element",
        ),
    ],
)
def test_what_is_not_there_is_refused(
    files: list[tuple[int, int, int]], segments: list[Row], blocks: int
) -> None:
    with pytest.raises(Refusal) as refusal:
        scripts(header(files, segments, blocks), NEW, OLD)
    assert refusal.value.code is Code.MALFORMED


@pytest.mark.parametrize("op", [Op.COPY, Op.CODED], ids=["copy", "coded"])
def test_a_base_is_not_read_where_there_is_none(op: Op) -> None:
    rows: list[Row] = [(op, F32, 0, 0, 300), (Op.FRESH, F32, 0, 0, 40)]
    with pytest.raises(Refusal) as refusal:
        scripts(header([(0, NO_FILE, 1), (1, NO_FILE, 1)], rows, 3), NEW, None)
    assert refusal.value.code is Code.MALFORMED


def test_a_reference_within_a_file_reads_what_is_before_it() -> None:
    rows: list[Row] = [
        (Op.COPY, 0, 0, 0, 150),
        (Op.REFERENCE, 0, 0, -150, 150),
        (Op.COPY, 0, 0, 0, 40),
    ]
    made = header([(0, NO_FILE, 2), (1, NO_FILE, 1)], rows)
    assert [len(list(script.steps)) for script in scripts(made, NEW, OLD)] == [2, 1]


def test_files_without_bytes_have_no_segments() -> None:
    made = header([(1, NO_FILE, 0), (0, NO_FILE, 0)], [])
    found = list(scripts(made, release(x=0, y=0), None))
    assert [(script.file.path, list(script.steps)) for script in found] == [("y", []), ("x", [])]
