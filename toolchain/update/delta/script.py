"""What an update file does, step by step, once its header was checked against both releases."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..refusal import Code, Refusal
from ..release import Dtype, Release, ReleaseFile
from .header import BASED, DTYPES, NO_FILE, READING, WRITTEN, Header, Op, Table, malformed
from .skeleton import Skeleton, blocks
from .transpose import Axes

ELEMENTS = 1 << 16  # of one block of a tensor
_ROWS = 1024  # steps that are unpacked at once

_SIZES = np.array([dtype.size for dtype in DTYPES])
_OTHER = "this update file does not belong to this release; fetch or make it again"


@dataclass(frozen=True, slots=True)
class Step:
    """One segment of a new file.

    Attributes:
        op: Where its bytes come from.
        dtype: How blocks of it are to be read.
        path: The file that is read; empty where none is.
        offset: Where in that file.
        size: Bytes.
        axes: What a transposed segment exchanges; a reader finds that in its block.
    """

    op: Op
    dtype: Dtype
    path: str
    offset: int
    size: int
    axes: Axes | None = None

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Begin within the step, and bytes, of each of its blocks."""
        block = ELEMENTS * self.dtype.size
        for begin in range(0, self.size, block):
            yield begin, min(block, self.size - begin)


@dataclass(frozen=True, slots=True)
class FileScript:
    """How one file comes into being.

    Attributes:
        file: The file.
        bones: Its skeleton.
        told_from: The file of the base that the skeleton is told from; None where there is none.
        steps: What to do, in order; they can be gone through once.
    """

    file: ReleaseFile
    bones: Skeleton
    told_from: ReleaseFile | None
    steps: Iterator[Step]


def scripts(header: Header, new: Release, old: Release | None) -> Iterator[FileScript]:
    """How each file comes into being, in the order in which they are written.

    Raises:
        Refusal: The header asks for bytes that no file has, or leaves out some; nothing has been
            yielded then.
    """
    _check_files(header, new, old)
    _check_sources(header, new, old)
    _check_blocks(header)
    return _scripts(header, new, old)


def _scripts(header: Header, new: Release, old: Release | None) -> Iterator[FileScript]:
    end = 0
    for index, told_from, count in header.files.tolist():
        begin, end = end, end + count
        based = old is not None and told_from != NO_FILE
        yield FileScript(
            file=new.files[index],
            bones=_bones(header.segments[begin:end]),
            told_from=old.files[told_from] if old is not None and based else None,
            steps=_steps(header, (begin, end), new, old),
        )


def _steps(
    header: Header, rows: tuple[int, int], new: Release, old: Release | None
) -> Iterator[Step]:
    offsets = header.offsets
    for start in range(rows[0], rows[1], _ROWS):
        part = slice(start, min(start + _ROWS, rows[1]))
        table, places = header.segments[part].tolist(), offsets[part].tolist()
        for (op, dtype, file, _, size), offset in zip(table, places, strict=True):
            path = ""
            if op in WRITTEN:
                path = new.files[file].path
            elif old is not None and op in BASED:
                path = old.files[file].path
            yield Step(Op(op), DTYPES[dtype], path, offset, size)


def _bones(rows: Table) -> Skeleton:
    ends = np.cumsum(rows["size"].astype(np.int64))
    begins = ends - rows["size"].astype(np.int64)
    ours = rows["op"] == Op.SKELETON
    return Skeleton.of(zip(begins[ours].tolist(), ends[ours].tolist(), strict=True))


def _check_files(header: Header, new: Release, old: Release | None) -> None:
    files = header.files
    if sorted(files["index"].tolist()) != list(range(len(new.files))):
        raise malformed("the update file does not write every file of its release once")
    told_from = files["skeleton"][files["skeleton"] != NO_FILE]
    if (told_from >= (0 if old is None else len(old.files))).any():
        raise malformed("a skeleton is told from a file that the base does not have")
    sizes = np.concatenate(([0], np.cumsum(header.segments["size"].astype(np.int64))))
    ends = np.cumsum(files["segments"].astype(np.int64))
    found = sizes[ends] - sizes[ends - files["segments"]]
    for (index, _, _), size in zip(files.tolist(), found.tolist(), strict=True):
        if size != new.files[index].size:
            message = f"{new.files[index].path} would have {size} B, not {new.files[index].size}"
            raise Refusal(Code.MALFORMED, message, _OTHER)


def _check_sources(header: Header, new: Release, old: Release | None) -> None:
    segments, offsets = header.segments, header.offsets
    based = np.isin(segments["op"], BASED)
    old_sizes = _sizes(old.files if old is not None else ())
    there = old_sizes[np.minimum(segments["file"], len(old_sizes) - 1)]
    readable = np.where(based, there, _written(header, new))
    reads = np.isin(segments["op"], READING)
    outside = (offsets < 0) | (offsets + segments["size"].astype(np.int64) > readable)
    if (reads & outside).any():
        raise malformed(f"segment {int((reads & outside).argmax())} reads what is not there")


def _written(header: Header, new: Release) -> NDArray[np.int64]:
    """How much of the file that each segment refers to is there when its turn comes."""
    files, segments = header.files, header.segments
    place = np.full(len(new.files) + 1, len(files))  # of each file in the order of writing
    place[files["index"]] = np.arange(len(files))
    referred = np.minimum(segments["file"], len(new.files))
    current = np.repeat(np.arange(len(files)), files["segments"])
    starts = np.cumsum(segments["size"].astype(np.int64)) - segments["size"].astype(np.int64)
    first = np.cumsum(files["segments"].astype(np.int64)) - files["segments"]
    at = starts - np.repeat(np.append(starts, 0)[first], files["segments"])
    whole = np.where(place[referred] < current, _sizes(new.files)[referred], 0)
    return np.where(place[referred] == current, at, whole)


def _sizes(files: tuple[ReleaseFile, ...]) -> NDArray[np.int64]:
    """Bytes of each file, and 0 for one that is not there."""
    return np.array([*(file.size for file in files), 0], np.int64)


def _check_blocks(header: Header) -> None:
    segments = header.segments
    coded = segments[np.isin(segments["op"], (Op.CODED, Op.FRESH))]
    widths = _SIZES[coded["dtype"]]
    sizes = coded["size"].astype(np.int64)
    if (sizes % widths).any():
        raise malformed("a segment ends within an element")
    count = 1 + int((-(-sizes // (widths * ELEMENTS))).sum())
    count += int((segments["op"] == Op.TRANSPOSED).sum())
    ends = np.cumsum(header.files["segments"].astype(np.int64))
    for begin, end in zip(ends - header.files["segments"], ends, strict=True):
        rows = segments[begin:end]
        size = int(rows["size"][rows["op"] == Op.SKELETON].sum(dtype=np.uint64))
        count += blocks(size)
    if count != len(header.blocks):
        raise malformed(f"the header lists {len(header.blocks)} blocks, {count} are needed")
