"""The latency table: builds come back whole, and one row a kernel over all of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hwc.toolchain.latency.combine import combine_timings
from hwc.toolchain.latency.rows import BoundaryRow, BuildRow, KernelRow, MeasuredBuild
from hwc.toolchain.latency.table import LatencyTable, Mode, default_path, default_paths
from hwc.toolchain.latency.timing import Setting, Timing
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import Precision
from hwc.toolchain.slots import Work
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SETTING = Setting("host", "onnxruntime", "1.32.0", 2)
OTHER = replace(SETTING, threads=1)
DATES = ("2026-01-31T10:00:00+00:00", "2026-02-01T10:00:00+00:00")


def timing(median: float, setting: Setting = SETTING) -> Timing:
    """A timing around a median."""
    return Timing(
        median, median - 1, median + 2, 50, 2 * median, setting, DATES[0], Origin.MEASURED
    )


def kernel(key: str, median: float, choice: str = "int8", setting: Setting = SETTING) -> KernelRow:
    """A kernel's row."""
    return KernelRow(key, choice, "conv", Work(9, 8, 7, 6), timing(median, setting))


def boundary(elements: int, median: float) -> BoundaryRow:
    """A boundary's row."""
    return BoundaryRow(Precision.FP32, Precision.INT8, elements, timing(median))


def build(name: str, date: str = DATES[0]) -> BuildRow:
    """A build of its own."""
    return BuildRow(name, "m", "model.onnx", '{"a":{"precision":"int8"}}', 100.0, 50, date)


FIRST = MeasuredBuild(build("a"), (kernel("k1", 10), kernel("k2", 5)), (boundary(64, 3),))
SECOND = MeasuredBuild(
    build("b", DATES[1]),
    (kernel("k1", 8, "fp32"), kernel("k1", 14), kernel("k2", 6)),
    (boundary(9, 1), boundary(64, 5)),
)


def put(table: LatencyTable, *builds: MeasuredBuild, setting: Setting = SETTING) -> None:
    """Write builds."""
    for it in builds:
        table.put_build(setting, it.build, it.kernels, it.boundaries)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table of two builds."""
    path = tmp_path / "tables" / "host.sqlite"
    with LatencyTable.open(path, Mode.WRITE) as table:
        put(table, FIRST, SECOND)
    return path


def test_builds_come_back_whole(path: Path) -> None:
    with LatencyTable.open(path) as table:
        assert table.settings() == (SETTING,)
        assert table.builds(SETTING) == (FIRST.build, SECOND.build)
        assert table.observations(SETTING) == (FIRST, SECOND)


def test_one_row_a_kernel_over_all_builds(path: Path) -> None:
    with LatencyTable.open(path) as table:
        rows = {(row.key, row.choice): row for row in table.kernels(SETTING)}
        edges = {row.change: row for row in table.boundaries(SETTING)}
    assert list(rows) == [("k1", "fp32"), ("k1", "int8"), ("k2", "int8")]
    assert rows["k1", "fp32"] == SECOND.kernels[0]
    assert rows["k1", "int8"].timing == combine_timings([timing(10), timing(14)])
    assert [elements for _, _, elements in edges] == [9, 64]
    wanted = combine_timings([timing(3), timing(5)])
    assert edges[Precision.FP32, Precision.INT8, 64].timing == wanted


def test_a_build_replaces_the_one_of_its_id(path: Path) -> None:
    again = MeasuredBuild(build("a", DATES[1]), (kernel("k3", 7),), ())
    with LatencyTable.open(path, Mode.WRITE) as table:
        put(table, again)
        assert table.observations(SETTING) == (again, SECOND)
        assert [row.key for row in table.kernels(SETTING)] == ["k1", "k1", "k2", "k3"]


def test_a_build_that_is_forgotten_takes_its_rows_along(path: Path) -> None:
    with LatencyTable.open(path, Mode.WRITE) as table:
        table.forget(SETTING, ["a", "never there"])
        assert table.observations(SETTING) == (SECOND,)
        assert list(table.boundaries(SETTING)) == list(SECOND.boundaries)
        table.forget(OTHER, ["b"])
        assert table.builds(SETTING) == (SECOND.build,)


def test_settings_are_kept_apart(path: Path) -> None:
    mine = MeasuredBuild(build("a"), (kernel("k1", 99, setting=OTHER),), ())
    with LatencyTable.open(path, Mode.WRITE) as table:
        put(table, mine, setting=OTHER)
        assert table.settings() == (SETTING, OTHER)
        assert table.observations(SETTING) == (FIRST, SECOND)
        assert table.observations(OTHER) == (mine,)
        assert list(table.kernels(OTHER)) == list(mine.kernels)
        table.forget(OTHER, ["a"])
        assert table.observations(SETTING) == (FIRST, SECOND)


def test_of_a_setting_that_is_not_there_nothing_is_known(path: Path) -> None:
    with LatencyTable.open(path) as table:
        assert table.builds(OTHER) == ()
        assert table.observations(OTHER) == ()
        assert [*table.kernels(OTHER), *table.boundaries(OTHER)] == []


def test_rows_of_another_setting_are_not_written(path: Path) -> None:
    with LatencyTable.open(path, Mode.WRITE) as table:
        with pytest.raises(ValueError, match="1 thread"):
            table.put_build(SETTING, build("c"), [kernel("k1", 1, setting=OTHER)], [])
        assert table.observations(SETTING) == (FIRST, SECOND)


def test_a_build_is_on_disk_when_put_returns(path: Path) -> None:
    third = replace(FIRST, build=build("c"))
    writer = LatencyTable.open(path, Mode.WRITE)
    put(writer, third)
    with LatencyTable.open(path) as reader:  # the writer is still open, as after a crash
        assert third in reader.observations(SETTING)
    writer.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError], ids=["ctrl-c", "memory"])
def test_what_ends_between_two_rows_leaves_the_build_out(
    path: Path, error: type[BaseException]
) -> None:
    def rows() -> Iterator[KernelRow]:
        yield kernel("k1", 1)
        raise error

    with LatencyTable.open(path, Mode.WRITE) as table:
        for name in ("a", "c"):  # a build that was there stays, and a new one does not come
            with pytest.raises(error):
                table.put_build(SETTING, build(name), rows(), [])
        assert table.observations(SETTING) == (FIRST, SECOND)
        put(table, replace(FIRST, build=build("c")))  # and the table goes on
    with LatencyTable.open(path) as table:
        assert len(table.builds(SETTING)) == 3


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TIMES = st.floats(0, 1e9)


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    p10, median, p90 = sorted(draw(st.tuples(TIMES, TIMES, TIMES)))
    return Timing(
        median,
        p10,
        p90,
        draw(st.integers(1, 2**63 - 1)),
        draw(st.none() | TIMES),
        SETTING,
        draw(st.datetimes().map(lambda date: date.isoformat())),
        draw(st.sampled_from(Origin)),
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(st.tuples(TEXTS, TEXTS), st.tuples(TEXTS, timings()), max_size=4),
    st.integers(0, 2**63 - 1),
)
def test_any_row_survives(
    path: Path, rows: dict[tuple[str, str], tuple[str, Timing]], count: int
) -> None:
    kernels = [
        KernelRow(key, choice, kind, Work(count, 0, 1, 2), timed)
        for (key, choice), (kind, timed) in rows.items()
    ]
    with LatencyTable.open(path, Mode.WRITE) as table:
        table.put_build(SETTING, build("c"), kernels, [])
        table.forget(SETTING, ["a", "b"])
        assert sorted(map(repr, table.kernels(SETTING))) == sorted(map(repr, kernels))


def test_default_path_tells_settings_apart_and_stays_in_its_folder() -> None:
    paths = {
        default_path(replace(SETTING, **change)).name
        for change in ({}, {"threads": 1}, {"version": "1.31"}, {"power_mode": "15 W"})
    }
    assert len(paths) == 4
    assert "host-onnxruntime-1.32.0-t2.sqlite" in paths
    evil = default_path(replace(SETTING, device="../../etc"))
    assert evil.parent == default_path(SETTING).parent


def test_default_paths_are_those_of_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_paths("host") == []
    wanted = [default_path(OTHER), default_path(SETTING)]
    for path in (*wanted, default_path(replace(SETTING, device="jetson"))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert default_paths("host") == wanted
