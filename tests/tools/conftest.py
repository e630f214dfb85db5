"""A real, small bundle for the command line to work on, and a way to call the command line."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.report import Latency, Measured, Origin, Report, SlotRow
from hwc.toolchain.timing import Interval
from hwc.toolchain.verify import Numbers, owed
from hwc.tools.cli import hwc

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
    """

    graph: str = DEPLOYED
    built: bool = True
    device: str = "host"
    speedup: Interval | None = None
    archive: bool = False
    scale: float = 1.0


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
            engine=Engine((MODEL,), "onnxruntime", "x86_64") if case.built else None,
            build_commands=("hwc build .",),
            versions={"ort": "1"},
            sources=(Source.of_file(self.original),),
            checks=report.checks,
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
