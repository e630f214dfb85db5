"""True losses on disk: a search that was interrupted goes on where it stopped."""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from ..cache import cache_folder
from ..engine import Array
from ..errors import HwcError, InputError, OutputError
from ..sqlite import ACCESS_FAULTS, LOCKED, code_of, journal

APPLICATION_ID = 0x68776C73  # "hwls", so that another program's database is told apart
SCHEMA_VERSION = 1
LONGEST_VALUE = 1 << 22  # bytes of one row in a file that may come from anywhere
PATIENCE_S = 5.0  # how long another writer is waited for
_SCHEMA = """CREATE TABLE losses (
    model TEXT, data TEXT, loss TEXT, plan TEXT, mean REAL, samples BLOB, sum INTEGER,
    PRIMARY KEY (model, data, loss, plan)
) WITHOUT ROWID"""
_HINT = "it is a cache: delete it, and losses are measured again"


@dataclass(frozen=True, slots=True)
class Context:
    """What losses hold for.

    Attributes:
        model: Digest of the model, of how it is quantised and of the runtime.
        data: Digest of the samples; a fidelity is a number of samples, so it is part of this.
        loss: Name and version of the loss.
    """

    model: str
    data: str
    loss: str


class Kept(NamedTuple):
    """A loss, and that of each sample in float32, shape (n,)."""

    loss: float
    samples: Array


def default_store() -> Path:
    """Where the losses of all models live in the user's cache."""
    return cache_folder("losses", SCHEMA_VERSION) / "losses.sqlite"


class LossStore:
    """An open file of losses; use it as a context manager.

    Whatever reads raises InputError where the file is damaged, whatever writes OutputError where it
    cannot be written.
    """

    def __init__(self, path: Path) -> None:
        """Open a file; it is made, with its folder, where it is missing.

        Raises:
            InputError: It is not a file of losses, is damaged, or has another schema.
            OutputError: It cannot be written, or another process keeps it locked.
        """
        self.path = path
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_S)
            try:
                _prepare(self._file)
            except BaseException:
                self._file.close()
                raise

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
        self._file.close()

    def put(self, context: Context, plan: str, losses: Array) -> None:
        """Keep the losses of all samples, shape (n,), of a plan, by its digest.

        They are on disk once this returns, whatever becomes of this process.
        """
        blob = losses.astype("<f4").tobytes()
        row = (*astuple(context), plan, float(losses.mean()), blob)
        with _translated(self.path):
            self._file.execute(
                "INSERT OR REPLACE INTO losses VALUES (?,?,?,?,?,?,?)", (*row, _sum(row))
            )

    def get(self, context: Context, plan: str) -> Kept | None:
        """What is kept of a plan; None where there is nothing."""
        key = (*astuple(context), plan)
        query = "SELECT * FROM losses WHERE model = ? AND data = ? AND loss = ? AND plan = ?"
        with _translated(self.path):
            row = self._file.execute(query, key).fetchone()
            if row is None:
                return None
            mean, blob = row[4:6]
            if row[6] != _sum(row[:6]) or not isinstance(blob, bytes) or len(blob) % 4:
                raise InputError(f"the losses of plan {plan[:12]} are damaged", _HINT)
            return Kept(float(mean), np.frombuffer(blob, "<f4").astype(np.float32))

    def count(self, context: Context) -> int:
        """How many plans there are."""
        query = "SELECT count(*) FROM losses WHERE model = ? AND data = ? AND loss = ?"
        with _translated(self.path):
            (count,) = self._file.execute(query, astuple(context)).fetchone()
        return int(count)

    def resume(self, context: Context) -> int:
        """How many plans a search goes on with; 0 where the file is still empty.

        Raises:
            InputError: The file holds losses, but of another model, other data or another loss.
        """
        if self._holds() and not self._holds(model=context.model):
            raise self._other("another model, quantisation or runtime")
        if self._holds() and not self._holds(model=context.model, data=context.data):
            raise self._other("other data")
        if self._holds() and not self.count(context):
            raise self._other(f"another loss than {context.loss}")
        return self.count(context)

    def _other(self, what: str) -> InputError:
        hint = "name another file, or search anew without it"
        return InputError(f"losses {self.path}: they are of {what}: nothing to go on with", hint)

    def _holds(self, **columns: str) -> bool:
        """Whether there are rows with these columns."""
        where = " AND ".join(f"{column} = ?" for column in columns) or "1"
        query = f"SELECT 1 FROM losses WHERE {where} LIMIT 1"  # noqa: S608 - names from this module
        with _translated(self.path):
            return self._file.execute(query, tuple(columns.values())).fetchone() is not None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into one line that names the file."""
    try:
        yield
    except HwcError as cause:
        raise type(cause)(f"losses {path}: {cause.message}", cause.hint) from cause
    except OSError as cause:
        raise OutputError(f"losses {path}: {cause.strerror}", "name another file") from cause
    except (sqlite3.Error, UnicodeDecodeError) as cause:
        code = code_of(cause)
        message = f"losses {path}: {cause}"
        if code in LOCKED:
            hint = "another search is writing it: wait for it, or name another file"
            raise OutputError(message, hint) from cause
        if code in ACCESS_FAULTS:
            hint = "see whether the disk is full or read-only, or name another file"
            raise OutputError(message, hint) from cause
        raise InputError(message, _HINT) from cause


def _prepare(file: sqlite3.Connection) -> None:
    """Check that the file holds losses; make it so where it is new."""
    file.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    file.execute("PRAGMA trusted_schema = OFF")
    file.execute("BEGIN IMMEDIATE")  # of two that open a new file one makes the table
    if not file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        file.execute(_SCHEMA)
        file.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    file.execute("COMMIT")
    _check(file)
    journal(file, PATIENCE_S)


def _check(file: sqlite3.Connection) -> None:
    """Refuse another program's database, another version, and anything beside the table."""
    if file.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise InputError("this is not a file of losses", "name another file")
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise InputError(f"schema version {version}, but this hwc has {SCHEMA_VERSION}", _HINT)
    if file.execute("SELECT sql FROM sqlite_master").fetchall() != [(_SCHEMA,)]:
        raise InputError("not the schema of a file of losses", _HINT)
    if file.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise InputError("the file is damaged", _HINT)


def _sum(row: tuple[object, ...]) -> int:
    """A check sum of a row, its key included."""
    return zlib.crc32(repr(row).encode())
