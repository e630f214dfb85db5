"""The table of published latencies: what is read, what is left out, what is refused."""

import csv
from pathlib import Path
from typing import Any

import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.plan import Precision
from hwc.tools.published.rows import COLUMNS, read_published

ROW = {
    "model": "resnet50",
    "input": "3x224x224",
    "batch": "8",
    "precision": "int8",
    "sparsity": "dense",
    "device": "Jetson Orin Nano 8GB MAXN_SUPER",
    "runtime": "TensorRT",
    "metric": "mean_latency_ms",
    "value": "4.9",
    "gmac_per_sample": "",
    "source": "somewhere",
    "notes": "",
}


def _table(folder: Path, *changes: dict[str, str]) -> Path:
    path = folder / "published.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**ROW, **change} for change in changes)
    return path


def test_a_latency(tmp_path: Path) -> None:
    found = read_published(_table(tmp_path, {"precision": "int8+fp16", "gmac_per_sample": "4.1"}))
    (row,) = found.rows
    assert (row.model, row.device, row.mode) == ("ResNet-50", "jetson_orin_nano", "MAXN_SUPER")
    assert (row.batch, row.precision, row.us, row.gmac) == (8, Precision.INT8, 4900, 4.1)
    assert (row.sparse, row.in_python, found.left_out) == (False, False, {})


def test_a_throughput_is_the_time_of_its_batch(tmp_path: Path) -> None:
    change = {"metric": "throughput_per_s", "value": "4000", "precision": "fp16 (README silent)"}
    (row,) = read_published(_table(tmp_path, change)).rows
    assert row.us == 2000


def test_a_time_around_python_is_marked(tmp_path: Path) -> None:
    (row,) = read_published(_table(tmp_path, {"metric": "latency_ms_per_image"})).rows
    assert row.in_python


LEFT_OUT = {
    "batch": ({"batch": "offline"}, "batch size is not published"),
    "dla": ({"device": "Jetson AGX Orin 64GB 2xDLA (MAXN)"}, "DLA"),
    "device": ({"device": "A100"}, "device"),
    "length": ({"model": "bert-99", "input": "seq<=384"}, "length"),
    "tokens": ({"metric": "output_tokens_per_s"}, "tokens"),
    "model": ({"model": "rnnt"}, "variable"),
}


@pytest.mark.parametrize(("change", "why"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_cannot_be_predicted_is_left_out_and_counted(
    tmp_path: Path, change: dict[str, str], why: str
) -> None:
    found = read_published(_table(tmp_path, {}, change, change))
    assert len(found.rows) == 1
    assert list(found.left_out.values()) == [2]
    assert why in next(iter(found.left_out))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "value": ({"value": "fast"}, "published.csv:3: value is 'fast', not a number"),
    "zero": ({"value": "0"}, "value is 0, not a positive"),
    "nan": ({"value": "nan"}, "value is nan, not a positive"),
    "metric": ({"metric": "watts"}, "metric 'watts'"),
    "batch": ({"batch": "0"}, "batch of 0"),
    "precision": ({"precision": "fp7"}, "'fp7' is not a precision"),
    "no-precision": ({"precision": ""}, "'' is not a precision"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        read_published(_table(tmp_path, {}, change))


FILES = {
    "empty": (b"", "not a table of published latencies: its first line must be model,input"),
    "columns": (b"model,latency\nx,1\n", "not a table of published latencies"),
    "short-line": (",".join(COLUMNS).encode() + b"\na,b\n", "published.csv:2: not 12 fields"),
    "long-line": (",".join(COLUMNS).encode() + b"\n" + b"," * 20, "published.csv:2: not 12"),
    "quote": (",".join(COLUMNS).encode() + b'\n"a"b', "not a CSV file"),
    "not-text": (b"\xff\xfe\x00", "not a CSV file"),
}


@pytest.mark.parametrize(("data", "message"), FILES.values(), ids=FILES)
def test_what_is_no_such_table_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "published.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_published(path)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.csv cannot be read: No such file"):
        read_published(tmp_path / "absent.csv")
