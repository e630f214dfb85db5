"""One installed TensorRT, whichever it is: builds engines from ONNX files and runs them."""

import importlib
import logging
import math
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from ..toolchain.engine import Array, Feeds
from ..toolchain.errors import BackendError, InputError
from .cuda_memory import Cuda

# Whole TensorRT builds for the GPU at hand; TensorRT-RTX builds for an SM, without a GPU.
NATIVE, AHEAD_OF_TIME = "tensorrt", "tensorrt_rtx"
_SHOWN = 3  # errors that a message quotes
# What the libraries log besides the reason: where they are in the file, and that there is no GPU.
_NOISE = ("While parsing node", "Begin node", "End node", "Node name", "Cuda Runtime")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine is built for.

    Attributes:
        sm: Compute capability, 80 for 8.0; None: the GPU at hand.
        workspace: Bytes of scratch memory that a kernel may ask for.
        detailed: Whether the engine says of each layer what it is, for who times them.
        sparse: Whether a kernel that skips zeros may run where weights are 2:4 sparse; of it and
            the dense one the builder takes the faster.
    """

    sm: int | None
    workspace: int
    detailed: bool = False
    sparse: bool = False


@dataclass(frozen=True, slots=True)
class Toolkit:
    """One of the TensorRT modules.

    TensorRT 10, 11 and TensorRT-RTX differ in which flags exist and in what bit they are, so every
    flag is looked up by its name and left out where it is gone.
    """

    name: str
    api: ModuleType

    @classmethod
    def find(cls, name: str) -> "Toolkit | None":
        """The module of that name, or None where it is not installed or does not load."""
        try:
            return cls(name, importlib.import_module(name))
        except (ImportError, OSError):  # OSError: the binding is there, libnvinfer is not
            return None

    @property
    def version(self) -> str:
        """Name and version, such as `tensorrt_rtx 1.7.1.116`."""
        return f"{self.name} {self.api.__version__}"

    @property
    def targets(self) -> tuple[int, ...]:
        """The SMs that it builds for without having them, in ascending order."""
        names = getattr(self.api, "ComputeCapability", None)
        members = names.__members__ if names is not None else {}
        return tuple(sorted(int(name[2:]) for name in members if name.startswith("SM")))

    def build(self, model: Path, target: Target) -> memoryview:
        """Build the engine of an ONNX file, strongly typed: the graph says what runs in what.

        TensorRT-RTX takes a second or two (eight for each GB of weights) and four times the
        weights in memory; TensorRT takes minutes, because it times its kernels. The build runs on
        a thread of its own, because the library's callbacks swallow Ctrl-C.

        Args:
            model: The file; weights outside of it are read from beside it.
            target: What to build for.

        Raises:
            BackendError: The graph was refused; the message says which node and why.
        """
        errors = _logger(self.api)
        watch = _monitor(self.api)
        with ThreadPoolExecutor(1) as pool:
            try:
                engine = pool.submit(self._build, model, target, errors, watch).result()
            finally:
                watch.cancelled = True  # after Ctrl-C; leaving the block waits for the thread
        if engine is None:
            raise self._refusal(errors.messages)
        return memoryview(engine)

    def load(self, engine: bytes, cuda: Cuda) -> "EngineRunner":
        """Make a runner of a built engine.

        Raises:
            BackendError: The runtime refuses the engine on this GPU.
        """
        errors = _logger(self.api)
        loaded = self.api.Runtime(errors).deserialize_cuda_engine(engine)
        if loaded is None:
            raise self._refusal(errors.messages)
        return EngineRunner(self.api, loaded, cuda)

    def _build(self, model: Path, target: Target, errors: Any, watch: Any) -> Any:  # noqa: ANN401
        """The serialised engine, or None where the builder refused."""
        builder = self._builder(errors)
        network = builder.create_network(
            _flags(self.api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", "EXPLICIT_BATCH")
        )
        parser = self.api.OnnxParser(network, errors)
        if not parser.parse_from_file(str(model)):
            raise self._refusal(_parser_errors(parser) or errors.messages)
        _check_static(network)
        config = builder.create_builder_config()
        config.progress_monitor = watch
        config.set_memory_pool_limit(self.api.MemoryPoolType.WORKSPACE, target.workspace)
        if target.detailed:
            config.profiling_verbosity = self.api.ProfilingVerbosity.DETAILED
        if target.sparse:
            config.flags |= _flags(self.api.BuilderFlag, "SPARSE_WEIGHTS")
        if target.sm is not None:
            config.num_compute_capabilities = 1
            capability = getattr(self.api.ComputeCapability, f"SM{target.sm}", None)
            if capability is None or not config.set_compute_capability(capability, 0):
                raise BackendError(
                    f"{self.version} does not build for SM{target.sm}",
                    f"it builds for {', '.join(f'SM{sm}' for sm in self.targets)}",
                )
        return builder.build_serialized_network(network, config)

    def _builder(self, errors: Any) -> Any:  # noqa: ANN401 - a class of a module that varies
        try:
            return self.api.Builder(errors)
        except TypeError as cause:  # pybind11's way to say that the library made no object
            raise BackendError(
                f"{self.version} cannot start: {_quote(errors.messages)}",
                "it needs a GPU and a driver that is new enough",
            ) from cause

    def _refusal(self, messages: Sequence[str]) -> BackendError:
        return BackendError(f"{self.version} refused: {_quote(messages)}")


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An input or output of an engine, and where it lies on the device."""

    name: str
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    address: int


class EngineRunner:
    """A Runner on the GPU; device memory is taken once, and given back with the runner."""

    def __init__(self, api: ModuleType, engine: Any, cuda: Cuda) -> None:  # noqa: ANN401
        self._cuda = cuda
        self._context = engine.create_execution_context()
        if self._context is None:
            raise BackendError("no execution context", "free some device memory")
        self._inputs: list[_Tensor] = []
        self._outputs: list[_Tensor] = []
        for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
            is_input = engine.get_tensor_mode(name) == api.TensorIOMode.INPUT
            tensors = self._inputs if is_input else self._outputs
            tensors.append(self._place(name, engine, api))

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference.

        Raises:
            InputError: An input is missing, or has another shape than the engine was built for.
            BackendError: The GPU refused.
        """
        arrays = self._upload(feeds)
        results = {tensor.name: np.empty(tensor.shape, tensor.dtype) for tensor in self._outputs}
        self._start()
        for tensor in self._outputs:
            self._cuda.download(results[tensor.name], tensor.address)
        self._cuda.wait()
        del arrays  # which must live until here
        return results

    @property
    def context(self) -> Any:  # noqa: ANN401 - a class of a module that varies
        """TensorRT's execution context, for who looks into the engine."""
        return self._context

    def put(self, feeds: Feeds) -> None:
        """Copy the inputs to the device, where they stay; raises as a call does."""
        arrays = self._upload(feeds)
        self._cuda.wait()
        del arrays  # which must live until here

    def run(self) -> None:
        """Run one inference on what lies on the device already, and wait for its end.

        Raises:
            BackendError: The GPU refused.
        """
        self._start()
        self._cuda.wait()

    def _upload(self, feeds: Feeds) -> list[Array]:
        """Start to copy the inputs; the arrays must live until `wait` returns."""
        arrays = [_fitted(tensor, feeds) for tensor in self._inputs]
        for tensor, array in zip(self._inputs, arrays, strict=True):
            self._cuda.upload(tensor.address, array)
        return arrays

    def _start(self) -> None:
        if not self._context.execute_async_v3(self._cuda.stream):
            raise BackendError("the engine did not start", "run with -v for what TensorRT logs")

    def _place(self, name: str, engine: Any, api: ModuleType) -> _Tensor:  # noqa: ANN401
        shape = tuple(engine.get_tensor_shape(name))
        kind = engine.get_tensor_dtype(name)
        dtype = np.dtype(ml_dtypes.bfloat16 if kind == api.DataType.BF16 else api.nptype(kind))
        address = self._cuda.allocate(max(1, math.prod(shape) * dtype.itemsize))
        weakref.finalize(self, self._cuda.free, address)
        self._context.set_tensor_address(name, address)
        return _Tensor(name, shape, dtype, address)


def _fitted(tensor: _Tensor, feeds: Feeds) -> Array:
    """The contiguous array for an input."""
    if tensor.name not in feeds:
        raise InputError(f"no data for input '{tensor.name}'", f"given: {', '.join(feeds)}")
    array = np.asarray(feeds[tensor.name], order="C")
    if array.shape != tensor.shape or array.dtype != tensor.dtype:
        raise InputError(
            f"input '{tensor.name}' is {array.dtype}{list(array.shape)}, "
            f"the engine takes {np.dtype(tensor.dtype)}{list(tensor.shape)}",
            "an engine takes the shapes that it was compiled for",
        )
    return array


def _check_static(network: Any) -> None:  # noqa: ANN401 - a class of a module that varies
    """Refuse free dimensions: an engine is tuned for the shapes that it was built with."""
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        if -1 in tuple(tensor.shape):
            raise BackendError(
                f"input '{tensor.name}' has free dimensions: {tuple(tensor.shape)}",
                f"fix them when compiling: --input {tensor.name}=1x3x224x224, for instance",
            )


def _flags(kind: Any, *names: str) -> int:  # noqa: ANN401 - an enum of a module that varies
    """The bits of those flags that this version has."""
    members = kind.__members__
    return sum(1 << int(members[name]) for name in names if name in members)


def _parser_errors(parser: Any) -> list[str]:  # noqa: ANN401 - a class of a module that varies
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    return [f"{e.node_operator()} '{e.node_name()}': {e.desc()}" for e in errors]


def _quote(messages: Sequence[str]) -> str:
    """The first few reasons on one line."""
    lines = [line.strip() for message in messages for line in message.splitlines()]
    reasons = [line for line in lines if not any(noise in line for noise in _NOISE)] or lines
    return "; ".join(dict.fromkeys(filter(None, reasons[:_SHOWN]))) or "it does not say why"


def _logger(api: ModuleType) -> Any:  # noqa: ANN401 - a class that is made here
    """A TensorRT logger that keeps errors and hands everything to `logging`."""

    class Logger(api.ILogger):  # type: ignore[misc,name-defined]  # the module varies
        """Silent unless someone asked `logging` for detail."""

        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            """Called by the library, on any of its threads."""
            if severity <= api.ILogger.ERROR:
                self.messages.append(message)
            _log.debug("%s: %s", severity.name, message)

    return Logger()


def _monitor(api: ModuleType) -> Any:  # noqa: ANN401 - a class that is made here
    """A TensorRT progress monitor through which a build can be stopped."""

    class Monitor(api.IProgressMonitor):  # type: ignore[misc,name-defined]  # the module varies
        """Says at each step whether to go on."""

        def __init__(self) -> None:
            super().__init__()
            self.cancelled = False

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            """Called by the library; phases are no news."""

        def step_complete(self, name: str, step: int) -> bool:  # noqa: ARG002 - the library's signature
            """Whether to go on."""
            return not self.cancelled

        def phase_finish(self, name: str) -> None:
            """Called by the library; phases are no news."""

    return Monitor()
