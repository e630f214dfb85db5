"""`hwc profile show`: settings, rows, builds; what matches, in the order that was asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hwc.toolchain.errors import InputError, UsageError
from hwc.toolchain.latency.table import default_path
from hwc.tools.profile_commands.draw import WIDEST, short

if TYPE_CHECKING:
    from hwc.tests.tools.profile_commands.conftest import Bench

Profile = Callable[..., str]
CONV, GEMM = "Conv+Relu|strides=(2, 2)|1x16x16x16,w64x16x3x3", "Gemm|transB=1|1x64,w4x64"
SHOWN = """\
{path}
host, onnxruntime 1.32.0, 1 thread: 3 kernel rows, 1 boundary rows, 2 builds, 2026-01-31 to 2026-02-01
kernel                                          choice    median            p10 to p90  runs  source
Conv+Relu|strides=(2, 2)|1x16x16x16,w64x16x3x3  fp32    2.000 ms  1.800 ms to 2.400 ms     8  measured
Conv+Relu|strides=(2, 2)|1x16x16x16,w64x16x3x3  int8    500.0 µs  450.0 µs to 600.0 µs     8  measured
Gemm|transB=1|1x64,w4x64                        int8     10.0 µs     9.0 µs to 12.0 µs    16  measured
boundary                    choice        median        p10 to p90  runs  source
conversion of 768 elements  fp32 to int8  2.0 µs  1.8 µs to 2.4 µs     8  measured
"""  # noqa: E501 - as it is printed


@pytest.fixture
def table(bench: "Bench") -> Path:
    """A table of two builds."""
    bench.put("t.sqlite", "b1", kernels={(CONV, "fp32"): 2000.0, (GEMM, "int8"): 10.0})
    return bench.put(
        "t.sqlite",
        "b2",
        date="2026-02-01",
        kernels={(CONV, "int8"): 500.0, (GEMM, "int8"): 10.0},
        boundaries={768: 2.0},
    )


def stripped(text: str) -> list[str]:
    """Lines without the spaces that fill the last column."""
    return [line.rstrip() for line in text.splitlines()]


def test_rows_of_a_table_the_longest_first(table: Path, profile: Profile) -> None:
    assert stripped(profile("show", table)) == stripped(SHOWN.format(path=table))


def test_only_what_matches_by_key(table: Path, profile: Profile) -> None:
    lines = stripped(profile("show", table, "--match", "INT8", "--sort", "key"))
    assert [line.split("|")[0] for line in lines if "|" in line] == ["Conv+Relu", "Gemm"]
    assert any("conversion of 768" in line for line in lines)
    assert "fp32 " not in "".join(line for line in lines if "|" in line)


def test_json_has_the_rows_with_units(table: Path, profile: Profile) -> None:
    (shown,) = json.loads(profile("show", table, "--json"))["tables"]
    (part,) = shown["settings"]
    assert (shown["table"], part["device"], part["builds"]) == (str(table), "host", 2)
    assert [row["median_us"] for row in part["kernels"]] == [2000.0, 500.0, 10.0]
    assert part["kernels"][0] == {
        "key": CONV,
        "choice": "fp32",
        "kind": "conv",
        "macs": 451584,
        "weight_elements": 9216,
        "read_elements": 4096,
        "written_elements": 3136,
        "median_us": 2000.0,
        "p10_us": 1800.0,
        "p90_us": 2400.0,
        "runs": 8,
        "cpu_us": 2000.0,
        "date": "2026-01-31",
        "source": "measured",
    }
    assert part["boundaries"][0]["elements"] == 768


def test_builds_with_what_they_chose(table: Path, profile: Profile) -> None:
    lines = stripped(profile("show", table, "--model-builds"))
    assert lines[2].split() == ["build", "model", "precisions", "whole", "run", "runs", "date"]
    assert lines[3] == "b1     net.onnx  int8 1, fp32 1   100.0 µs     8  2026-01-31"
    (part,) = json.loads(profile("show", table, "--model-builds", "--json"))["tables"]
    builds = part["settings"][0]["builds"]
    assert [build["build"] for build in builds] == ["b1", "b2"]
    assert builds[0]["precisions"] == {"int8": 1, "fp32": 1}
    assert builds[0]["total_us"] == 100.0


def test_a_plan_that_is_none_is_refused(table: Path, bench: "Bench", profile: Profile) -> None:
    bench.spoil(table.name, "UPDATE builds SET plan = printf('%.500000c', '[')")
    with pytest.raises(InputError, match="not a plan"):
        profile("show", table, "--model-builds")


def test_tables_of_a_device_in_the_cache(
    bench: "Bench", profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(bench.folder / "cache"))
    orin = bench.on(device="jetson_agx_orin")
    for it in (bench, bench.on(threads=2), orin):
        it.put(str(default_path(it.setting)), "b1", kernels={(GEMM, "int8"): 10.0})
    assert stripped(profile("show"))[1::4] == [
        f"host, onnxruntime 1.32.0, {threads}: 1 kernel rows, 0 boundary rows, 1 builds, 2026-01-31"
        for threads in ("1 thread", "2 threads")
    ]
    assert profile("show", "--device", "jetson_orin").splitlines()[0] == str(
        default_path(orin.setting)
    )
    with pytest.raises(InputError, match="no latency table of a100_sxm_80gb in the cache"):
        profile("show", "--device", "a100_sxm_80gb")


def test_a_table_and_a_device_do_not_go_together(table: Path, profile: Profile) -> None:
    with pytest.raises(UsageError, match="one of them"):
        profile("show", table, "--device", "host")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Conv|a=1|1x3", "Conv|a=1|1x3"),
        ("A" * 60 + "B" * 60, "A" * 24 + "..." + "B" * (WIDEST - 27)),
        ("\x1b[31mred\n", "\\x1b[31mred\\n"),
    ],
    ids=["short", "long", "escape codes"],
)
def test_keys_fit_their_column_and_cannot_write_to_the_terminal(text: str, shown: str) -> None:
    assert short(text) == shown
    assert len(short(text * 99)) == WIDEST
