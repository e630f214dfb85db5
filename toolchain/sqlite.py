"""What all files that SQLite keeps share: what its faults mean, and how they are written."""

import sqlite3
import time

ACCESS_FAULTS = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def code_of(error: BaseException) -> int:
    """SQLite's primary result code; 0 where the error is not SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def journal(connection: sqlite3.Connection, patience_s: float) -> None:
    """Write through a journal (WAL): readers do not wait, and a kill loses nothing committed.

    SQLite itself does not wait where two that opened a new file both ask for it.

    Args:
        connection: To a file that may be written.
        patience_s: Seconds that another writer is waited for.

    Raises:
        sqlite3.OperationalError: It cannot be written, or stays locked.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as cause:
            if code_of(cause) not in LOCKED or time.monotonic() > until:
                raise
            time.sleep(patience_s / 500)
        else:
            return
