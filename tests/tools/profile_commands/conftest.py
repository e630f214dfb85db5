"""Latency tables with round figures, and `hwc profile` to work on them."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hwc.toolchain.latency.rows import BoundaryRow, BuildRow, KernelRow
from hwc.toolchain.latency.table import LatencyTable, Mode
from hwc.toolchain.latency.timing import Setting, Timing
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.slots import Work
from hwc.tools.cli import hwc

HOST = Setting("host", "onnxruntime", "1.32.0", 1)
CONV, GEMM = "Conv+Relu|strides=(2, 2)|1x16x16x16,w64x16x3x3", "Gemm|transB=1|1x64,w4x64"
WORK = Work(451584, 9216, 4096, 3136)
PLAN = Plan.of({"a": NodeChoice(Precision.INT8), "b": NodeChoice()})


@dataclass(frozen=True)
class Bench:
    """A folder of tables.

    Attributes:
        folder: Where they lie.
        setting: What their times hold for, unless another is said.
    """

    folder: Path
    setting: Setting = HOST

    def put(
        self,
        name: str,
        build: str,
        *,
        date: str = "2026-01-31",
        kernels: dict[tuple[str, str], float] | None = None,
        boundaries: dict[int, float] | None = None,
    ) -> Path:
        """Write a build into a table: times in microseconds, by kernel and choice or elements."""
        row = BuildRow(build, "m", "net.onnx", PLAN.to_json(), 100.0, 8, date)

        def timing(us: float) -> Timing:
            low, high = 0.9 * us, 1.2 * us
            return Timing(us, low, high, 8, us, self.setting, date, Origin.MEASURED)

        with LatencyTable.open(self.folder / name, Mode.WRITE) as table:
            table.put_build(
                self.setting,
                row,
                [KernelRow(*k, "conv", WORK, timing(us)) for k, us in (kernels or {}).items()],
                [
                    BoundaryRow(Precision.FP32, Precision.INT8, elements, timing(us))
                    for elements, us in (boundaries or {}).items()
                ],
            )
        return self.folder / name

    def on(self, **changes: object) -> "Bench":
        """The same folder, another setting."""
        return replace(self, setting=replace(self.setting, **changes))

    def spoil(self, name: str, statement: str) -> Path:
        """Change a table behind hwc's back."""
        with closing(sqlite3.connect(self.folder / name)) as connection, connection:
            connection.execute(statement)
        return self.folder / name

    def listing(self) -> list[str]:
        """What lies in the folder."""
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A folder of its own, which is also where the command works."""
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


@pytest.fixture
def profile(bench: Bench) -> Callable[..., str]:
    """Call `hwc profile`; what it printed. An HwcError is raised."""

    def call(*arguments: object) -> str:
        words = ["profile", *(str(argument) for argument in arguments)]
        before = bench.listing()
        result = CliRunner().invoke(hwc, words)
        if result.exception is not None:
            assert bench.listing() == before
            raise result.exception
        return result.output

    return call
