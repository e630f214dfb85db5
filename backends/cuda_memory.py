"""Memory and a stream of the first CUDA device, through cuda-python or pycuda."""

import importlib
import weakref
from types import ModuleType
from typing import Any, Protocol

from ..toolchain.engine import Array
from ..toolchain.errors import BackendError

INSTALL = "pip install cuda-python (on JetPack, pycuda serves as well)"


class Cuda(Protocol):
    """What a runner needs of a GPU; copies and kernels keep their order: they share one stream."""

    @property
    def capability(self) -> int:
        """Compute capability as one number: 80 for 8.0."""
        ...

    @property
    def stream(self) -> int:
        """The handle of the stream."""
        ...

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes."""
        ...

    def free(self, address: int) -> None:
        """Give back what `allocate` gave."""
        ...

    def upload(self, address: int, array: Array) -> None:
        """Copy a contiguous array to the device; it must live until `wait` returns."""
        ...

    def download(self, array: Array, address: int) -> None:
        """Fill a contiguous array from the device; it is filled when `wait` returns."""
        ...

    def wait(self) -> None:
        """Wait until all that was started has ended."""
        ...


def first_device() -> Cuda | None:
    """The first GPU that CUDA shows, or None where there is none or nothing to reach it with."""
    for module, open_device in _BINDINGS.items():
        api = _imported(module)
        if api is not None:
            return open_device(api)
    return None


class CudaPython:
    """The first device, through NVIDIA's own cuda-python."""

    def __init__(self, api: ModuleType) -> None:
        self._api = api
        self._stream: int | None = None

    @classmethod
    def open(cls, api: ModuleType) -> Cuda | None:
        """The device, or None where there is no driver or no GPU."""
        status, count = api.cudaGetDeviceCount()
        return cls(api) if int(status) == 0 and count > 0 else None

    @property
    def capability(self) -> int:
        """Compute capability as one number."""
        kind = self._api.cudaDeviceAttr
        major, minor = (
            int(self._call(self._api.cudaDeviceGetAttribute, attribute, 0))
            for attribute in (
                kind.cudaDevAttrComputeCapabilityMajor,
                kind.cudaDevAttrComputeCapabilityMinor,
            )
        )
        return 10 * major + minor

    @property
    def stream(self) -> int:
        """The handle of the stream, made when it is first asked for."""
        if self._stream is None:
            self._stream = int(self._call(self._api.cudaStreamCreate))
        return self._stream

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes."""
        return int(self._call(self._api.cudaMalloc, size))

    def free(self, address: int) -> None:
        """Give back what `allocate` gave."""
        self._call(self._api.cudaFree, address)

    def upload(self, address: int, array: Array) -> None:
        """Copy an array to the device."""
        self._copy(address, array.ctypes.data, array.nbytes, "cudaMemcpyHostToDevice")

    def download(self, array: Array, address: int) -> None:
        """Fill an array from the device."""
        self._copy(array.ctypes.data, address, array.nbytes, "cudaMemcpyDeviceToHost")

    def wait(self) -> None:
        """Wait until all that was started has ended."""
        self._call(self._api.cudaStreamSynchronize, self.stream)

    def _copy(self, to: int, source: int, size: int, direction: str) -> None:
        kind = getattr(self._api.cudaMemcpyKind, direction)
        self._call(self._api.cudaMemcpyAsync, to, source, size, kind, self.stream)

    def _call(self, function: Any, *arguments: Any) -> Any:  # noqa: ANN401 - the C API's own types
        """The result of one call of the runtime API, whose first value is always a status."""
        status, *values = function(*arguments)
        if int(status) != 0:
            text = self._api.cudaGetErrorString(status)[1].decode()
            name = getattr(function, "__name__", "a call")
            raise BackendError(f"CUDA: {name} failed: {text}", "see nvidia-smi or tegrastats")
        return values[0] if values else None


class PyCuda:
    """The first device, through pycuda, in the primary context that TensorRT uses."""

    def __init__(self, api: ModuleType) -> None:
        self._api = api
        self._device = api.Device(0)
        self._device.retain_primary_context().push()
        # pycuda aborts the process at its end when a context is still on the stack.
        weakref.finalize(self, api.Context.pop)
        self._stream = api.Stream()
        self._allocated: dict[int, Any] = {}

    @classmethod
    def open(cls, api: ModuleType) -> Cuda | None:
        """The device, or None where there is no driver or no GPU."""
        try:
            api.init()
            return cls(api) if api.Device.count() > 0 else None
        except api.Error:
            return None

    @property
    def capability(self) -> int:
        """Compute capability as one number."""
        major, minor = self._device.compute_capability()
        return 10 * int(major) + int(minor)

    @property
    def stream(self) -> int:
        """The handle of the stream."""
        return int(self._stream.handle)

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes."""
        try:
            memory = self._api.mem_alloc(size)
        except self._api.Error as cause:
            raise BackendError(f"CUDA: no {size} bytes of device memory", str(cause)) from cause
        self._allocated[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """Give back what `allocate` gave."""
        self._allocated.pop(address).free()

    def upload(self, address: int, array: Array) -> None:
        """Copy an array to the device."""
        self._api.memcpy_htod_async(address, array, self._stream)

    def download(self, array: Array, address: int) -> None:
        """Fill an array from the device."""
        self._api.memcpy_dtoh_async(array, address, self._stream)

    def wait(self) -> None:
        """Wait until all that was started has ended."""
        try:
            self._stream.synchronize()
        except self._api.Error as cause:
            raise BackendError(f"CUDA: {cause}", "see nvidia-smi or tegrastats") from cause


_BINDINGS = {"cuda.bindings.runtime": CudaPython.open, "pycuda.driver": PyCuda.open}


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # OSError: the module is there, the driver's library is not
        return None
