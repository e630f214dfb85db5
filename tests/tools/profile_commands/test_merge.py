"""`hwc profile merge`: the union of tables, whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hwc.toolchain.errors import InputError, OutputError
from hwc.toolchain.latency.table import LatencyTable

if TYPE_CHECKING:
    from hwc.tests.tools.profile_commands.conftest import Bench

Profile = Callable[..., str]


@pytest.fixture
def tables(bench: "Bench") -> tuple[Path, Path]:
    """Two tables with a build and a setting of their own each, and one build in common."""
    bench.put("a.sqlite", "old", kernels={("k", "fp32"): 1.0})
    bench.put("a.sqlite", "both", date="2026-02-03", kernels={("k", "fp32"): 3.0})
    bench.put("b.sqlite", "new", kernels={("k", "fp32"): 5.0}, boundaries={64: 2.0})
    bench.on(threads=2).put("b.sqlite", "new", kernels={("k", "fp32"): 9.0})
    b = bench.put("b.sqlite", "both", date="2026-02-04", kernels={("k", "fp32"): 4.0})
    return bench.folder / "a.sqlite", b


@pytest.mark.parametrize("order", [1, -1], ids=["newer last", "newer first"])
def test_all_settings_all_builds_and_the_newer_of_the_same(
    bench: "Bench", tables: tuple[Path, Path], profile: Profile, order: int
) -> None:
    said = profile("merge", *tables[::order], "-o", "all.sqlite")
    assert said == "settings: 2, builds: 4 (1 older ones left out)\nall.sqlite\n"
    assert bench.listing() == ["a.sqlite", "all.sqlite", "b.sqlite"]
    with LatencyTable.open(Path("all.sqlite")) as merged:
        found = merged.observations(bench.setting)
        assert {it.build.id: it.kernels[0].timing.median_us for it in found} == {
            "old": 1.0,
            "both": 4.0,
            "new": 5.0,
        }
        (kernel,) = merged.kernels(bench.setting)
        assert (kernel.timing.median_us, kernel.timing.runs) == (pytest.approx(10 / 3), 24)
        (other,) = merged.observations(bench.on(threads=2).setting)
        assert other.kernels[0].timing.median_us == 9.0


def test_a_table_that_is_merged_with_itself_is_the_same(
    bench: "Bench", tables: tuple[Path, Path], profile: Profile
) -> None:
    a, _ = tables
    profile("merge", a, a, "-o", "again.sqlite")
    with LatencyTable.open(a) as one, LatencyTable.open(Path("again.sqlite")) as other:
        assert one.observations(bench.setting) == other.observations(bench.setting)


def test_a_merged_table_takes_more_builds(
    bench: "Bench", tables: tuple[Path, Path], profile: Profile
) -> None:
    profile("merge", *tables, "-o", "all.sqlite")
    bench.put("all.sqlite", "later", kernels={("k", "fp32"): 1.0})
    with LatencyTable.open(Path("all.sqlite")) as merged:
        assert len(merged.builds(bench.setting)) == 4


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE kernels SET p90_us = 1e300 WHERE build = 'both'", r"row 'both k fp32' of kernels"),
        ("UPDATE boundaries SET p10_us = -1", "microseconds"),
        ("PRAGMA user_version = 1", "schema version 1"),
    ],
    ids=["absurd time", "negative time", "another schema"],
)
def test_a_bad_row_refuses_the_whole(
    bench: "Bench", tables: tuple[Path, Path], profile: Profile, statement: str, message: str
) -> None:
    bench.spoil("b.sqlite", statement)
    with pytest.raises(InputError, match=rf"b\.sqlite: .*{message}"):
        profile("merge", *tables, "-o", "all.sqlite")
    assert bench.listing() == ["a.sqlite", "b.sqlite"]


def test_what_is_there_is_replaced_only_by_force(
    bench: "Bench", tables: tuple[Path, Path], profile: Profile
) -> None:
    """The output may be one of the tables."""
    a, b = tables
    with pytest.raises(OutputError, match="exists already"):
        profile("merge", a, b, "-o", a)
    profile("merge", a, b, "-o", a, "--force")
    assert bench.listing() == ["a.sqlite", "b.sqlite"]
    with LatencyTable.open(a) as merged:
        assert len(merged.builds(bench.setting)) == 3


def test_the_journal_of_a_replaced_table_does_not_come_back(
    bench: "Bench", tables: tuple[Path, Path], profile: Profile
) -> None:
    """A killed writer leaves a journal, which SQLite would take for the new table's."""
    a, b = tables
    writer = LatencyTable.open(a)
    try:
        bench.put("a.sqlite", "in the journal", kernels={("k", "fp32"): 7.0})
        left = {name: Path(name).read_bytes() for name in ("a.sqlite", "a.sqlite-wal")}
        assert left["a.sqlite-wal"]
    finally:
        writer.close()
    for name, content in left.items():
        Path(name).write_bytes(content)
    profile("merge", b, "-o", a, "--force")
    assert bench.listing() == ["a.sqlite", "b.sqlite"]
    with LatencyTable.open(a) as merged:
        assert {build.id for build in merged.builds(bench.setting)} == {"new", "both"}


def test_a_table_in_use_is_not_replaced(
    bench: "Bench", tables: tuple[Path, Path], profile: Profile
) -> None:
    a, b = tables
    with LatencyTable.open(a) as busy:
        bench.put("a.sqlite", "now", kernels={("k", "fp32"): 7.0})
        with pytest.raises(OutputError, match="another program uses it"):
            profile("merge", b, "-o", a, "--force")
        assert len(busy.builds(bench.setting)) == 3


def test_there_must_be_tables(profile: Profile) -> None:
    with pytest.raises(SystemExit) as end:
        profile("merge", "-o", "all.sqlite")
    assert end.value.code == 2
    with pytest.raises(InputError, match=r"no latency table at none\.sqlite"):
        profile("merge", "none.sqlite", "-o", "all.sqlite")
