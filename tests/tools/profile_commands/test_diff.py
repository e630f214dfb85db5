"""`hwc profile diff`: the farthest rows first, a verdict in one line, and what only one has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hwc.toolchain.errors import InputError

if TYPE_CHECKING:
    from hwc.tests.tools.profile_commands.conftest import Bench

Profile = Callable[..., str]
SAME = {("Conv||1", "fp32"): 40.0, ("Conv||2", "fp32"): 40.0, ("Conv||3", "fp32"): 0.0}
DIFFERENCE = """\
host, onnxruntime 1.32.0, 1 thread
row                        choice              A        B   B / A      from spreads
Conv||4                    fp32          10.0 µs  30.0 µs  3.000x  2.250x to 4.000x
conversion of 64 elements  fp32 to int8   8.0 µs   4.0 µs  0.500x  0.375x to 0.667x
Conv||1                    fp32          40.0 µs  40.0 µs  1.000x  0.750x to 1.333x
B takes 1.000x the time of A (median); 2 of 5 rows differ by more than 10%; 1 rows only in A, 2 only in B
"""  # noqa: E501 - as it is printed


@pytest.fixture
def tables(bench: "Bench") -> tuple[Path, Path]:
    """Two tables that differ in a kernel and a boundary, and in what they have."""
    a = {**SAME, ("Conv||4", "fp32"): 10.0, ("Conv||4", "int8"): 1.0}
    b = {**SAME, ("Conv||4", "fp32"): 30.0, ("Conv||5", "int8"): 1.0}
    return (
        bench.put("a.sqlite", "x", kernels=a, boundaries={64: 8.0}),
        bench.put("b.sqlite", "y", kernels=b, boundaries={64: 4.0, 65: 4.0}),
    )


def test_the_farthest_rows_and_the_verdict(tables: tuple[Path, Path], profile: Profile) -> None:
    lines = [line.rstrip() for line in profile("diff", *tables, "--rows", 3).splitlines()]
    assert lines == DIFFERENCE.splitlines()


def test_a_table_against_itself(tables: tuple[Path, Path], profile: Profile) -> None:
    verdict = profile("diff", tables[0], tables[0]).splitlines()[-1]
    assert verdict.startswith("B takes 1.000x the time of A (median); 0 of 6 rows differ")


def test_json(tables: tuple[Path, Path], profile: Profile) -> None:
    (part,) = json.loads(profile("diff", *tables, "--json"))["settings"]
    assert part["a"] == part["b"]
    assert (part["median_ratio"], part["beyond_10_percent"]) == (1.0, 2)
    assert part["rows"][0] == {
        "key": "Conv||4",
        "choice": "fp32",
        "a_us": 10.0,
        "b_us": 30.0,
        "ratio": 3.0,
        "ratio_low": 27.0 / 12.0,
        "ratio_high": 36.0 / 9.0,
    }
    assert part["only_a"] == [{"key": "Conv||4", "choice": "int8"}]
    assert part["only_b"][1] == {"before": "fp32", "after": "int8", "elements": 65}


def test_a_ratio_over_nothing_is_said_to_be_none(bench: "Bench", profile: Profile) -> None:
    a = bench.put("a.sqlite", "x", kernels={("k", "fp32"): 0.0})
    b = bench.put("b.sqlite", "x", kernels={("k", "fp32"): 1.0})
    (part,) = json.loads(profile("diff", a, b, "--json"))["settings"]
    assert (part["median_ratio"], part["rows"][0]["ratio"]) == (None, None)
    assert "any" in profile("diff", a, b)


def test_settings_in_common_are_compared(bench: "Bench", profile: Profile) -> None:
    row = {("k", "fp32"): 1.0}
    for threads in (1, 2):
        bench.on(threads=threads).put("a.sqlite", "x", kernels=row)
    for threads in (2, 3):
        bench.on(threads=threads).put("b.sqlite", "x", kernels=row)
        bench.on(threads=threads, device="dcu").put("c.sqlite", "x", kernels=row)
    lines = profile("diff", "a.sqlite", "b.sqlite").splitlines()
    assert [line for line in lines if "onnxruntime" in line] == [
        "host, onnxruntime 1.32.0, 2 threads"
    ]
    with pytest.raises(InputError, match=r"a\.sqlite and c\.sqlite have no setting in common"):
        profile("diff", "a.sqlite", "c.sqlite")


def test_two_devices_are_compared_where_each_table_has_one(
    bench: "Bench", profile: Profile
) -> None:
    a = bench.put("a.sqlite", "x", kernels={("k", "fp32"): 1.0})
    b = bench.on(device="orin", power_mode="15W").put("b.sqlite", "x", kernels={("l", "fp32"): 1.0})
    assert profile("diff", a, b).splitlines() == [
        "host, onnxruntime 1.32.0, 1 thread against orin, 15W, onnxruntime 1.32.0, 1 thread",
        "no row is in both; 1 rows only in A, 1 only in B",
    ]
