"""The file of a latency table: its SQLite schema, how it is opened, and what is refused."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path

from ..errors import HwcError, InputError, OutputError
from ..sqlite import ACCESS_FAULTS, LOCKED, code_of, journal
from .timing import HINT

APPLICATION_ID = 0x68776C74  # "hwlt", so that another program's database is told apart
SCHEMA_VERSION = 2
LONGEST_VALUE = 1 << 22  # bytes of one row in a file that may come from anywhere
PATIENCE_S = 5.0  # how long another writer is waited for

_TIMING = """median_us REAL, p10_us REAL, p90_us REAL, runs INTEGER, cpu_us REAL,
    date TEXT, source TEXT"""
_OF_BUILD = "FOREIGN KEY (setting, build) REFERENCES builds ON DELETE CASCADE"
SCHEMA = (
    """CREATE TABLE settings (
    id INTEGER PRIMARY KEY,
    device TEXT, runtime TEXT, version TEXT, threads INTEGER, power_mode TEXT,
    UNIQUE (device, runtime, version, threads, power_mode)
)""",
    """CREATE TABLE builds (
    setting INTEGER REFERENCES settings,
    id TEXT, model TEXT, path TEXT, plan TEXT, total_us REAL, runs INTEGER, date TEXT,
    PRIMARY KEY (setting, id)
) WITHOUT ROWID""",
    f"""CREATE TABLE kernels (
    setting INTEGER, build TEXT, key TEXT, choice TEXT, kind TEXT,
    macs INTEGER, weights INTEGER, reads INTEGER, writes INTEGER,
    {_TIMING},
    PRIMARY KEY (setting, build, key, choice),
    {_OF_BUILD}
) WITHOUT ROWID""",
    f"""CREATE TABLE boundaries (
    setting INTEGER, build TEXT, before TEXT, after TEXT, elements INTEGER,
    {_TIMING},
    PRIMARY KEY (setting, build, before, after, elements),
    {_OF_BUILD}
) WITHOUT ROWID""",
)


class Mode(StrEnum):
    """How a table is opened."""

    READ = "read"
    WRITE = "write"


def connect(path: Path, mode: Mode) -> sqlite3.Connection:
    """Open the file of a table, checked; WRITE makes it and its folder where they are missing.

    Raises:
        InputError: READ: there is no such file. Both: it is not a latency table, is damaged, or
            has another schema.
        OutputError: WRITE: the file cannot be written, or another process keeps it locked.
    """
    if mode is Mode.READ and not path.is_file():
        raise InputError(f"no latency table at {path}", "hwc profile makes one")
    new = not path.exists()
    with translated(path):
        if mode is Mode.WRITE:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            _uri(path, mode), uri=True, isolation_level=None, timeout=PATIENCE_S
        )
        try:
            _prepare(connection, mode)
        except BaseException as cause:
            connection.close()
            if new and code_of(cause) not in LOCKED:
                remove(path)  # it could not become a table, and nobody else is at it
            raise
    return connection


def beside(path: Path) -> tuple[Path, Path]:
    """The journal and its index, which SQLite keeps beside a table that is in use."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def remove(path: Path) -> None:
    """Remove a table with what SQLite keeps beside it."""
    for file in (path, *beside(path)):
        file.unlink(missing_ok=True)


@contextmanager
def translated(path: Path) -> Iterator[None]:
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
        raise _error(path, cause) from cause
    except UnicodeDecodeError as cause:  # in the schema of a damaged file
        raise InputError(f"latency table {path}: {cause}", HINT) from cause


def _error(path: Path, cause: sqlite3.Error) -> HwcError:
    """What a user is told about an error of SQLite."""
    message = f"latency table {path}: {cause}"
    if code_of(cause) in LOCKED:
        hint = (
            "another hwc is writing it: try again when that is done, or name another with --table"
        )
        return OutputError(message, hint)
    if code_of(cause) in ACCESS_FAULTS:
        return OutputError(
            message, "see whether the disk is full or read-only, or name another with --table"
        )
    return InputError(message, HINT)


def _uri(path: Path, mode: Mode) -> str:
    """The SQLite URI of a table.

    A reader may tidy up what a killed writer left, and takes away what lies beside the table while
    it is open; where it must not write, a journal is read only if somebody made one.
    """
    if mode is Mode.WRITE:
        access = "mode=rwc"
    elif os.access(path.parent, os.W_OK):
        access = "mode=rw" if os.access(path, os.W_OK) else "mode=ro"
    else:
        journal, _ = beside(path)
        access = "mode=ro" if journal.exists() else "mode=ro&immutable=1"
    return f"{path.absolute().as_uri()}?{access}"


def _prepare(connection: sqlite3.Connection, mode: Mode) -> None:
    """Check that the file is a latency table; make it one where it is new."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    if mode is Mode.READ:
        connection.execute("PRAGMA query_only = ON")
    else:
        connection.execute("BEGIN IMMEDIATE")  # two first profiles at once: one makes the tables
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _create(connection)
        connection.execute("COMMIT")
    _check(connection)
    if mode is Mode.WRITE:
        journal(connection, PATIENCE_S)


def _create(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _check(connection: sqlite3.Connection) -> None:
    """Refuse another program's database, another schema, a trigger or view, and loose rows."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise InputError("not a latency table", "name another file")
    if version != SCHEMA_VERSION:
        this = f"schema version {version}, but this hwc has {SCHEMA_VERSION}"
        raise InputError(this, "tables are a cache: delete it and measure again")
    with closing(sqlite3.connect(":memory:")) as model:
        _create(model)
        if _contents(connection) != _contents(model):
            raise InputError("not the schema of a latency table", HINT)
    if connection.execute("PRAGMA foreign_key_check").fetchone():
        raise InputError("there are rows of a build that is not listed", HINT)


def _contents(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Every table, index, trigger and view of a database, with the statement that makes it."""
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    return connection.execute(query).fetchall()
