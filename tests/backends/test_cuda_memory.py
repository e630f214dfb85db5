"""CUDA through cuda-python and pycuda: stand-ins for both, and the real cuda-python where it is."""

import importlib
import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hwc.backends import cuda_memory
from hwc.backends.cuda_memory import Cuda, CudaPython, PyCuda
from hwc.toolchain.errors import BackendError


class Runtime:
    """cuda.bindings.runtime on a dictionary of host memory; `fails` names calls that fail."""

    cudaDeviceAttr = SimpleNamespace(  # noqa: N815 - CUDA's name
        cudaDevAttrComputeCapabilityMajor=75, cudaDevAttrComputeCapabilityMinor=76
    )
    cudaMemcpyKind = SimpleNamespace(  # noqa: N815 - CUDA's name
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2
    )

    def __init__(self, *, devices: int = 1, fails: str = "") -> None:
        self.devices, self.fails = devices, fails
        self.blocks: dict[int, Any] = {}
        self.log: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any call
        def call(*arguments: Any) -> tuple[Any, ...]:  # noqa: ANN401 - any argument
            self.log.append(name)
            if name == self.fails:
                return (2, None)
            result = getattr(self, f"_{name}")(*arguments)
            return (0,) if result is None else (0, result)

        call.__name__ = name
        return call

    def _cudaGetDeviceCount(self) -> int:  # noqa: N802 - CUDA's name
        return self.devices

    def _cudaDeviceGetAttribute(self, attribute: int, device: int) -> int:  # noqa: N802
        assert device == 0
        return {75: 8, 76: 7}[attribute]

    def _cudaStreamCreate(self) -> int:  # noqa: N802
        return 5

    def _cudaStreamSynchronize(self, stream: int) -> None:  # noqa: N802
        assert stream == 5

    def _cudaMalloc(self, size: int) -> int:  # noqa: N802
        block = np.zeros(size, np.uint8)
        self.blocks[block.ctypes.data] = block
        return int(block.ctypes.data)

    def _cudaFree(self, address: int) -> None:  # noqa: N802
        del self.blocks[address]

    def _cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> None:  # noqa: N802
        assert stream == 5
        assert (to if kind == 1 else source) in self.blocks
        import ctypes  # noqa: PLC0415 - this stand-in alone moves raw memory

        ctypes.memmove(to, source, size)

    def _cudaGetErrorString(self, status: int) -> bytes:  # noqa: N802
        return f"error {status}".encode()


class Driver:
    """pycuda.driver on numpy arrays."""

    class Error(Exception):
        """pycuda's error."""

    def __init__(self, *, devices: int = 1, broken: bool = False) -> None:
        self.broken = broken
        self.log: list[str] = []
        device = SimpleNamespace(
            compute_capability=lambda: (8, 7),
            retain_primary_context=lambda: SimpleNamespace(push=lambda: self.log.append("push")),
        )
        self.Device = type("Device", (), {"__new__": lambda _, __: device})
        self.Device.count = staticmethod(lambda: devices)
        self.Context = SimpleNamespace(pop=lambda: self.log.append("pop"))
        self.Stream = lambda: SimpleNamespace(handle=5, synchronize=self._synchronize)
        self.blocks: dict[int, Any] = {}

    def init(self) -> None:
        """Find the driver."""
        if self.broken:
            raise self.Error("no driver")

    def mem_alloc(self, size: int) -> "Block":
        """A new block."""
        if size > 1 << 40:
            raise self.Error("out of memory")
        block = Block(size, self.blocks)
        self.blocks[int(block)] = block
        return block

    def memcpy_htod_async(self, address: int, array: Any, stream: Any) -> None:  # noqa: ANN401
        """To the device."""
        assert stream.handle == 5
        self.blocks[address].data[:] = array.view(np.uint8).reshape(-1)

    def memcpy_dtoh_async(self, array: Any, address: int, stream: Any) -> None:  # noqa: ANN401
        """From the device."""
        assert stream.handle == 5
        array.reshape(-1).view(np.uint8)[:] = self.blocks[address].data

    def _synchronize(self) -> None:
        self.log.append("wait")


class Block:
    """pycuda's DeviceAllocation."""

    def __init__(self, size: int, owner: dict[int, "Block"]) -> None:
        self.data, self.owner = np.zeros(size, np.uint8), owner

    def __int__(self) -> int:
        return int(self.data.ctypes.data)

    def free(self) -> None:
        """Give it back."""
        del self.owner[int(self)]


@pytest.fixture(params=["cuda-python", "pycuda"])
def opened(request: pytest.FixtureRequest) -> tuple[Cuda, Any]:
    """An opened device and the stand-in below it."""
    api = Runtime() if request.param == "cuda-python" else Driver()
    cuda = (CudaPython if isinstance(api, Runtime) else PyCuda).open(api)
    assert cuda is not None
    return cuda, api


def test_copies_there_and_back(opened: tuple[Cuda, Any]) -> None:
    cuda, api = opened
    sent, got = np.arange(6, dtype=np.float32), np.empty(6, np.float32)
    address = cuda.allocate(sent.nbytes)
    cuda.upload(address, sent)
    cuda.download(got, address)
    cuda.wait()
    np.testing.assert_array_equal(got, sent)
    cuda.free(address)
    assert not api.blocks


def test_device_and_stream(opened: tuple[Cuda, Any]) -> None:
    cuda, _ = opened
    assert (cuda.capability, cuda.stream) == (87, 5)


NO_GPU = {
    "cuda-python: no GPU": (CudaPython, Runtime(devices=0)),
    "cuda-python: no driver": (CudaPython, Runtime(fails="cudaGetDeviceCount")),
    "pycuda: no GPU": (PyCuda, Driver(devices=0)),
    "pycuda: no driver": (PyCuda, Driver(broken=True)),
}


@pytest.mark.parametrize(("kind", "api"), NO_GPU.values(), ids=NO_GPU)
def test_no_gpu(kind: type[CudaPython | PyCuda], api: Any) -> None:  # noqa: ANN401
    assert kind.open(api) is None


def test_a_failed_call_says_which_and_why() -> None:
    cuda = CudaPython.open(Runtime(fails="cudaMalloc"))
    assert cuda is not None
    with pytest.raises(BackendError, match="cudaMalloc failed: error 2"):
        cuda.allocate(8)


def test_pycuda_out_of_memory() -> None:
    cuda = PyCuda.open(Driver())
    assert cuda is not None
    with pytest.raises(BackendError, match="no 2199023255552 bytes"):
        cuda.allocate(1 << 41)


def test_pycuda_leaves_no_context_on_the_stack() -> None:
    driver = Driver()
    cuda = PyCuda.open(driver)
    del cuda
    assert driver.log == ["push", "pop"]


@pytest.mark.parametrize("have", ["cuda.bindings.runtime", "pycuda.driver", ""])
def test_takes_the_binding_that_is_there(monkeypatch: pytest.MonkeyPatch, have: str) -> None:
    apis = {"cuda.bindings.runtime": Runtime(), "pycuda.driver": Driver()}

    def fake(name: str) -> Any:  # noqa: ANN401
        if name != have:
            raise ImportError(name)
        return apis[name]

    monkeypatch.setattr(importlib, "import_module", fake)
    found = cuda_memory.first_device()
    kinds = {"cuda.bindings.runtime": CudaPython, "pycuda.driver": PyCuda}
    assert type(found) is kinds.get(have, type(None))


def test_the_real_cuda_python_has_these_calls() -> None:
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    calls = [name[1:] for name, _ in inspect.getmembers(Runtime) if name.startswith("_cuda")]
    assert len(calls) == 8
    for name in [*calls, "cudaMemcpyKind", "cudaDeviceAttr"]:
        assert hasattr(real, name), name
    status, text = real.cudaGetErrorString(real.cudaError_t.cudaErrorInvalidValue)
    assert (int(status), text) == (0, b"invalid argument")
