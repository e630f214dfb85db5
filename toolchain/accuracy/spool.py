"""A list of named arrays that stays in memory while it is small and moves to disk when it grows."""

import weakref
from collections.abc import Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import Self

import numpy as np

from ..engine import Array

_IN_MEMORY = 256 * 2**20  # bytes


class Spool:
    """Rows of named arrays, appended once and read in any order.

    The first 256 MiB are held in memory, more goes to a temporary file that vanishes with the
    object; so what is kept of a data set does not fill the memory.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - lives as long as this object
        weakref.finalize(self, self._file.close)
        self._rows: list[dict[str, int]] = []
        self._end = 0

    @classmethod
    def of(cls, rows: Iterator[Mapping[str, Array]]) -> Self:
        """Take all rows of an iterator."""
        spool = cls()
        for row in rows:
            spool.append(row)
        return spool

    def append(self, row: Mapping[str, Array]) -> None:
        """Add a row; the arrays are copied."""
        offsets = {}
        self._file.seek(self._end)
        for name, array in row.items():
            offsets[name] = self._file.tell()
            np.lib.format.write_array(self._file, np.asarray(array), allow_pickle=False)
        self._end = self._file.tell()
        self._rows.append(offsets)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Array]:
        """Read a row."""
        return {name: self._read(offset) for name, offset in self._rows[index].items()}

    def _read(self, offset: int) -> Array:
        self._file.seek(offset)
        array: Array = np.lib.format.read_array(self._file, allow_pickle=False)
        return array
