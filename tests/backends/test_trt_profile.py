"""Timing layers: names and building with the real TensorRT-RTX; running on a stand-in for a GPU.

There is no GPU here. The stand-in has the interface of TensorRT's engine and context and shows the
order of calls and the arithmetic, and nothing about what a real TensorRT reports.
"""

import inspect
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends import cuda_memory, trt_profile
from hwc.backends.trt_profile import LayerTimer
from hwc.backends.trt_runtime import AHEAD_OF_TIME, NATIVE, EngineRunner, Target, Toolkit
from hwc.toolchain.device import load_profile
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import BackendError, HwcError
from onnx import parser

RELU = '<ir_version: 10, opset_import: ["": 21]> g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }'
SM80 = Target(80, 1 << 28, detailed=True)
X = {"x": np.zeros((1, 4), np.float32)}


@pytest.fixture(scope="module")
def toolkit() -> Toolkit:
    """TensorRT-RTX."""
    found = Toolkit.find(AHEAD_OF_TIME)
    if found is None:
        pytest.skip("tensorrt_rtx is not installed (pip install hwc-compiler[rtx])")
    return found


class Device:
    """A GPU of which only the memory's addresses are there."""

    capability = 80
    stream = 7

    def __init__(self) -> None:
        self.allocated = 0
        self.waits = 0

    def allocate(self, size: int) -> int:
        """A new address."""
        self.allocated += size
        return self.allocated

    def free(self, address: int) -> None:
        """Nothing."""

    def upload(self, address: int, array: Array) -> None:
        """Nothing."""

    def download(self, array: Array, address: int) -> None:
        """Nothing."""

    def wait(self) -> None:
        """Count."""
        self.waits += 1


class Engine:
    """An engine, its context and its inspector in one; it takes the time that it is told to.

    Attributes:
        rows: Layers and milliseconds that each run reports, run by run.
        layers: What the inspector says.
    """

    num_io_tensors = 2

    def __init__(self, api: object, rows: list[list[tuple[str, float]]], layers: object) -> None:
        self.api = api
        self.rows = iter(rows)
        self.layers = layers
        self.profiler: object = None
        self.execution_context: object = None
        self.plain_runs = 0

    @property
    def engine(self) -> "Engine":
        """The engine of the context."""
        return self

    def create_execution_context(self) -> "Engine":
        """The context."""
        return self

    def create_engine_inspector(self) -> "Engine":
        """The inspector."""
        return self

    def get_engine_information(self, format: object) -> str:  # noqa: A002 - the library's name
        """The layers as JSON."""
        assert format == self.api.LayerInformationFormat.JSON  # type: ignore[attr-defined]  # a module
        assert self.execution_context is self
        return json.dumps({"Layers": self.layers})

    def get_tensor_name(self, index: int) -> str:
        """Names in order."""
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> object:
        """Input or output."""
        modes = self.api.TensorIOMode  # type: ignore[attr-defined]  # a module
        return modes.INPUT if name == "x" else modes.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """All alike."""
        del name
        return (1, 4)

    def get_tensor_dtype(self, name: str) -> object:
        """All alike."""
        del name
        return self.api.DataType.FLOAT  # type: ignore[attr-defined]  # a module

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Nothing."""
        del name, memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Run, and report to the profiler where there is one."""
        assert stream_handle == Device.stream
        time.sleep(0.001)
        if self.profiler is None:
            self.plain_runs += 1
            return True
        for name, ms in next(self.rows):
            self.profiler.report_layer_time(name, ms)  # type: ignore[attr-defined]  # as the library does
        return True


Timed = Callable[..., tuple[LayerTimer, Engine]]


@pytest.fixture
def timed(toolkit: Toolkit, monkeypatch: pytest.MonkeyPatch) -> Timed:
    """A timer whose builds are real and whose loaded engine is the stand-in."""

    def make(rows: list[list[tuple[str, float]]], layers: object) -> tuple[LayerTimer, Engine]:
        engine = Engine(toolkit.api, rows, layers)

        def load(self: Toolkit, built: bytes, cuda: Device) -> EngineRunner:
            assert len(built) > 1000
            return EngineRunner(self.api, engine, cuda)

        monkeypatch.setattr(Toolkit, "load", load)
        return LayerTimer(toolkit, Device(), SM80), engine

    return make


@pytest.fixture
def relu() -> ir.Model:
    """One node."""
    return ir.from_proto(parser.parse_model(RELU))


LAYERS = [
    {"Name": "a", "LayerType": "kgen", "Metadata": "[ONNX Layer: one]"},
    {"Name": "b", "LayerType": "Reformat"},
]


def test_times_layers_without_what_the_profiler_adds(timed: Timed, relu: ir.Model) -> None:
    rows = [[("a", 2000.0), ("b", 500.0)]] * 4
    timer, engine = timed(rows, LAYERS)
    turns: list[None] = []
    (times,) = timer.time([relu], X, runs=4, told=lambda: turns.append(None))
    assert len(turns) == 8
    assert engine.plain_runs >= 4
    assert times.runs == 4
    assert times.total_us is not None
    assert 1000 <= times.total_us < 500e3
    a, b = times.layers
    assert a.layer.nodes == {"one"}
    assert b.us.median == 0.0  # each was 750 ms or more too long: the run took a few
    assert a.us.median + b.us.median == pytest.approx(times.total_us)


def test_times_that_fit_into_the_run_stay(timed: Timed, relu: ir.Model) -> None:
    rows = [[("a", ms), ("b", 0.125)] for ms in (0.25, 0.5, 0.25, 0.75)]
    timer, _ = timed(rows, LAYERS)
    (times,) = timer.time([relu], X, runs=4)
    a, b = (layer.us for layer in times.layers)
    assert a.median == pytest.approx(250)
    assert b.median == pytest.approx(125)
    assert a.p10 == pytest.approx(250)
    assert 500 < a.p90 <= 750


def test_layers_of_one_name_are_told_apart(timed: Timed, relu: ir.Model) -> None:
    layers = [{"Name": "k", "Metadata": f"[ONNX Layer: {node}]"} for node in ("one", "two")]
    timer, _ = timed([[("k", 0.25), ("k", 0.5)]] * 2, layers)
    (times,) = timer.time([relu], X, runs=2)
    found = {min(t.layer.nodes): t.us.median for t in times.layers}
    assert found == pytest.approx({"one": 250, "two": 500})


REFUSED = {
    "reports nothing": ([[], []], "reports no time of any layer"),
    "other layers each time": ([[("a", 1.0)], [("b", 1.0)]], "other layers each time"),
    "a layer that the inspector does not know": (
        [[("z", 1.0)]] * 2,
        "1 of 1 timed layers are not among the layers",
    ),
}


@pytest.mark.parametrize(("rows", "reason"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_makes_no_sense(
    timed: Timed, relu: ir.Model, rows: list[list[tuple[str, float]]], reason: str
) -> None:
    timer, _ = timed(rows, LAYERS)
    with pytest.raises(HwcError, match=reason):
        timer.time([relu], X, runs=2)


def test_the_real_module_builds_with_details(toolkit: Toolkit, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(RELU), path)
    assert toolkit.build(path, SM80).nbytes > 1000


def test_the_real_module_has_the_names(toolkit: Toolkit) -> None:
    api = toolkit.api
    assert all(hasattr(api, name) for name in trt_profile.NEEDED)
    assert {"profiler", "engine", "enqueue_emits_profile"} <= set(dir(api.IExecutionContext))
    assert "profiling_verbosity" in dir(api.IBuilderConfig)
    assert "DETAILED" in api.ProfilingVerbosity.__members__
    assert "JSON" in api.LayerInformationFormat.__members__
    assert "execution_context" in dir(api.EngineInspector)
    real = (api.ICudaEngine, api.IExecutionContext, api.EngineInspector)
    for name, _ in inspect.getmembers(Engine, inspect.isfunction):
        assert name == "__init__" or any(hasattr(kind, name) for kind in real), name
    assert "layer_name: str, ms:" in api.IProfiler.report_layer_time.__doc__


def test_the_real_profiler_class_can_be_derived_from(toolkit: Toolkit) -> None:
    profiler = trt_profile._profiler(toolkit.api)  # noqa: SLF001 - no public way without a GPU
    assert isinstance(profiler, toolkit.api.IProfiler)
    profiler.report_layer_time("a", 0.5)
    assert profiler.rows == [("a", 500.0)]


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_memory, "first_device", lambda: None)
    with pytest.raises(BackendError, match="no GPU to time layers on") as refusal:
        LayerTimer.find(load_profile("a100"))
    assert "--from-trtexec" in refusal.value.hint


def test_another_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_memory, "first_device", Device)
    with pytest.raises(BackendError, match="jetson_agx_orin is sm87, the GPU here is sm80"):
        LayerTimer.find(load_profile("jetson_orin"))


def find_only(name: str, **names: object) -> Callable[[str], Toolkit | None]:
    """A search that finds one module, which has some names."""
    module = SimpleNamespace(__version__="1.2.3", **names)

    def find(asked: str) -> Toolkit | None:
        return Toolkit(name, module) if asked == name else None  # type: ignore[arg-type]  # for a module

    return find


COMPLETE = dict.fromkeys(trt_profile.NEEDED)
MODULES = {
    "TensorRT builds for the GPU at hand": (NATIVE, None),
    "TensorRT-RTX for an SM": (AHEAD_OF_TIME, 80),
}


@pytest.mark.parametrize(("name", "sm"), MODULES.values(), ids=MODULES)
def test_finds_the_module(monkeypatch: pytest.MonkeyPatch, name: str, sm: int | None) -> None:
    monkeypatch.setattr(cuda_memory, "first_device", Device)
    monkeypatch.setattr(Toolkit, "find", find_only(name, **COMPLETE))
    timer = LayerTimer.find(load_profile("a100"))
    assert timer.toolkit.name == name
    assert (timer.target.sm, timer.target.detailed) == (sm, True)


def test_a_module_without_a_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name: None for name in COMPLETE if name != "IProfiler"}
    monkeypatch.setattr(cuda_memory, "first_device", Device)
    monkeypatch.setattr(Toolkit, "find", find_only(AHEAD_OF_TIME, **names))
    with pytest.raises(BackendError, match=r"1\.2\.3 cannot time layers: it has no IProfiler"):
        LayerTimer.find(load_profile("a100"))


def test_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_memory, "first_device", Device)
    monkeypatch.setattr(Toolkit, "find", lambda _: None)
    with pytest.raises(BackendError, match="no TensorRT is installed"):
        LayerTimer.find(load_profile("a100"))
