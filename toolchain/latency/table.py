"""The latency table: one SQLite file of kernel and boundary times for one device and runtime."""

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import platformdirs

from ..errors import HwcError, InputError, OutputError
from ..origin import Origin
from ..plan import Precision
from .timing import HINT, Setting, Timing

APPLICATION_ID = 0x68776C74  # "hwlt", so that another program's database is told apart
SCHEMA_VERSION = 1
LONGEST_VALUE = 1 << 16  # bytes of one value in a file that may come from anywhere
_ACCESS_FAULTS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)

_TIMING = (
    "median_us REAL, p10_us REAL, p90_us REAL, runs INTEGER, cpu_us REAL, device TEXT, "
    "runtime TEXT, version TEXT, threads INTEGER, power_mode TEXT, date TEXT, source TEXT"
)
_SCHEMA = {
    "kernels": (
        f"CREATE TABLE kernels (key TEXT, choice TEXT, {_TIMING}, "
        "PRIMARY KEY (key, choice)) WITHOUT ROWID"
    ),
    "boundaries": (
        f"CREATE TABLE boundaries (before TEXT, after TEXT, elements INTEGER, {_TIMING}, "
        "PRIMARY KEY (before, after, elements)) WITHOUT ROWID"
    ),
}


class Mode(StrEnum):
    """How a table is opened."""

    READ = "ro"
    WRITE = "rwc"


@dataclass(frozen=True, slots=True)
class KernelRow:
    """The time of one kernel (`Slot.key`) under one choice, as canonical text."""

    key: str
    choice: str
    timing: Timing

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not isinstance(self.choice, str):
            raise InputError("a kernel row's key and choice must be texts", HINT)


@dataclass(frozen=True, slots=True)
class BoundaryRow:
    """The time of converting a tensor of `elements` from one format to another."""

    before: Precision
    after: Precision
    elements: int
    timing: Timing

    def __post_init__(self) -> None:
        if not isinstance(self.elements, int) or self.elements < 0:
            raise InputError(f"a boundary row has {self.elements!r} elements", HINT)


Row = KernelRow | BoundaryRow
Columns = Sequence[Any]  # one row as SQLite hands it back: anything may be in it


def default_path(setting: Setting) -> Path:
    """Where the table of a setting lives in the user's cache: one file for each setting."""
    words = (setting.device, setting.power_mode, setting.runtime, setting.version)
    name = "-".join(re.sub(r"[^\w.+]+", "_", word) for word in words if word)
    folder = platformdirs.user_cache_path("hwc") / "tables"
    return folder / f"{name}-t{setting.threads}.sqlite"


class LatencyTable:
    """An open table; use it as a context manager. Every row is on disk when `put` returns."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, mode: Mode = Mode.READ) -> Self:
        """Open a table; WRITE makes the file and its folder where they are missing.

        Raises:
            InputError: READ: there is no such file. Both: it is not a latency table, is damaged,
                or has another schema.
            OutputError: WRITE: the file cannot be written.
        """
        if mode is Mode.READ and not path.is_file():
            raise InputError(f"no latency table at {path}", "hwc compile makes one")
        new = not path.exists()
        with _translated(path):
            if mode is Mode.WRITE:
                path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(_uri(path, mode), uri=True, isolation_level=None)
            try:
                _prepare(connection, mode)
            except BaseException as cause:
                connection.close()
                if new and getattr(cause, "sqlite_errorcode", 0) != sqlite3.SQLITE_BUSY:
                    _remove(path)  # it could not become a table, and nobody else is at it
                raise
        return cls(path, connection)

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

    def put(self, row: Row) -> None:
        """Write one row, replacing the one with the same key, and commit it.

        Raises:
            OutputError: The row cannot be written.
        """
        *key, timing = (getattr(row, name) for name in row.__slots__)
        *times, setting, date, source = (getattr(timing, name) for name in timing.__slots__)
        values = (*key, *times, *astuple(setting), date, source)
        table = "kernels" if isinstance(row, KernelRow) else "boundaries"
        marks = ",".join("?" * len(values))
        with _translated(self.path):
            self._connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", values)  # noqa: S608 - names from this file

    def get(self, key: str, choice: str) -> Timing | None:
        """The time of a kernel under a choice, or None where the table has none.

        Raises:
            InputError: The row is not valid or the file is damaged.
        """
        where = "WHERE key = ? AND choice = ?"
        rows = (_kernel(row) for row in self._select("kernels", where, (key, choice)))
        with _translated(self.path):
            return next((row.timing for row in rows), None)

    def kernels(self) -> Iterator[KernelRow]:
        """Every kernel row, ordered by key and choice; raises like `get`."""
        with _translated(self.path):
            yield from map(_kernel, self._select("kernels", "ORDER BY key, choice"))

    def boundaries(self) -> Iterator[BoundaryRow]:
        """Every boundary row, ordered by formats and elements; raises like `get`."""
        order = "ORDER BY before, after, elements"
        with _translated(self.path):
            yield from map(_boundary, self._select("boundaries", order))

    def _select(self, table: str, clause: str, values: tuple[str, ...] = ()) -> Iterator[Columns]:
        yield from self._connection.execute(f"SELECT * FROM {table} {clause}", values)  # noqa: S608 - names from this file


def _remove(path: Path) -> None:
    """Remove a table with what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _uri(path: Path, mode: Mode) -> str:
    """The SQLite URI of a table.

    SQLite reads a WAL file only where it can write beside it, unless told that nobody changes it.
    """
    still = mode is Mode.READ and not os.access(path.parent, os.W_OK)
    return f"{path.absolute().as_uri()}?mode={mode}" + ("&immutable=1" if still else "")


def _prepare(connection: sqlite3.Connection, mode: Mode) -> None:
    """Check that the file is a latency table; make it one where it is new."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    if mode is Mode.WRITE:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")  # two first profiles at once: one makes the tables
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _SCHEMA.values():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    _check(connection)


def _check(connection: sqlite3.Connection) -> None:
    """Refuse another program's database, another schema version, and any extra trigger or view."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise InputError("not a latency table", "name another file")
    if version != SCHEMA_VERSION:
        raise InputError(f"schema version {version}, but this hwc has {SCHEMA_VERSION}", HINT)
    if dict(connection.execute("SELECT name, sql FROM sqlite_master").fetchall()) != _SCHEMA:
        raise InputError("not the schema of a latency table", HINT)


def _kernel(row: Columns) -> KernelRow:
    key, choice, *timing = row
    return KernelRow(key, choice, _timing(timing))


def _boundary(row: Columns) -> BoundaryRow:
    before, after, elements, *timing = row
    return BoundaryRow(Precision(before), Precision(after), elements, _timing(timing))


def _timing(columns: Columns) -> Timing:
    """The timing columns of a row, checked."""
    median, p10, p90, runs, cpu, *setting, date, source = columns
    return Timing(median, p10, p90, runs, cpu, Setting(*setting), date, Origin(source))


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into one line that names the file."""
    try:
        yield
    except HwcError as cause:
        raise type(cause)(f"latency table {path}: {cause.message}", cause.hint) from cause
    except OSError as cause:
        raise OutputError(
            f"latency table {path}: {cause.strerror}", "name another with --table"
        ) from cause
    except sqlite3.Error as cause:
        if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _ACCESS_FAULTS:
            raise OutputError(
                f"latency table {path}: {cause}",
                "see whether the disk is full or another hwc uses it, or name another with --table",
            ) from cause
        raise InputError(f"latency table {path}: {cause}", HINT) from cause
    except ValueError as cause:
        raise InputError(f"latency table {path}: {cause}", HINT) from cause
