"""The latency table: one SQLite file of measured builds, and of the kernels that they show."""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import astuple
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from ..cache import cache_folder
from . import records
from .combine import combine_boundaries, combine_kernels
from .records import BOUNDARIES, BUILDS, KERNELS, Columns, Record
from .rows import BoundaryRow, BuildRow, KernelRow, MeasuredBuild
from .schema import SCHEMA_VERSION, Mode, connect, translated
from .timing import Setting

__all__ = ["BoundaryRow", "BuildRow", "KernelRow", "LatencyTable", "Mode", "default_path"]

T = TypeVar("T")
Row = TypeVar("Row", KernelRow, BoundaryRow)


def default_path(setting: Setting) -> Path:
    """Where the table of a setting lives in the user's cache: one file for each setting."""
    words = (setting.device, setting.power_mode, setting.runtime, setting.version)
    name = "-".join(_file_name(word) for word in words if word)
    return _folder() / f"{name}-t{setting.threads}.sqlite"


def default_paths(device: str) -> list[Path]:
    """Every table in the user's cache that is of this device, by its name."""
    return sorted(_folder().glob(f"{_file_name(device)}-*.sqlite"))


def _file_name(word: str) -> str:
    return re.sub(r"[^\w.+]+", "_", word)


def _folder() -> Path:
    return cache_folder("tables", SCHEMA_VERSION)


class LatencyTable:
    """An open table, which may hold several settings; use it as a context manager.

    Whatever reads raises InputError where a row is not valid or the file is damaged.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, mode: Mode = Mode.READ) -> Self:
        """Open a table; raises like `connect`."""
        return cls(path, connect(path, mode))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def put_build(
        self,
        setting: Setting,
        build: BuildRow,
        kernels: Iterable[KernelRow],
        boundaries: Iterable[BoundaryRow],
    ) -> None:
        """Write a build with all its rows, replacing an earlier one of the same id.

        It is on disk, whole, once this returns, and not at all if this does not return: a build
        that is listed need never be measured again.

        Raises:
            OutputError: It cannot be written.
            ValueError: A row is of another setting.
        """
        with translated(self.path), self._connection as file:  # commits, or rolls back
            file.execute("BEGIN IMMEDIATE")
            file.execute("INSERT OR IGNORE INTO settings VALUES (NULL,?,?,?,?,?)", astuple(setting))
            number = self._numbers()[setting]
            file.execute("DELETE FROM builds WHERE setting = ? AND id = ?", (number, build.id))
            self._insert(BUILDS, number, [records.build_columns(build)])
            shown = (records.kernel_columns(build.id, row) for row in _of(setting, kernels))
            self._insert(KERNELS, number, shown)
            shown = (records.boundary_columns(build.id, row) for row in _of(setting, boundaries))
            self._insert(BOUNDARIES, number, shown)

    def forget(self, setting: Setting, builds: Iterable[str]) -> None:
        """Take builds out, by id, with all their rows; those that are not there are left out.

        Raises:
            OutputError: The table cannot be written.
        """
        with translated(self.path), self._connection as file:
            file.execute("BEGIN IMMEDIATE")
            number = self._numbers().get(setting)
            pairs = [(number, build) for build in builds]
            file.executemany("DELETE FROM builds WHERE setting = ? AND id = ?", pairs)

    def settings(self) -> tuple[Setting, ...]:
        """What the times of this table hold for."""
        with translated(self.path):
            return tuple(self._numbers())

    def builds(self, setting: Setting) -> tuple[BuildRow, ...]:
        """Every build of a setting, the oldest first."""
        return tuple(self._rows(BUILDS, setting, "date, id"))

    def kernels(self, setting: Setting) -> Iterator[KernelRow]:
        """Every kernel in every choice, ordered so; one row each, over all builds."""
        seen = self._rows(KERNELS, setting, "key, choice, build")
        for _, same in groupby(seen, key=lambda pair: (pair[1].key, pair[1].choice)):
            yield combine_kernels([row for _, row in same])

    def boundaries(self, setting: Setting) -> Iterator[BoundaryRow]:
        """Every conversion, ordered by formats and elements; one row each, over all builds."""
        seen = self._rows(BOUNDARIES, setting, "before, after, elements, build")
        for _, same in groupby(seen, key=lambda pair: pair[1].change):
            yield combine_boundaries([row for _, row in same])

    def observations(self, setting: Setting) -> tuple[MeasuredBuild, ...]:
        """Every build with the rows that it showed, the oldest first."""
        kernels: defaultdict[str, list[KernelRow]] = defaultdict(list)
        boundaries: defaultdict[str, list[BoundaryRow]] = defaultdict(list)
        with self._connection as file:
            file.execute("BEGIN")  # what another process writes meanwhile is not half seen
            builds = self.builds(setting)
            for build, kernel in self._rows(KERNELS, setting, "build, key, choice"):
                kernels[build].append(kernel)
            for build, edge in self._rows(BOUNDARIES, setting, "build, before, after, elements"):
                boundaries[build].append(edge)
        return tuple(
            MeasuredBuild(row, tuple(kernels[row.id]), tuple(boundaries[row.id])) for row in builds
        )

    def _insert(self, record: Record[T], number: int, rows: Iterable[Columns]) -> None:
        values = [(number, *columns) for columns in rows]
        marks = ",".join("?" * (record.columns.count(",") + 2))
        names = f"{record.table} (setting, {record.columns})"
        self._connection.executemany(f"INSERT INTO {names} VALUES ({marks})", values)  # noqa: S608 - names from this package

    def _rows(self, record: Record[T], setting: Setting, order: str) -> Iterator[T]:
        query = f"SELECT {record.columns} FROM {record.table} WHERE setting = ? ORDER BY {order}"  # noqa: S608 - names from this package
        with translated(self.path):
            number = self._numbers().get(setting)
            with closing(self._connection.execute(query, (number,))) as found:
                yield from record.rows(setting, found)

    def _numbers(self) -> dict[Setting, int]:
        """Each setting's number in this file."""
        query = "SELECT device, runtime, version, threads, power_mode, id FROM settings ORDER BY id"
        return {Setting(*columns): number for *columns, number in self._connection.execute(query)}


def _of(setting: Setting, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, which must be of this setting."""
    for row in rows:
        if row.timing.setting != setting:
            raise ValueError(f"a row of {row.timing.setting} in a build of {setting}")
        yield row
