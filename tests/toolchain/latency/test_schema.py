"""The file of a latency table: refused in one line where it is not right, shared where it is."""

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hwc.toolchain.errors import InputError, OutputError
from hwc.toolchain.latency import schema
from hwc.toolchain.latency.rows import BoundaryRow, BuildRow, KernelRow
from hwc.toolchain.latency.table import LatencyTable, Mode
from hwc.toolchain.latency.timing import Setting, Timing
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import Precision
from hwc.toolchain.slots import Work

SIZE = 6 * 4096  # of the table below: a page each for the schema, four tables and an index
DATE = "2026-01-31T10:00:00+00:00"
SETTING = Setting("host", "onnxruntime", "1.32.0", 2)
TIMING = Timing(10.0, 9.0, 12.0, 50, 19.5, SETTING, DATE, Origin.MEASURED)
BUILD = BuildRow("b1", "m1", "model.onnx", "{}", 100.0, 50, DATE)
KERNEL = KernelRow("Conv|group=1|1x3x8x8", "int8", "conv", Work(9, 8, 7, 6), TIMING)
BOUNDARY = BoundaryRow(Precision.FP32, Precision.INT8, 192, TIMING)


def put(path: Path) -> None:
    """Write the one build."""
    with LatencyTable.open(path, Mode.WRITE) as table:
        table.put_build(SETTING, BUILD, [KERNEL], [BOUNDARY])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of one build, to copy."""
    path = tmp_path_factory.mktemp("made") / "host.sqlite"
    put(path)
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A table of one build, of the test's own."""
    return Path(shutil.copy(made, tmp_path / "host.sqlite"))


@pytest.fixture
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another writer that is in the middle of something."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def read_all(path: Path) -> list[KernelRow]:
    """Read every row of every setting, in every way."""
    kernels = []
    with LatencyTable.open(path) as table:
        for setting in table.settings():
            list(table.boundaries(setting))
            kernels += [row for build in table.observations(setting) for row in build.kernels]
            assert len(kernels) >= len(list(table.kernels(setting)))
    return kernels


def execute(*statements: str) -> Callable[[Path], None]:
    """Change a file as a database."""

    def change(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return change


def overwrite(offset: int, data: bytes) -> Callable[[Path], None]:
    """Change a file as bytes."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[offset : offset + len(data)] = data
        path.write_bytes(content)

    return change


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty file": (lambda path: path.write_bytes(b""), "not a latency table"),
    "random bytes": (lambda path: path.write_bytes(bytes(range(256)) * 40), "not a database"),
    "truncated": (lambda path: os.truncate(path, 5000), "malformed|disk I/O|schema"),
    "damaged page": (overwrite(4096, b"\xff" * 4096), "malformed"),
    "another program's database": (execute("PRAGMA application_id = 7"), "not a latency table"),
    "an older schema": (execute("PRAGMA user_version = 1"), "schema version 1, .* delete it"),
    "a newer schema": (execute("PRAGMA user_version = 3"), "schema version 3"),
    "an extra trigger": (
        execute("CREATE TRIGGER t AFTER INSERT ON kernels BEGIN DELETE FROM kernels; END"),
        "not the schema",
    ),
    "an extra view": (execute("CREATE VIEW v AS SELECT * FROM kernels"), "not the schema"),
    "an extra index": (execute("CREATE INDEX i ON kernels (key)"), "not the schema"),
    "a view in a table's place": (
        execute("DROP TABLE boundaries", "CREATE VIEW boundaries AS SELECT * FROM kernels"),
        "not the schema",
    ),
    "a missing table": (execute("DROP TABLE boundaries"), "not the schema"),
    "a negative time": (
        execute("UPDATE kernels SET p10_us = -5"),
        r"row 'b1 Conv\|group=1\|1x3x8x8 int8' of kernels: .* -5.0 microseconds: delete",
    ),
    "an absurd time": (execute("UPDATE kernels SET p90_us = 1e300"), "1e\\+300 microseconds"),
    "an infinite time": (execute("UPDATE kernels SET p90_us = 9e999"), "inf microseconds"),
    "a time that is text": (execute("UPDATE kernels SET median_us = 'fast'"), "'fast'"),
    "a missing time": (execute("UPDATE kernels SET median_us = NULL"), "None microseconds"),
    "not a number": (execute("UPDATE kernels SET p10_us = 9e999 - 9e999"), "None microseconds"),
    "percentiles out of order": (execute("UPDATE kernels SET p10_us = 11"), "out of order"),
    "a negative CPU time": (execute("UPDATE boundaries SET cpu_us = -1"), "-1.0 microseconds"),
    "a negative whole": (execute("UPDATE builds SET total_us = -1"), "row 'b1' of builds: .* -1.0"),
    "no runs": (execute("UPDATE kernels SET runs = 0"), "0 runs"),
    "negative work": (execute("UPDATE kernels SET macs = -1"), "-1 of work"),
    "a date of no calendar": (execute("UPDATE builds SET date = '2026-02-30'"), "2026-02-30"),
    "an unknown source": (execute("UPDATE kernels SET source = 'guess'"), "guess"),
    "a blob for a key": (execute("UPDATE kernels SET key = x'00'"), "key is no text"),
    "an unknown format": (
        execute("UPDATE boundaries SET before = 'fp64'"),
        "row 'b1 fp64 int8 192' of boundaries: .*fp64",
    ),
    "negative elements": (execute("UPDATE boundaries SET elements = -1"), "-1 elements"),
    "text that is not UTF-8": (
        execute("UPDATE settings SET runtime = CAST(x'ff' AS TEXT)"),
        "decode",
    ),
    "negative threads": (execute("UPDATE settings SET threads = -1"), "-1 threads"),
    "a huge value": (
        execute("UPDATE settings SET device = CAST(zeroblob(10000000) AS TEXT)"),
        "too big|setting",
    ),
    "a plan without end": (
        execute("UPDATE builds SET plan = CAST(zeroblob(2000000) AS TEXT)"),
        "plan is no text of up to",
    ),
    "rows of no build": (execute("DELETE FROM builds"), "of a build that is not listed"),
    "a build of no setting": (execute("DELETE FROM settings"), "not listed"),
}


@pytest.mark.parametrize(("damage", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_damaged_table_is_refused(
    path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(path)
    with pytest.raises(InputError, match=message) as refusal:
        read_all(path)
    assert refusal.value.message.count(str(path)) == 1
    assert refusal.value.hint
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("offset", range(0, SIZE, 211))
def test_a_flipped_byte_is_never_a_crash(path: Path, offset: int) -> None:
    assert path.stat().st_size == SIZE
    overwrite(offset, bytes([path.read_bytes()[offset] ^ 0xFF]))(path)
    with contextlib.suppress(InputError):
        read_all(path)


def test_a_long_key_is_cut_short_in_the_message(path: Path) -> None:
    execute("UPDATE kernels SET key = printf('%.5000c', 'x'), runs = -1")(path)
    with pytest.raises(InputError, match=r"row 'b1 x+\.\.\.' of kernels") as refusal:
        read_all(path)
    assert len(str(refusal.value)) < len(str(path)) + 300


def test_another_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    execute("CREATE TABLE mine (x)")(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="not a latency table"):
        LatencyTable.open(path, Mode.WRITE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no latency table at"):
        LatencyTable.open(tmp_path / "none.sqlite")
    assert not list(tmp_path.iterdir())


def test_reading_leaves_the_table_as_it_was_and_nothing_beside_it(path: Path) -> None:
    before = path.read_bytes()
    assert read_all(path) == [KERNEL]
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_cannot_write(path: Path) -> None:
    with LatencyTable.open(path) as table, pytest.raises(OutputError, match=r"host\.sqlite"):
        table.put_build(SETTING, BUILD, [], [])


def test_a_table_is_read_where_nothing_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert read_all(path) == [KERNEL]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_what_is_still_in_the_journal_is_read_where_nothing_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LatencyTable.open(path, Mode.WRITE) as writer:
        writer.put_build(SETTING, BUILD, [], [])
        monkeypatch.setattr(os, "access", lambda *_: False)
        assert read_all(path) == []


def test_an_unwritable_place_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        LatencyTable.open(tmp_path / "file" / "table.sqlite", Mode.WRITE)


@pytest.mark.usefixtures("locked")
def test_a_writer_gives_up_on_a_locked_table_in_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "PATIENCE_S", 0.05)
    with pytest.raises(OutputError, match="database is locked: another hwc is writing it") as end:
        put(path)
    assert str(path) in end.value.message
    assert path.exists()


@pytest.mark.usefixtures("locked")
def test_a_locked_table_is_read(path: Path) -> None:
    assert read_all(path) == [KERNEL]


def test_a_writer_waits_for_another(path: Path) -> None:
    locked = threading.Event()

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked.set()
            time.sleep(0.1)

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(5)
    put(path)
    holder.join()
    assert read_all(path) == [KERNEL]
