"""Building with the real TensorRT-RTX; running with its interface on a device made of numpy."""

import gc
import inspect
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import onnx
import pytest
from hwc.backends import trt_runtime
from hwc.backends.trt_runtime import AHEAD_OF_TIME, EngineRunner, Target, Toolkit
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import BackendError, InputError
from onnx import parser

SM80 = Target(80, 1 << 28)
HEAD = '<ir_version: 10, opset_import: ["": 21]>'
RELU = "g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"


@pytest.fixture(scope="module")
def toolkit() -> Toolkit:
    """TensorRT-RTX."""
    found = Toolkit.find(AHEAD_OF_TIME)
    if found is None:
        pytest.skip("tensorrt_rtx is not installed (pip install hwc-compiler[rtx])")
    return found


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a graph in ONNX text to a file."""

    def run(text: str) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save(parser.parse_model(HEAD + text), path)
        return path

    return run


def test_builds_an_engine(toolkit: Toolkit, save: Callable[[str], Path]) -> None:
    assert toolkit.build(save(RELU), SM80).nbytes > 1000


def test_reads_weights_from_beside_the_file(toolkit: Toolkit, tmp_path: Path) -> None:
    text = "g (float[1,64] x) => (float[1,64] y) <float[64,64] w> { y = MatMul(x, w) }"
    model = parser.parse_model(HEAD + text)
    weights = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    model.graph.initializer.append(weights)
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    with_weights = toolkit.build(path, SM80).nbytes
    assert with_weights > 64 * 64 * 4
    (tmp_path / "w.bin").unlink()
    with pytest.raises(BackendError, match="refused"):
        toolkit.build(path, SM80)


REFUSED = {
    "two float types": (
        "g (float[4] x, float16[4] h) => (float[4] y) { [sum] y = Add(x, h) }",
        r"Add 'sum'.*must have same input types",
    ),
    "no such operator": (
        "g (float[4] x) => (float[4] y) { [odd] y = my.own.Thing(x) }",
        r"Thing 'odd'.*Plugin not found",
    ),
    "a free dimension": (
        "g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }",
        r"input 'x' has free dimensions: \(-1, 4\)",
    ),
    "refused after parsing": (
        "g (float[1,8] x, int64[1] k) => (float[1,M] v, int64[1,M] i) { v, i = TopK(x, k) }",
        r"refused: .*shape inputs",
    ),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_says_which_node_and_why(toolkit: Toolkit, tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "model.onnx"
    head = HEAD.replace("]>", ', "my.own": 1]>')
    onnx.save(parser.parse_model(head + text), path)
    with pytest.raises(BackendError, match=reason) as refusal:
        toolkit.build(path, SM80)
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 99], ids=["empty", "random"])
def test_refuses_what_is_no_model(toolkit: Toolkit, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(BackendError, match=toolkit.version):
        toolkit.build(path, SM80)


@pytest.mark.parametrize("sm", [87, 90])
def test_refuses_an_sm_that_it_does_not_know(
    toolkit: Toolkit, save: Callable[[str], Path], sm: int
) -> None:
    assert sm not in toolkit.targets
    with pytest.raises(BackendError, match=f"does not build for SM{sm}"):
        toolkit.build(save(RELU), Target(sm, 1 << 28))


def test_knows_the_sms_of_its_version(toolkit: Toolkit) -> None:
    assert {80, 86} <= set(toolkit.targets)
    assert list(toolkit.targets) == sorted(toolkit.targets)


def test_a_toolkit_that_is_not_installed() -> None:
    assert Toolkit.find("no_such_tensorrt") is None


def test_what_is_no_engine_does_not_load(toolkit: Toolkit) -> None:
    with pytest.raises(BackendError, match="refused"):
        toolkit.load(b"no engine at all" * 8, Device())


def test_ctrl_c_stops_the_build_and_waits_for_it(
    toolkit: Toolkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()

    def endless(_: Toolkit, __: Path, ___: Target, ____: object, watch: SimpleNamespace) -> None:
        stopped.wait(0.05)  # until the main thread waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        while watch.step_complete("a phase", 1):
            stopped.wait(0.001)
        stopped.set()

    monkeypatch.setattr(Toolkit, "_build", endless)
    with pytest.raises(KeyboardInterrupt):
        toolkit.build(Path("model.onnx"), SM80)
    assert stopped.is_set()


def test_flags_are_bits_by_name() -> None:
    members = {"STRONGLY_TYPED": 1, "EXPLICIT_BATCH": 0}
    old, new = SimpleNamespace(__members__=members), SimpleNamespace(__members__={})
    assert trt_runtime._flags(old, "STRONGLY_TYPED", "GONE") == 2  # noqa: SLF001 - no public way
    assert trt_runtime._flags(new, "STRONGLY_TYPED", "GONE") == 0  # noqa: SLF001 - no public way


class Device:
    """A GPU whose memory is numpy arrays."""

    capability = 80
    stream = 7

    def __init__(self) -> None:
        self.memory: dict[int, Array] = {}
        self.waited = False

    def allocate(self, size: int) -> int:
        """A new block."""
        address = 4096 * (len(self.memory) + 1)
        self.memory[address] = np.zeros(size, np.uint8)
        return address

    def free(self, address: int) -> None:
        """Forget a block."""
        del self.memory[address]

    def upload(self, address: int, array: Array) -> None:
        """Fill a block."""
        self.memory[address][:] = np.frombuffer(array.tobytes(), np.uint8)

    def download(self, array: Array, address: int) -> None:
        """Read a block."""
        array.reshape(-1).view(np.uint8)[:] = self.memory[address]

    def wait(self) -> None:
        """Note that someone waited."""
        self.waited = True


class Engine:
    """An engine with TensorRT's interface: y = x + 1 in float32, and b = x in bfloat16."""

    num_io_tensors = 3

    def __init__(self, api: SimpleNamespace, device: Device, *, starts: bool = True) -> None:
        self.api, self.device, self.starts = api, device, starts
        self.addresses: dict[str, int] = {}

    def create_execution_context(self) -> "Engine":
        """Engine and context in one."""
        return self

    def get_tensor_name(self, index: int) -> str:
        """Names in order."""
        return ("x", "y", "b")[index]

    def get_tensor_mode(self, name: str) -> object:
        """Input or output."""
        modes = self.api.TensorIOMode
        return modes.INPUT if name == "x" else modes.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """All alike."""
        del name
        return (2, 3)

    def get_tensor_dtype(self, name: str) -> object:
        """The element type."""
        return self.api.DataType.BF16 if name == "b" else self.api.DataType.FLOAT

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Where a tensor lies."""
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Run."""
        assert stream_handle == self.device.stream
        x = self.device.memory[self.addresses["x"]].view(np.float32)
        self.device.memory[self.addresses["y"]][:] = (x + 1).view(np.uint8)
        self.device.memory[self.addresses["b"]][:] = x.astype(ml_dtypes.bfloat16).view(np.uint8)
        return self.starts


def test_runs_an_engine(toolkit: Toolkit) -> None:
    device = Device()
    runner = EngineRunner(toolkit.api, Engine(toolkit.api, device), device)
    x = np.arange(6, dtype=np.float32).reshape(3, 2).T  # not contiguous
    results = runner({"x": x, "unused": x})
    np.testing.assert_array_equal(results["y"], x + 1)
    np.testing.assert_array_equal(results["b"].astype(np.float32), x)
    assert device.waited


def test_gives_device_memory_back(toolkit: Toolkit) -> None:
    device = Device()
    runner = EngineRunner(toolkit.api, Engine(toolkit.api, device), device)
    assert len(device.memory) == Engine.num_io_tensors
    del runner
    gc.collect()
    assert not device.memory


BAD_FEEDS = {
    "missing": ({}, "no data for input 'x'"),
    "shape": ({"x": np.zeros((1, 3), np.float32)}, r"float32\[1, 3\].*float32\[2, 3\]"),
    "type": ({"x": np.zeros((2, 3))}, r"float64\[2, 3\].*float32\[2, 3\]"),
}


@pytest.mark.parametrize(("feeds", "reason"), BAD_FEEDS.values(), ids=BAD_FEEDS)
def test_refuses_wrong_feeds(toolkit: Toolkit, feeds: dict[str, Array], reason: str) -> None:
    device = Device()
    runner = EngineRunner(toolkit.api, Engine(toolkit.api, device), device)
    with pytest.raises(InputError, match=reason):
        runner(feeds)


def test_an_engine_that_does_not_start(toolkit: Toolkit) -> None:
    device = Device()
    runner = EngineRunner(toolkit.api, Engine(toolkit.api, device, starts=False), device)
    with pytest.raises(BackendError, match="did not start"):
        runner({"x": np.zeros((2, 3), np.float32)})


def test_the_real_classes_have_what_the_stand_in_has(toolkit: Toolkit) -> None:
    real = (toolkit.api.ICudaEngine, toolkit.api.IExecutionContext)
    methods = [name for name, _ in inspect.getmembers(Engine, inspect.isfunction)]
    for name in [*methods, "num_io_tensors"]:
        assert name == "__init__" or any(hasattr(kind, name) for kind in real), name
    signature = toolkit.api.IExecutionContext.set_tensor_address.__doc__
    assert signature.index("name: str") < signature.index("memory:")
