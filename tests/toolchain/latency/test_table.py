"""The latency table: rows survive, damage and nonsense are refused in one line."""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hwc.toolchain.errors import InputError, OutputError
from hwc.toolchain.latency.table import (
    BoundaryRow,
    KernelRow,
    LatencyTable,
    Mode,
    default_path,
)
from hwc.toolchain.latency.timing import Setting, Timing
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import Precision

SETTING = Setting("host", "onnxruntime", "1.32.0", 2)
TIMING = Timing(10.0, 9.0, 12.0, 50, 19.5, SETTING, "2026-01-31T10:00:00+00:00", Origin.MEASURED)
KERNEL = KernelRow("Conv|group=1|1x3x8x8", "int8", TIMING)
BOUNDARY = BoundaryRow(Precision.FP32, Precision.INT8, 192, TIMING)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table of one kernel and one boundary."""
    path = tmp_path / "tables" / "host.sqlite"
    with LatencyTable.open(path, Mode.WRITE) as table:
        table.put(KERNEL)
        table.put(BOUNDARY)
    return path


def test_rows_come_back(path: Path) -> None:
    with LatencyTable.open(path) as table:
        assert table.get(KERNEL.key, "int8") == TIMING
        assert table.get(KERNEL.key, "fp32") is None
        assert table.get("other", "int8") is None
        assert list(table.kernels()) == [KERNEL]
        assert list(table.boundaries()) == [BOUNDARY]


def test_a_row_replaces_the_one_with_its_key(path: Path) -> None:
    again = replace(TIMING, median_us=11.0, cpu_us=None, source=Origin.BORROWED)
    with LatencyTable.open(path, Mode.WRITE) as table:
        table.put(KernelRow(KERNEL.key, "int8", again))
        table.put(KernelRow(KERNEL.key, "fp32", TIMING))
        assert table.get(KERNEL.key, "int8") == again
        assert [row.choice for row in table.kernels()] == ["fp32", "int8"]


def test_a_row_is_on_disk_when_put_returns(path: Path) -> None:
    writer = LatencyTable.open(path, Mode.WRITE)
    writer.put(KernelRow("new", "fp16", TIMING))
    with LatencyTable.open(path) as reader:  # the writer is still open, as after a crash
        assert reader.get("new", "fp16") == TIMING
    writer.close()


def test_a_reader_cannot_write(path: Path) -> None:
    with (
        LatencyTable.open(path) as table,
        pytest.raises(OutputError, match=r"host\.sqlite"),
    ):
        table.put(KERNEL)


def test_a_table_is_read_where_nothing_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with LatencyTable.open(path) as table:
        assert table.get(KERNEL.key, "int8") == TIMING
        assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no latency table at"):
        LatencyTable.open(tmp_path / "none.sqlite")
    assert not list(tmp_path.iterdir())


def test_an_unwritable_place_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        LatencyTable.open(tmp_path / "file" / "table.sqlite", Mode.WRITE)


def _execute(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def _overwrite(offset: int, data: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[offset : offset + len(data)] = data
        path.write_bytes(content)

    return change


def _read_all(path: Path) -> None:
    with LatencyTable.open(path) as table:
        list(table.kernels())
        list(table.boundaries())


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty file": (lambda path: path.write_bytes(b""), "not a latency table"),
    "random bytes": (lambda path: path.write_bytes(bytes(range(256)) * 40), "not a database"),
    "truncated": (lambda path: os.truncate(path, 5000), "malformed|disk I/O|schema"),
    "damaged page": (_overwrite(4096, b"\xff" * 4096), "malformed"),
    "another program's database": (_execute("PRAGMA application_id = 7"), "not a latency table"),
    "a newer schema": (_execute("PRAGMA user_version = 2"), "schema version 2"),
    "an extra trigger": (
        _execute("CREATE TRIGGER t AFTER INSERT ON kernels BEGIN DELETE FROM kernels; END"),
        "not the schema",
    ),
    "a missing table": (_execute("DROP TABLE boundaries"), "not the schema"),
    "a negative time": (_execute("UPDATE kernels SET p10_us = -5"), "-5.0 microseconds"),
    "an absurd time": (_execute("UPDATE kernels SET p90_us = 1e300"), "1e\\+300 microseconds"),
    "a time that is text": (_execute("UPDATE kernels SET median_us = 'fast'"), "'fast'"),
    "a missing time": (_execute("UPDATE kernels SET median_us = NULL"), "None microseconds"),
    "an unknown source": (_execute("UPDATE kernels SET source = 'guess'"), "guess"),
    "a blob for a key": (_execute("UPDATE kernels SET key = x'00'"), "must be texts"),
    "an unknown format": (_execute("UPDATE boundaries SET before = 'fp64'"), "fp64"),
    "negative elements": (_execute("UPDATE boundaries SET elements = -1"), "-1 elements"),
    "text that is not UTF-8": (
        _execute("UPDATE kernels SET runtime = CAST(x'ff' AS TEXT)"),
        "decode",
    ),
    "a huge value": (
        _execute("UPDATE kernels SET device = CAST(zeroblob(10000000) AS TEXT)"),
        "too big|setting",
    ),
}


@pytest.mark.parametrize(("damage", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_damaged_table_is_refused(
    path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(path)
    with pytest.raises(InputError, match=message) as refusal:
        _read_all(path)
    assert str(path) in refusal.value.message
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("offset", range(0, 12288, 97))
def test_a_flipped_byte_is_never_a_crash(path: Path, offset: int) -> None:
    _overwrite(offset, bytes([path.read_bytes()[offset] ^ 0xFF]))(path)
    with contextlib.suppress(InputError):
        _read_all(path)


def test_writing_into_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    _execute("CREATE TABLE mine (x)")(path)
    with pytest.raises(InputError, match="not a latency table"):
        LatencyTable.open(path, Mode.WRITE)


def test_default_path_tells_settings_apart_and_stays_in_its_folder() -> None:
    paths = {
        default_path(replace(SETTING, **change)).name
        for change in ({}, {"threads": 1}, {"version": "1.31"}, {"power_mode": "15 W"})
    }
    assert len(paths) == 4
    assert "host-onnxruntime-1.32.0-t2.sqlite" in paths
    evil = default_path(replace(SETTING, device="../../etc"))
    assert evil.parent == default_path(SETTING).parent
