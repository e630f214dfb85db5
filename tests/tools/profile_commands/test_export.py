"""`hwc profile export`: every column of every row, with units in the names."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hwc.toolchain.errors import InputError, OutputError
from hwc.tools.profile_commands.export import COLUMNS

if TYPE_CHECKING:
    from hwc.tests.tools.profile_commands.conftest import Bench

Profile = Callable[..., str]
KEY = 'If|then=("a",\n"b")|1x3'  # with all that CSV must quote
CSV = """\
device,power_mode,runtime,runtime_version,threads,row,key,choice,before,after,elements,kind,macs,\
weight_elements,read_elements,written_elements,median_us,p10_us,p90_us,runs,cpu_us,date,source
host,,onnxruntime,1.32.0,1,kernel,"If|then=(""a"",
""b"")|1x3",int8,,,,conv,451584,9216,4096,3136,10.0,9.0,12.0,8,10.0,2026-01-31,measured
host,,onnxruntime,1.32.0,1,boundary,,,fp32,int8,64,,,,,,5.0,4.5,6.0,8,5.0,2026-01-31,measured
host,15W,onnxruntime,1.32.0,1,kernel,k,fp32,,,,conv,451584,9216,4096,3136,1.0,0.9,1.2,8,1.0,\
2026-01-31,measured
"""


@pytest.fixture
def table(bench: "Bench") -> Path:
    """A table of two settings."""
    bench.put("t.sqlite", "b1", kernels={(KEY, "int8"): 10.0}, boundaries={64: 5.0})
    return bench.on(power_mode="15W").put("t.sqlite", "b1", kernels={("k", "fp32"): 1.0})


def test_csv(table: Path, profile: Profile) -> None:
    text = profile("export", table)
    assert text == CSV
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["key"] for row in rows] == [KEY, "", "k"]
    assert all(set(row) == set(COLUMNS) for row in rows)


def test_json_has_the_same(table: Path, profile: Profile) -> None:
    first, second = json.loads(profile("export", table, "--format", "json"))["settings"]
    assert (first["power_mode"], second["power_mode"]) == ("", "15W")
    assert first["kernels"][0]["key"] == KEY
    assert first["boundaries"] == [
        {
            "before": "fp32",
            "after": "int8",
            "elements": 64,
            "median_us": 5.0,
            "p10_us": 4.5,
            "p90_us": 6.0,
            "runs": 8,
            "cpu_us": 5.0,
            "date": "2026-01-31",
            "source": "measured",
        }
    ]
    names = {*first, *first["kernels"][0], *first["boundaries"][0], "row"}
    assert names - {"builds", "kernels", "boundaries"} == set(COLUMNS)


def test_into_a_file(table: Path, profile: Profile) -> None:
    assert profile("export", table, "-o", "t.csv") == "t.csv\n"
    assert Path("t.csv").read_text("utf-8") == CSV
    with pytest.raises(OutputError, match="exists already"):
        profile("export", table, "-o", "t.csv")
    profile("export", table, "-o", "t.csv", "--format", "json", "--force")
    assert "settings" in json.loads(Path("t.csv").read_text("utf-8"))


def test_a_bad_table_writes_nothing(table: Path, bench: "Bench", profile: Profile) -> None:
    bench.spoil(table.name, "UPDATE kernels SET cpu_us = -1 WHERE choice = 'fp32'")
    with pytest.raises(InputError, match="microseconds"):
        profile("export", table, "-o", "t.csv")
