"""The TensorRT backend: ahead of time with the real TensorRT-RTX, on a GPU with a stand-in."""

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from hwc.backends import cuda_memory, trt
from hwc.backends.trt import TensorRT
from hwc.backends.trt_runtime import AHEAD_OF_TIME, NATIVE, Target, Toolkit
from hwc.toolchain.device import load_profile
from hwc.toolchain.engine import Engine, Status
from hwc.toolchain.errors import BackendError
from onnx import parser

A100, ORIN = load_profile("a100_sxm_80gb"), load_profile("jetson_agx_orin")
GRAPH = '<ir_version: 10, opset_import: ["": 21]> g (float[1,4] x) => (float[1,4] y) {{ {} }}'
needs_rtx = pytest.mark.skipif(
    Toolkit.find(AHEAD_OF_TIME) is None,
    reason="tensorrt_rtx is not installed (pip install hwc-compiler[rtx])",
)


class StandIn:
    """A toolkit that builds and loads anything, and notes what for."""

    def __init__(self, name: str, targets: tuple[int, ...] = ()) -> None:
        self.name, self.targets = name, targets
        self.version = f"{name} 10.9"
        self.built: list[Target] = []

    def build(self, model: Path, target: Target) -> bytes:
        """An engine."""
        assert model.name == "model.onnx"
        self.built.append(target)
        return b"engine"

    def load(self, engine: bytes, cuda: object) -> tuple[bytes, object]:
        """What a runner would be made of."""
        return engine, cuda


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A graph that TensorRT takes."""
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(GRAPH.format("y = Relu (x)")), path)
    return path


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU, whatever the tests run on."""
    put_gpu(monkeypatch, None)


def put_gpu(monkeypatch: pytest.MonkeyPatch, sm: int | None) -> None:
    """A machine with a GPU."""
    gpu = None if sm is None else SimpleNamespace(capability=sm)
    monkeypatch.setattr(cuda_memory, "first_device", lambda: gpu)


def put_toolkits(monkeypatch: pytest.MonkeyPatch, *toolkits: StandIn) -> None:
    """A machine with these toolkits installed."""
    found = {toolkit.name: toolkit for toolkit in toolkits}
    monkeypatch.setattr(Toolkit, "find", found.get)


@needs_rtx
def test_checks_an_a100_graph_by_building_it(model: Path) -> None:
    (check,) = TensorRT().check(model, A100)
    assert (check.name, check.status) == (trt.CHECK, Status.PASSED)
    assert "MB for SM80 in" in check.detail
    assert "legal" not in check.detail


@needs_rtx
def test_checks_an_orin_graph_for_its_neighbour_and_says_so(model: Path) -> None:
    (check,) = TensorRT().check(model, ORIN)
    assert check.status is Status.PASSED
    assert "for SM86" in check.detail
    assert "knows no SM87: this shows that the graph is legal, no more" in check.detail


@needs_rtx
def test_a_refused_graph_fails_the_check_with_the_node(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(GRAPH.format("[odd] y = Det (x)")), path)
    (check,) = TensorRT().check(path, A100)
    assert check.status is Status.FAILED
    assert "Det 'odd'" in check.detail


def test_without_tensorrt_the_check_is_owed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_toolkits(monkeypatch)
    (check,) = TensorRT().check(model, A100)
    assert check.status is Status.OWED
    assert "pip install hwc-compiler[rtx]" in check.detail


def test_on_the_device_the_build_is_the_check(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_gpu(monkeypatch, 87)
    put_toolkits(monkeypatch, StandIn(NATIVE))
    assert TensorRT().check(model, ORIN) == ()


@needs_rtx
def test_builds_an_a100_engine_ahead_of_time(model: Path, tmp_path: Path) -> None:
    engine = TensorRT().build(model, A100, tmp_path)
    assert engine.files == ("model.engine",)
    assert engine.runtime.startswith("tensorrt_rtx ")
    assert engine.target == "sm80"
    assert (tmp_path / "model.engine").stat().st_size > 1000
    with pytest.raises(BackendError, match="no GPU"):
        TensorRT().load(tmp_path, engine)


@needs_rtx
def test_an_orin_engine_is_built_on_orin(model: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no TensorRT here builds for SM87") as refusal:
        TensorRT().build(model, ORIN, tmp_path)
    assert "hwc build" in refusal.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


MACHINES = {
    "Orin with TensorRT": (87, (NATIVE,), ORIN, NATIVE),
    "Orin with both": (87, (NATIVE, AHEAD_OF_TIME), ORIN, NATIVE),
    "A100 with TensorRT": (80, (NATIVE,), A100, NATIVE),
    "A100 with TensorRT-RTX": (80, (AHEAD_OF_TIME,), A100, AHEAD_OF_TIME),
    "Orin with TensorRT-RTX": (87, (AHEAD_OF_TIME,), ORIN, None),
    "another GPU with TensorRT": (89, (NATIVE,), A100, None),
    "another GPU with both": (89, (NATIVE, AHEAD_OF_TIME), A100, AHEAD_OF_TIME),
    "nothing": (80, (), A100, None),
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_what_builds_where(
    machine: tuple[int, tuple[str, ...], trt.DeviceProfile, str | None],
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu, installed, profile, serves = machine
    put_gpu(monkeypatch, gpu)
    toolkits = {name: StandIn(name, () if name == NATIVE else (80, 86)) for name in installed}
    put_toolkits(monkeypatch, *toolkits.values())
    backend = TensorRT()
    here = profile.target == f"sm{gpu}"
    assert backend.runs_here(profile) == (serves is not None and here)
    if serves is None:
        with pytest.raises(BackendError, match="no TensorRT here"):
            backend.build(model, profile, model.parent)
        return
    assert backend.build(model, profile, model.parent).runtime == f"{serves} 10.9"
    (target,) = toolkits[serves].built
    assert target.sm == (None if serves == NATIVE else 80)
    assert target.workspace == int(profile.memory.value * 2**30) // 4
    assert target.sparse == (profile.sparse_2_4 is not None)


def test_loads_what_was_built_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_gpu(monkeypatch, 87)
    put_toolkits(monkeypatch, StandIn(NATIVE))
    (tmp_path / "model.engine").write_bytes(b"engine")
    engine = Engine(("model.engine",), "tensorrt 10.9", "sm87")
    loaded, cuda = TensorRT().load(tmp_path, engine)
    assert loaded == b"engine"
    assert cuda.capability == 87


BUILT = Engine(("model.engine",), "tensorrt 10.9", "sm87")
FOREIGN = {
    "another version": (replace(BUILT, runtime="tensorrt 10.3"), "installed is tensorrt 10.9"),
    "another toolkit": (replace(BUILT, runtime="tensorrt_rtx 1.7"), "installed is none"),
    "another GPU": (replace(BUILT, target="sm80"), "is for sm80, the GPU here is sm87"),
}


@pytest.mark.parametrize(("engine", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_refuses_a_foreign_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: Engine, reason: str
) -> None:
    put_gpu(monkeypatch, 87)
    put_toolkits(monkeypatch, StandIn(NATIVE))
    with pytest.raises(BackendError, match=reason):
        TensorRT().load(tmp_path, engine)


def test_version_is_that_of_what_works_here(monkeypatch: pytest.MonkeyPatch) -> None:
    put_toolkits(monkeypatch, StandIn(NATIVE), StandIn(AHEAD_OF_TIME))
    assert TensorRT().version() == "tensorrt_rtx 10.9"
    put_gpu(monkeypatch, 87)
    assert TensorRT().version() == "tensorrt 10.9"
    put_toolkits(monkeypatch)
    assert TensorRT().version() is None


def test_commands_are_safe_for_a_shell() -> None:
    *comments, command = TensorRT().build_commands(Path("my model.onnx"), ORIN)
    assert all(line.startswith("#") and "hwc build" in line for line in comments)
    words = shlex.split(command)
    assert words[:3] == ["trtexec", "--onnx=my model.onnx", "--stronglyTyped"]
    assert "--saveEngine=model.engine" in words
    assert "--memPoolSize=workspace:16384" in words
    assert "--sparsity=enable" in words
    (*_, command) = TensorRT().build_commands(Path("m.onnx"), replace(ORIN, sparse_2_4=None))
    assert "sparsity" not in command


def test_a_target_that_names_no_sm(model: Path) -> None:
    with pytest.raises(BackendError, match="names no SM"):
        TensorRT().check(model, replace(A100, target="gfx906"))
