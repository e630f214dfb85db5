"""A real, small bundle for the command line to work on, and ways to call the command line."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from hwc.toolchain.bundle import (
    GOLDEN,
    MODEL,
    PLAN,
    REPORT,
    Manifest,
    Source,
    seal,
    staged,
    write_golden,
)
from hwc.toolchain.device import Confidence, DeviceProfile, Figure
from hwc.toolchain.engine import Engine
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.report import Latency, Measured, Report, SlotRow
from hwc.toolchain.timing import Interval
from hwc.toolchain.verify import Numbers, owed
from hwc.tools.cli import hwc, main

FIGURE = Figure(1.0, "a test", Confidence.LOW)
PROFILE = DeviceProfile(
    name="host",
    title="this test's host",
    backend="ort",
    target="x86_64",
    units=1,
    opset_max=23,
    peak={Precision.FP32: FIGURE},
    bandwidth=FIGURE,
    cache=FIGURE,
    memory=FIGURE,
    launch=FIGURE,
)
ORIGINAL = """
<ir_version: 10, opset_import: ["" : 20]>
original (float[batch,4] x) => (float[batch,4] y) <float[1] two = {2.0}> { y = Mul(x, two) }
"""
# The same numbers by another way; the original is slow, so that the deliverable keeps its promise.
DEPLOYED = """
<ir_version: 10, opset_import: ["" : 20]>
deployed (float[batch,4] x) => (float[batch,4] y) { y = Add(x, x) }
"""
NET = """
<ir_version: 10, opset_import: ["" : 17]>
net (float[batch,3,16,16] x) => (float[batch,4] y)
<float[16,3,3,3] w1, float[64,16,3,3] w2, float[64,64,3,3] w3, float[4,64] w4> {
  conv1 = Conv<pads = [1, 1, 1, 1]>(x, w1)
  relu1 = Relu(conv1)
  conv2 = Conv<strides = [2, 2]>(relu1, w2)
  relu2 = Relu(conv2)
  conv3 = Conv<pads = [1, 1, 1, 1]>(relu2, w3)
  pool = GlobalAveragePool(conv3)
  flat = Flatten(pool)
  y = Gemm<transB = 1>(flat, w4)
}
"""
SAMPLES = 24
SLOTS = (
    SlotRow(
        "conv1", "Conv", "int8", "4.1x faster alone", {"fp32": 41.0, "int8": 10.0}, {"int8": 0.002}
    ),
    SlotRow("lstm", "LSTM", "fp32", "", {"fp32": 7.0}, measured_us=6.5, kept="recurrent"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """What a test's bundle is like.

    Attributes:
        graph: The deploy graph as ONNX text.
        built: Whether its engine is there.
        device: Name of its device.
        speedup: The speed-up that it promises.
        archive: Whether it is a zip.
        scale: What the recorded golden outputs are multiplied with: 1 keeps them right.
        options: How the engine is opened.
        original_options: How the original is opened.
    """

    graph: str = DEPLOYED
    built: bool = True
    device: str = "host"
    speedup: Interval | None = None
    archive: bool = False
    scale: float = 1.0
    options: Mapping[str, str] | None = None
    original_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shop:
    """Makes bundles in a folder; `case` is the usual one, for `replace`."""

    folder: Path
    case: Case = Case()

    @property
    def original(self) -> Path:
        """The original model's path."""
        return self.folder / "original.onnx"

    def make(self, case: Case | None = None, name: str = "m.hwc") -> Path:
        """Write a bundle and its original."""
        case = case or self.case
        onnx.save(onnx.parser.parse_model(ORIGINAL), self.original)
        x = np.arange(8, dtype=np.float32).reshape(2, 4)
        profile = replace(PROFILE, name=case.device)
        estimate = Latency(12.0, Origin.ESTIMATED, "a guess", residual=0.3)
        report = Report(
            "original.onnx",
            case.device,
            "ort",
            Measured(100),
            Measured(50, estimate, counts={"int8": 1, "fp32": 1}),
            speedup=case.speedup,
            golden=Numbers(),
            slots=SLOTS,
            checks=() if case.built else owed(profile.title),
        )
        manifest = Manifest(
            backend="ort",
            profile=profile,
            engine=Engine((MODEL,), "onnxruntime", "x86_64", case.options) if case.built else None,
            build_commands=("hwc build .",),
            versions={"ort": "1"},
            sources=(Source.of_file(self.original),),
            checks=report.checks,
            original_options=case.original_options,
        )
        with staged(self.folder / name, archive=case.archive) as stage:
            onnx.save(onnx.parser.parse_model(case.graph), stage / MODEL)
            (stage / PLAN).write_text(
                Plan.of({"conv1": NodeChoice(Precision.INT8), "lstm": NodeChoice()}).to_json()
            )
            (stage / REPORT).write_text(report.to_json())
            write_golden(stage / GOLDEN, (({"x": x}, {"y": case.scale * 2 * x}),))
            seal(stage, manifest)
        return self.folder / name

    def listing(self) -> list[str]:
        """What lies in the folder."""
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def call() -> Callable[..., Result]:
    """Call `hwc` in this process; an HwcError is in the result's `exception`."""

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(hwc, [str(argument) for argument in arguments])

    return invoke


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call of the command line ended."""

    code: object
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Desk:
    """A working folder with a model, data and bundles, from which `hwc` is called as users do.

    Attributes:
        folder: Holds `work` (the working folder) and `tmp` (for temporary files), no more.
        table: A latency table that has all rows, outside of the folder.
        capture: Reads what the process wrote, native libraries included.
    """

    folder: Path
    table: Path
    capture: pytest.CaptureFixture[str]

    def hwc(self, *arguments: object) -> Ended:
        """Call the command line in this process."""
        self.capture.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return Ended(end.value.code, *self.capture.readouterr())

    def compiling(self, *arguments: object, model: str = "model.onnx") -> tuple[object, ...]:
        """The arguments of `hwc compile` without progress."""
        return ("compile", model, "-q", "--table", self.table, *arguments)

    def refuses(self, *arguments: object, code: int) -> str:
        """Call what must fail with one line and change nothing; that line."""
        before = self.snapshot()
        ended = self.hwc(*arguments)
        line = ended.err.removeprefix("hwc: error: ")
        assert ended == Ended(code, "", f"hwc: error: {line}")
        assert line.count("\n") == 1
        assert line.endswith("\n")
        assert self.snapshot() == before
        return line.strip()

    def snapshot(self) -> dict[str, bytes | None]:
        """Every file with its content, every folder with None."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else None
            for path in self.folder.rglob("*")
        }


@pytest.fixture(scope="session")
def compiled(
    tmp_path_factory: pytest.TempPathFactory, parse_graph: Callable[[str], onnx.ModelProto]
) -> Path:
    """A folder with a model, data, and its bundles for this machine and for a Jetson."""
    folder = tmp_path_factory.mktemp("compiled")
    model, data = folder / "model.onnx", folder / "data.npz"
    onnx.save(parse_graph(NET), model)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, 3, 16, 16), np.float32)
    np.savez(data, x=x, label=rng.integers(0, 4, SAMPLES))
    np.savez(folder / "one.npz", x=x[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the bundles note where the original is
        for device, name in (("host", "host.hwc"), ("jetson_orin", "orin.hwc")):
            asked = ["compile", "model.onnx", "--device", device, "-o", name, "-q"]
            more = ["--data", "data.npz", "--max-drop", "100%", "--table", "table.sqlite"]
            with pytest.raises(SystemExit) as end:
                main([*asked, *more])
            assert end.value.code == 0
    return folder


@pytest.fixture
def desk(
    compiled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Desk]:
    """A working folder of its own for a test."""
    table = compiled / "table.sqlite"
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    shutil.copytree(compiled, work, ignore=shutil.ignore_patterns(f"{table.name}*"))
    temporary.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a user's module is imported from here
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield Desk(tmp_path, table, capfd)
    for number, handler in handlers.items():
        signal.signal(number, handler)
